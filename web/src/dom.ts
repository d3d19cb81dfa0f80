// Elements, built without markup: what people, programs and servers say is text and stays text.

type Attributes = Readonly<Record<string, string | boolean | ((event: Event) => void)>>;

/** An element with these attributes and children. A function is a listener for the event so named. */
export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (typeof value === "boolean") made.toggleAttribute(name, value);
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** Asks in a dialog; `true` where the person chose to go on. Escape and "Cancel" are no. */
export function ask(title: string, body: readonly (Node | string)[], yes: string, danger = false): Promise<boolean> {
  return new Promise((answer) => {
    const heading = element("h2", { id: "ask-title" }, title);
    const dialog = element(
      "dialog",
      { "aria-labelledby": "ask-title", close: () => done(false) },
      heading,
      ...body,
      element(
        "div",
        { class: "actions" },
        element("button", { type: "button", class: "btn", click: () => done(false) }, "Cancel"),
        element("button", { type: "button", class: danger ? "btn danger" : "btn pri", click: () => done(true) }, yes),
      ),
    );
    let answered = false;
    const done = (value: boolean): void => {
      if (answered) return;
      answered = true;
      dialog.remove();
      answer(value);
    };
    document.body.append(dialog);
    dialog.showModal();
  });
}
