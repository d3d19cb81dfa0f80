// Questions before something is destroyed, menus, notices, copying.

function text(id: string, value: string): void {
  const element = document.getElementById(id);
  if (element !== null) element.textContent = value;
}

function ask(asking: HTMLElement, question: string, yes: () => void, no: () => void): void {
  const dialog = document.getElementById("confirm");
  if (!(dialog instanceof HTMLDialogElement)) return no();
  text("confirm-title", asking.dataset["title"] ?? "Sure?");
  text("confirm-text", question);
  const button = dialog.querySelector<HTMLElement>("[data-yes]");
  if (button !== null) button.textContent = asking.dataset["verb"] ?? "Yes";
  dialog.returnValue = "";
  dialog.addEventListener("close", () => (dialog.returnValue === "yes" ? yes() : no()), { once: true });
  dialog.showModal();
}

document.addEventListener("htmx:confirm", (event) => {
  type Detail = { ctx: { sourceElement: HTMLElement; confirm: string }; issueRequest(): void; dropRequest(): void };
  const detail = (event as CustomEvent<Detail>).detail;
  event.preventDefault();
  ask(detail.ctx.sourceElement, detail.ctx.confirm, detail.issueRequest, detail.dropRequest);
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!(form instanceof HTMLFormElement) || form.dataset["confirm"] === undefined) return;
  event.preventDefault();
  ask(form, form.dataset["confirm"], () => form.submit(), () => undefined);
});

/** Puts a text on the clipboard; also where the page has no secure context and so no API for it. */
async function copy(value: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(value);
    return true;
  } catch {
    const area = document.createElement("textarea");
    area.value = value;
    area.className = "hidden-text";
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

async function copied(button: HTMLElement): Promise<void> {
  const from = button.dataset["copyFrom"];
  const value = from === undefined ? button.dataset["copy"] : document.querySelector(from)?.textContent;
  const before = [...button.childNodes];
  button.textContent = (await copy(value ?? "")) ? "Copied" : "Not allowed";
  setTimeout(() => button.replaceChildren(...before), 1500);
}

document.addEventListener("click", (event) => {
  const target = event.target;
  if (!(target instanceof Element)) return;
  for (const menu of document.querySelectorAll<HTMLDetailsElement>("details[data-menu][open]")) {
    if (!menu.contains(target)) menu.open = false;
  }
  if (target.closest("[data-commands]") !== null && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    openCommands();
  }
  const button = target.closest<HTMLElement>("button");
  if (button === null) return;
  const dialog = button.closest("dialog");
  if (dialog !== null && button.matches("[data-yes]")) dialog.close("yes");
  if (dialog !== null && button.matches("[data-no]")) dialog.close();
  if (button.matches("[data-help]")) openHelp();
  if (button.matches("[data-dismiss]")) button.closest(".notice")?.remove();
  if (button.matches("[data-copy], [data-copy-from]") && button.textContent !== "Copied") void copied(button);
});

declare const htmx: { ajax(verb: string, path: string, options: object): Promise<void> };

/** Shows the commands that do what this page's buttons do, as it is now. */
export function openCommands(): void {
  const dialog = document.getElementById("commands");
  const link = document.querySelector<HTMLAnchorElement>("a[data-commands]");
  if (!(dialog instanceof HTMLDialogElement) || link === null || dialog.open) return;
  const base = document.querySelector<HTMLMetaElement>("meta[name=base]")?.content ?? "";
  const at = location.pathname.slice(base.length) + location.search;
  const path = `${new URL(link.href).pathname}?at=${encodeURIComponent(at)}`;
  void htmx.ajax("GET", path, { target: "#commands-list", swap: "innerHTML" }).then(() => dialog.showModal());
}

/** Shows the keys. */
export function openHelp(): void {
  document.querySelector<HTMLDetailsElement>("details[data-menu][open]")?.removeAttribute("open");
  const help = document.getElementById("help");
  if (help instanceof HTMLDialogElement && !help.open) help.showModal();
}
