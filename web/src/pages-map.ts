// The two-sided map: who points at a process on one side sees it on the other.

let pair: string | undefined;

/** Lights what belongs to the process that is pointed at, and only that. */
export function lightMap(): void {
  for (const element of document.querySelectorAll<HTMLElement | SVGElement>("[data-map] [data-pair]")) {
    element.classList.toggle("lit", pair !== undefined && element.dataset["pair"] === pair);
  }
  for (const lines of document.querySelectorAll("[data-map] .lines")) {
    lines.classList.toggle("some", pair !== undefined);
  }
}

function point(event: Event): void {
  const target = event.target instanceof Element ? event.target.closest<HTMLElement>("[data-map] .row") : null;
  const next = target?.dataset["pair"];
  if (next === pair) return;
  pair = next;
  lightMap();
}

document.addEventListener("pointerover", point);
document.addEventListener("focusin", point);
