// The form that imports an image: the archive goes to the API as it is, and the form says how far it
// has come, at first as the browser knows it, then as the page's stream tells. Nothing that was typed
// is lost when it comes to nothing.

interface Answer {
  readonly name?: string;
  readonly error?: { readonly message?: string; readonly field?: string | null };
}

let running: XMLHttpRequest | null = null;
/** What the server calls it. */
let id = "";
let sent = false;

function part<T extends HTMLElement>(form: HTMLFormElement, selector: string): T | null {
  return form.querySelector<T>(selector);
}

function show(form: HTMLFormElement, selector: string, words: string | null): void {
  const element = part(form, selector);
  if (element === null) return;
  element.hidden = words === null;
  element.textContent = words ?? "";
}

/** 128 random bits: over plain HTTP browsers have no `randomUUID`. */
function newId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A size as the server writes it: `18.2 MiB`. */
export function size(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  let value = bytes / 1024;
  let unit = 0;
  const units = ["KiB", "MiB", "GiB", "TiB"];
  while (value >= 1023.95 && unit + 1 < units.length) {
    value /= 1024;
    unit += 1;
  }
  return `${value.toFixed(1).replace(/\.0$/, "")} ${units[unit]}`;
}

function far(form: HTMLFormElement, words: string, done: number, total: number): void {
  const box = part(form, "[data-far]");
  const bar = part<HTMLProgressElement>(form, "progress");
  if (box === null || bar === null) return;
  box.hidden = false;
  if (total > 0) bar.value = Math.min(1, done / total);
  else bar.removeAttribute("value");
  const line = part(form, "[data-words]");
  if (line !== null && line.textContent !== words) line.textContent = words;
}

/** Says it beside the field that it is about, or above the button. */
function wrong(form: HTMLFormElement, words: string, field: string | null | undefined): void {
  const known = field === "archive" || field === "name";
  const input = known ? (form.elements.namedItem(field) as HTMLInputElement) : null;
  input?.setAttribute("aria-invalid", "true");
  if (input !== null) show(form, `#${input.id}-error`, words);
  show(form, "[data-wrong]", input === null ? words : null);
  (input ?? part<HTMLElement>(form, "button"))?.focus();
}

function rest(form: HTMLFormElement): void {
  running = null;
  sent = false;
  for (const element of form.querySelectorAll<HTMLInputElement | HTMLButtonElement>("input, button")) element.disabled = false;
  for (const hidden of form.querySelectorAll<HTMLElement>("[data-far], [data-cancel]")) hidden.hidden = true;
}

function imported(form: HTMLFormElement, name: string): void {
  const done = part(form, "[data-done]");
  form.reset();
  if (done === null) return;
  const base = form.dataset["import"] ?? "";
  const link = document.createElement("a");
  link.href = base + encodeURIComponent(name);
  link.textContent = name;
  const make = document.createElement("a");
  make.href = `${base.replace(/images\/$/, "containers/new?image=")}${encodeURIComponent(name)}`;
  make.textContent = "Make a container of it";
  done.replaceChildren(link, " is imported. ", make);
  done.hidden = false;
}

function answered(form: HTMLFormElement, request: XMLHttpRequest): void {
  rest(form);
  let answer: Answer = {};
  try {
    answer = JSON.parse(request.responseText) as Answer;
  } catch {
    // What stands before Porthole may have answered.
  }
  if (request.status === 201) imported(form, answer.name ?? "");
  else wrong(form, answer.error?.message ?? `Porthole answered ${request.status} ${request.statusText}. Nothing was imported.`, answer.error?.field);
}

