// How long ago something was. The server writes when; only the browser knows what time it is for
// the reader, and a page that says "3 min" need not be sent anew each minute.

const STEPS: readonly (readonly [number, string])[] = [
  [86_400, "d"],
  [3_600, "h"],
  [60, "min"],
  [1, "s"],
];

/** How long a number of seconds is, in its largest unit: `3 min`. */
export function age(seconds: number): string {
  for (const [length, unit] of STEPS) {
    if (seconds >= length) return `${Math.floor(seconds / length)} ${unit}`;
  }
  return "0 s";
}

/** Writes every age on the page anew. */
export function writeAges(): void {
  const now = Date.now();
  for (const element of document.querySelectorAll<HTMLTimeElement>("time[data-ago]")) {
    const seconds = Math.max(0, (now - Date.parse(element.dateTime)) / 1000);
    if (Number.isNaN(seconds)) continue;
    // Within ten seconds it would only flicker.
    const ago = element.dataset["ago"] === "ago";
    const text = seconds < 10 ? (ago ? "just now" : "") : age(seconds) + (ago ? " ago" : "");
    if (element.textContent !== text) element.textContent = text;
  }
}
