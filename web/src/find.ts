// The bar that finds text in a terminal.

import { element } from "./dom.ts";

/** What is searched. */
export interface Searched {
  find(text: string, backwards: boolean): void;
  endFind(): void;
  focus(): void;
}

export class FindBar {
  readonly element: HTMLElement;
  readonly #input: HTMLInputElement;
  readonly #count: HTMLOutputElement;

  constructor(private readonly searched: Searched) {
    this.#input = element("input", {
      type: "search",
      "aria-label": "Find in the terminal",
      placeholder: "Find",
      autocomplete: "off",
      spellcheck: "false",
      input: () => this.#find(false),
      keydown: (event) => this.#key(event as KeyboardEvent),
    });
    this.#count = element("output", { class: "t-count" });
    const button = (label: string, sign: string, click: () => void): HTMLElement =>
      element("button", { type: "button", class: "t-button", "aria-label": label, title: label, click }, sign);
    this.element = element(
      "div",
      { class: "t-find", role: "search", hidden: true },
      this.#input,
      this.#count,
      button("Previous", "↑", () => this.#find(true)),
      button("Next", "↓", () => this.#find(false)),
      button("Close", "×", () => this.close()),
    );
  }

  open(): void {
    this.element.hidden = false;
    this.#input.select();
    this.#input.focus();
  }

  close(): void {
    this.element.hidden = true;
    this.searched.endFind();
    this.searched.focus();
  }

  /** Says which of how many is shown; `at` counts from 0 and is negative where it is not known. */
  found(at: number, count: number): void {
    if (this.#input.value === "") this.#count.value = "";
    else if (count === 0) this.#count.value = "none";
    else this.#count.value = at < 0 ? `${count}+` : `${at + 1} of ${count}`;
  }

  #find(backwards: boolean): void {
    if (this.#input.value === "") {
      this.searched.endFind();
      this.found(-1, 0);
    } else {
      this.searched.find(this.#input.value, backwards);
    }
  }

  #key(event: KeyboardEvent): void {
    if (event.key === "Escape") this.close();
    else if (event.key === "Enter") this.#find(event.shiftKey);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