function send(form: HTMLFormElement, archive: File, name: string): void {
  const request = new XMLHttpRequest();
  running = request;
  sent = false;
  id = newId();
  const query = name === "" ? "" : `&name=${encodeURIComponent(name)}`;
  request.open("POST", `${form.action}?import=${id}${query}`);
  request.setRequestHeader("Accept", "application/json");
  request.setRequestHeader("Content-Type", "application/octet-stream");
  request.upload.addEventListener("progress", ({ loaded, total }) => {
    far(form, `Sending: ${size(loaded)} of ${size(total)}`, loaded, total);
  });
  request.upload.addEventListener("load", () => {
    sent = true;
    far(form, "It is sent. What is done with it goes on even if you leave this page.", 0, 0);
  });
  request.addEventListener("load", () => answered(form, request));
  request.addEventListener("abort", () => {
    rest(form);
    wrong(form, "You stopped it: nothing was imported.", null);
  });
  request.addEventListener("error", () => {
    const late = sent;
    rest(form);
    wrong(
      form,
      late
        ? "Porthole went away after the archive was sent. Look at the list: the image may be there in a moment; if not, import it again."
        : "The archive did not arrive: Porthole does not answer, the network is away, or the file was changed meanwhile. Import it again.",
      null,
    );
  });
  for (const element of form.querySelectorAll<HTMLInputElement | HTMLButtonElement>("input, button")) element.disabled = true;
  const cancel = part<HTMLButtonElement>(form, "[data-cancel]");
  if (cancel !== null) {
    cancel.disabled = false;
    cancel.hidden = false;
    cancel.textContent = "Cancel";
    cancel.focus();
  }
  far(form, `Sending: 0 B of ${size(archive.size)}`, 0, archive.size);
  request.send(archive);
}

function begin(form: HTMLFormElement): void {
  if (running !== null) return;
  show(form, "[data-wrong]", null);
  show(form, "[data-done]", null);
  for (const input of form.querySelectorAll<HTMLInputElement>("input")) {
    input.removeAttribute("aria-invalid");
    show(form, `#${input.id}-error`, null);
  }
  const archive = (form.elements.namedItem("archive") as HTMLInputElement).files?.[0];
  const name = (form.elements.namedItem("name") as HTMLInputElement).value.trim();
  const most = Number(form.dataset["most"] ?? Infinity);
  if (archive === undefined) return wrong(form, "Choose the file that is to become an image.", "archive");
  if (archive.size === 0) return wrong(form, "This file is empty.", "archive");
  if (archive.size > most) {
    const words = `It has ${size(archive.size)}; at most ${form.dataset["mostWords"] ?? ""} are taken. Root can allow more in Porthole's policy (images.archive).`;
    return wrong(form, words, "archive");
  }
  send(form, archive, name);
}

/** What is on its way is not sent on; what is there by now is stopped where it is worked on. */
function cancel(form: HTMLFormElement): void {
  if (!sent) running?.abort();
  // What comes of it is the answer to the import itself.
  else void fetch(new URL(`imports/${id}`, form.action), { method: "DELETE" }).catch(() => null);
}

/** After each change: the form's own import is told in the form, and not a second time above it. */
export function followImport(): void {
  const form = document.querySelector<HTMLFormElement>("form[data-import]");
  if (form === null) return;
  form.hidden = false;
  for (const row of document.querySelectorAll<HTMLElement>("#imports [data-importing]")) {
    const { importing, stage, at, total } = row.dataset;
    row.hidden = running !== null && importing === id;
    if (!row.hidden || !sent || stage === "is being sent") continue;
    far(form, `It is sent and ${stage}. This goes on even if you leave the page.`, Number(at), Number(total));
  }
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!(form instanceof HTMLFormElement) || form.dataset["import"] === undefined) return;
  event.preventDefault();
  begin(form);
});

document.addEventListener("click", (event) => {
  if (!(event.target instanceof Element)) return;
  const form = event.target.closest("[data-cancel]")?.closest<HTMLFormElement>("form[data-import]");
  if (form) cancel(form);
});

// An archive that is half sent is lost with the page.
window.addEventListener("beforeunload", (event) => {
  if (running !== null && !sent) event.preventDefault();
});
