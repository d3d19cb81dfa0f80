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
  const words = names.length < 2 ? `${names[0] ?? "Nothing"} is chosen. Choose another to compare it with.` : names.join(" and ");
  const place = form.querySelector("[data-chosen]");
  if (place !== null && place.textContent !== words) place.textContent = words;
  form.querySelector("[data-go]")?.toggleAttribute("disabled", chosen.size < 2);
}

document.addEventListener("change", (event) => {
  const box = event.target;
  if (!(box instanceof HTMLInputElement) || box.dataset["choose"] === undefined) return;
  if (box.checked) chosen.set(box.value, box.dataset["choose"]);
  else chosen.delete(box.value);
  const [oldest] = chosen.keys();
  if (chosen.size > 2 && oldest !== undefined) chosen.delete(oldest);
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
  event.preventDefault();
  const [a = "", b = ""] = chosen.keys();
  location.assign(`${form.action}?${new URLSearchParams({ a, b })}`);
});
