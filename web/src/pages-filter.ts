// Lists that are searched while one types. The page is asked for with the new query and its
// content morphed, so that the field keeps its caret; the stream of changes follows the new query.

declare const htmx: { ajax(verb: string, path: string, options: object): Promise<void> };

let waiting: number | undefined;

function show(form: HTMLFormElement): void {
  const query = new URLSearchParams();
  for (const [name, value] of new FormData(form)) {
    if (typeof value === "string" && value.trim() !== "") query.set(name, value);
  }
  const text = query.toString();
  const path = new URL(form.action).pathname + (text === "" ? "" : `?${text}`);
  void htmx.ajax("GET", path, { target: "#main", select: "#main", selectOOB: "#live", swap: "outerMorph", replace: "true" });
}

function changed(event: Event): void {
  const field = event.target;
  if (!(field instanceof HTMLInputElement || field instanceof HTMLSelectElement)) return;
  const form = field.form;
  if (form === null || !form.matches("[data-filter]")) return;
  clearTimeout(waiting);
  waiting = setTimeout(() => show(form), event.type === "input" ? 120 : 0);
}

document.addEventListener("input", changed);
document.addEventListener("change", (event) => {
  if (event.target instanceof HTMLSelectElement) changed(event);
});
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!(form instanceof HTMLFormElement) || !form.matches("[data-filter]")) return;
  event.preventDefault();
  clearTimeout(waiting);
  show(form);
});

export {};
