// The drawing of wires between networks, read anew while somebody looks at it: when the server says
// that they may have changed, at most once a second; and every ten seconds, since the kernel tells
// nothing of wires deep inside a container.

declare const htmx: { ajax(verb: string, path: string, options: object): Promise<void> };

const LEAST = 1000;
const MOST = 10_000;

let shown: string | undefined;
let reading = false;
let next: number | undefined;
let began = 0;

const pulse = (): HTMLElement | null => document.querySelector<HTMLElement>("[data-wirings]");

function readIn(milliseconds: number): void {
  clearTimeout(next);
  next = setTimeout(read, milliseconds);
}

function read(): void {
  const now = pulse();
  const path = now?.dataset["read"];
  if (now === null || path === undefined || reading || document.hidden) return;
  reading = true;
  began = performance.now();
  shown = now.dataset["wirings"];
  void htmx
    .ajax("GET", path, { target: "#detail", swap: "innerMorph" })
    .catch(() => undefined)
    .then(() => {
      reading = false;
      readIn(pulse()?.dataset["wirings"] === shown ? MOST : LEAST);
    });
}

/** Reads the wires anew where the page shows them and they may be others now. */
export function followWires(): void {
  const now = pulse()?.dataset["wirings"];
  if (now === undefined) return;
  if (shown === undefined) {
    // The page reads them by itself when it is made.
    shown = now;
    began = performance.now();
    readIn(MOST);
  } else if (now !== shown && !reading) {
    readIn(Math.max(0, LEAST - (performance.now() - began)));
  }
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden && pulse() !== null) read();
});
