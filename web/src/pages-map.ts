// The map of process numbers: who points at a process on one side sees it on all of them. A session
// lights its processes, a process its session: on a container's page and beside its terminals.

/** The process that is pointed at, by its number on the host. */
let pair: string | undefined;
/** The session that is pointed at. */
let session: string | undefined;
/** The session whose process was selected beside the terminals. */
let selected: string | undefined;
/** The session whose terminal is shown. */
let shown: string | undefined;

type Drawn = HTMLElement | SVGElement;

function all(selector: string): NodeListOf<Drawn> {
  return document.querySelectorAll<Drawn>(selector);
}

/** Lights what belongs to what is pointed at or shown, and only that. */
export function lightMap(): void {
  const lit = new Set<string | undefined>(pair === undefined ? [] : [pair]);
  const sessions = new Set<string | undefined>(session === undefined ? [] : [session]);
  for (const row of all("[data-map] [data-session]")) {
    if (row.dataset["session"] === session) lit.add(row.dataset["pair"]);
    if (pair !== undefined && row.dataset["pair"] === pair) sessions.add(row.dataset["session"]);
  }
  for (const element of all("[data-map] [data-pair]")) element.classList.toggle("lit", lit.has(element.dataset["pair"]));
  for (const lines of all("[data-map] .lines")) lines.classList.toggle("some", lit.size > 0);
  for (const row of all("#sessions tr[id^='s-']")) row.classList.toggle("lit", sessions.has(row.id.slice(2)));
  lightSessions();
}

function lightSessions(): void {
  for (const row of all("[data-session-processes] [data-session]")) {
    row.classList.toggle("lit", shown !== undefined && row.dataset["session"] === shown);
    row.querySelector("button")?.setAttribute("aria-pressed", String(row.dataset["session"] === selected));
  }
  for (const tab of all(".t-tab")) tab.classList.toggle("lit", selected !== undefined && tab.dataset["session"] === selected);
}

function point(event: Event): void {
  if (!(event.target instanceof Element)) return;
  const row = event.target.closest<HTMLElement>("[data-map] .row");
  const of = event.target.closest<HTMLElement>("#sessions tr[id^='s-']");
  const next = [row?.dataset["pair"], of?.id.slice(2)];
  if (next[0] === pair && next[1] === session) return;
  [pair, session] = next;
  lightMap();
}

/** Up and down through a side's processes, left and right to the same one in the next namespace. */
function step(link: HTMLElement, key: string): HTMLElement | undefined {
  const row = link.closest<HTMLElement>(".row");
  const map = link.closest<HTMLElement>("[data-map]");
  if (row === null || map === null) return undefined;
  if (key === "ArrowUp" || key === "ArrowDown") {
    const side = [...(row.closest(".side")?.querySelectorAll<HTMLElement>("a.p") ?? [])];
    return side[side.indexOf(link) + (key === "ArrowDown" ? 1 : -1)];
  }
  const same = [...map.querySelectorAll<HTMLElement>(`.row[data-pair="${row.dataset["pair"] ?? ""}"]`)];
  return same[same.indexOf(row) + (key === "ArrowRight" ? 1 : -1)]?.querySelector<HTMLElement>("a.p") ?? undefined;
}

document.addEventListener("pointerover", point);
document.addEventListener("focusin", point);

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (!["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight"].includes(event.key)) return;
  const link = event.target instanceof Element ? event.target.closest<HTMLElement>("[data-map] a.p") : null;
  const next = link === null ? undefined : step(link, event.key);
  if (next === undefined) return;
  event.preventDefault();
  next.focus();
});

document.addEventListener("click", (event) => {
  const button = event.target instanceof Element ? event.target.closest<HTMLElement>("[data-select-session]") : null;
  if (button === null) return;
  const of = button.dataset["selectSession"];
  selected = selected === of ? undefined : of;
  lightSessions();
});

// The terminal page says which session it shows.
document.addEventListener("porthole:session", (event) => {
  shown = (event as CustomEvent<string | null>).detail ?? undefined;
  lightSessions();
});
