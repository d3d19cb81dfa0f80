// The same thing drawn several times: who points at one of them sees the others. A drawing says by
// data-equal what is the same.

let equal: string | undefined;

/** Lights what equals that which is pointed at, and only that. */
export function lightEqual(): void {
  for (const element of document.querySelectorAll<HTMLElement | SVGElement>("[data-equal]")) {
    element.classList.toggle("lit", equal !== undefined && element.dataset["equal"] === equal);
  }
  document.querySelector("#graph")?.classList.toggle("some", equal !== undefined);
}

function point(event: Event): void {
  const target = event.target instanceof Element ? event.target.closest<HTMLElement | SVGElement>("[data-equal]") : null;
  const next = target?.dataset["equal"];
  if (next === equal) return;
  equal = next;
  lightEqual();
}

document.addEventListener("pointerover", point);
document.addEventListener("focusin", point);
