// The keyboard: / ? Esc c e l g t x and the arrows in lists. In a field and in a terminal every key is the
// field's and the terminal's.

import { openCommands, openHelp } from "./pages-dialogs.ts";

function rows(): HTMLElement[] {
  return [...document.querySelectorAll<HTMLElement>("[data-rows] > [data-row]")];
}

function focusRow(row: HTMLElement | undefined): boolean {
  const link = row?.querySelector<HTMLElement>(".name a:not([hidden])");
  if (link === undefined || link === null) return false;
  link.focus();
  row?.scrollIntoView({ block: "nearest" });
  return true;
}

function step(by: 1 | -1): boolean {
  const all = rows();
  if (all.length === 0) return false;
  const now = all.findIndex((row) => row.contains(document.activeElement));
  if (now === 0 && by === -1) {
    const search = document.querySelector<HTMLElement>("[data-search]");
    search?.focus();
    return search !== null;
  }
  return focusRow(now === -1 ? (by === 1 ? all[0] : undefined) : all[now + by]);
}

function open(key: string): boolean {
  const row = document.activeElement?.closest("[data-row]") ?? document.querySelector(".tabs");
  const link = row?.querySelector<HTMLAnchorElement>(`a[data-key="${key}"]`);
  if (link === undefined || link === null) return false;
  location.assign(link.href);
  return true;
}

/** Chooses the row that one is at, or not any more. */
function choose(): boolean {
  const box = document.activeElement?.closest("[data-row]")?.querySelector<HTMLInputElement>("input[data-choose]");
  if (box === undefined || box === null) return false;
  box.click();
  return true;
}

function view(key: string): boolean {
  const link = document.querySelector<HTMLAnchorElement>(`[data-views] a[data-key="${key}"]`);
  if (link === null) return false;
  location.assign(link.href);
  return true;
}

function search(): boolean {
  const field = document.querySelector<HTMLInputElement>("[data-search]");
  field?.select();
  field?.focus();
  return field !== null;
}

function escape(target: Element): boolean {
  const menu = document.querySelector<HTMLDetailsElement>("details[data-menu][open]");
  if (menu !== null) {
    menu.open = false;
    menu.querySelector("summary")?.focus();
    return true;
  }
  if (target instanceof HTMLElement && target.matches("input, select, textarea")) {
    target.blur();
    return true;
  }
  return false;
}

function handle(event: KeyboardEvent, target: Element): boolean {
  if (event.key === "Escape") return escape(target);
  if (target.matches("[data-search]") && event.key === "ArrowDown") return step(1);
  if (target.closest("input, select, textarea, [contenteditable]") !== null) return false;
  switch (event.key) {
    case "/":
      return search();
    case "?":
      openHelp();
      return true;
    case "c":
      openCommands();
      return true;
    case "ArrowDown":
      return document.activeElement?.closest("pre, .scroll[tabindex]") == null && step(1);
    case "ArrowUp":
      return document.activeElement?.closest("pre, .scroll[tabindex]") == null && step(-1);
    case "x":
      return choose();
    case "e":
    case "l":
      return open(event.key);
    case "g":
    case "t":
      return view(event.key);
    default:
      return false;
  }
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || event.isComposing) return;
  const target = event.target;
  if (!(target instanceof Element) || target.closest("#terminal, dialog[open]") !== null) return;
  if (handle(event, target)) event.preventDefault();
});
