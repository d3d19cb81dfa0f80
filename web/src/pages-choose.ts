// Rows that are chosen to be compared: the last two. They stay chosen while the list changes, is
// searched or sorted; a row that has gone stays chosen too, and the comparison says that it has.

/** What names it, and what it is called; the oldest first. */
const chosen = new Map<string, string>();

function bar(): HTMLFormElement | null {
  return document.querySelector<HTMLFormElement>("form[data-compare]");
}

/** Writes what is chosen into the boxes and the bar, which live changes know nothing of. */
export function showChosen(): void {
  const form = bar();
  if (form === null) return;
  for (const box of document.querySelectorAll<HTMLInputElement>("input[data-choose]")) box.checked = chosen.has(box.value);
  form.classList.toggle("some", chosen.size > 0);
  const names = [...chosen.values()];
  if (form.dataset["many"] !== undefined) return showMany(form, names);
  const words = names.length < 2 ? `${names[0] ?? "Nothing"} is chosen. Choose another to compare it with.` : names.join(" and ");
  const place = form.querySelector("[data-chosen]");
  if (place !== null && place.textContent !== words) place.textContent = words;
  form.querySelector("[data-go]")?.toggleAttribute("disabled", chosen.size < 2);
}

/** Names all of them: what is asked before some are removed names them too. */
function showMany(form: HTMLFormElement, names: string[]): void {
  const place = form.querySelector("[data-chosen]");
  const listed = names.length > 3 ? `${names.slice(0, 2).join(", ")} and ${names.length - 2} more` : names.join(", ");
  const words = names.length === 0 ? "Nothing is chosen." : listed;
  if (place !== null && place.textContent !== words) place.textContent = words;
  form.querySelector("[data-go]")?.toggleAttribute("disabled", names.length !== 2);
  for (const button of form.querySelectorAll<HTMLElement>("[data-do]")) button.toggleAttribute("disabled", names.length === 0);
  const sure = form.querySelector<HTMLElement>("[data-sure]");
  if (sure === null) return;
  const what = names.length === 1 ? (names[0] ?? "") : `${names.length} containers`;
  sure.dataset["title"] = `Remove ${what}?`;
  sure.dataset["verb"] = `Remove ${what}`;
  sure.setAttribute("hx-confirm", `${names.join(", ")}: every process and terminal in what runs is killed; files and logs are deleted. This cannot be undone.`);
}

/** What was removed is chosen no longer; a row that a filter hides stays chosen. */
document.addEventListener("htmx:after:request", (event) => {
  const source = (event as CustomEvent<{ ctx?: { sourceElement?: unknown } }>).detail?.ctx?.sourceElement;
  if (!(source instanceof HTMLElement) || source.dataset["sure"] === undefined) return;
  chosen.clear();
  showChosen();
});

document.addEventListener("change", (event) => {
  const box = event.target;
  if (!(box instanceof HTMLInputElement) || box.dataset["choose"] === undefined) return;
  if (box.checked) chosen.set(box.value, box.dataset["choose"]);
  else chosen.delete(box.value);
  const [oldest] = chosen.keys();
  if (bar()?.dataset["many"] === undefined && chosen.size > 2 && oldest !== undefined) chosen.delete(oldest);
  showChosen();
});

document.addEventListener("click", (event) => {
  if (!(event.target instanceof Element) || event.target.closest("[data-none]") === null) return;
  chosen.clear();
  showChosen();
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!(form instanceof HTMLFormElement) || form !== bar()) return;
  const by = (event as SubmitEvent).submitter;
  if (by instanceof HTMLElement && by.dataset["do"] !== undefined) return;
  event.preventDefault();
  const [a = "", b = ""] = chosen.keys();
  // A form of the list does other things too, and says where it compares.
  const compare = form.dataset["compare"] || form.action;
  location.assign(`${compare}?${new URLSearchParams({ a, b })}`);
});
