// How a terminal joins: the dialog in which that is chosen, and what is said of it afterwards. The
// dialog's fields are the page's; what is here reads them.

import { type FidelityLine, type Manner, NAMESPACES, type NamespaceType, type Session } from "./api.ts";
import { element } from "./dom.ts";

const VERDICTS: Readonly<Record<FidelityLine["verdict"], readonly [sign: string, word: string]>> = {
  equal: ["=", "equal"],
  weaker: ["!", "less confined"],
  stronger: ["+", "more confined"],
  unknown: ["?", "not known"],
};

/** What somebody has to agree to. */
const loose = (line: FidelityLine): boolean => line.verdict === "weaker" || line.verdict === "unknown";

export const toAccept = (lines: readonly FidelityLine[]): string[] => lines.filter(loose).map((line) => line.aspect);

/** The comparison line by line: what is less confined first. */
export function comparison(lines: readonly FidelityLine[]): HTMLElement {
  const sorted = [...lines].sort((a, b) => Number(loose(b)) - Number(loose(a)));
  const row = (line: FidelityLine): HTMLElement => {
    const [sign, word] = VERDICTS[line.verdict];
    return element(
      "li",
      { class: line.verdict },
      element("span", { class: "t-verdict" }, element("i", { "aria-hidden": "true" }, sign), ` ${word}`),
      element("b", {}, line.aspect.replaceAll("_", " ")),
      element("span", {}, line.words),
      line.init === line.session || line.init + line.session === ""
        ? ""
        : element("span", { class: "m" }, `container ${line.init || "–"} · session ${line.session || "–"}`),
    );
  };
  return element("ul", { class: "t-lines" }, ...sorted.map(row));
}

const WHOSE = { host: "the host's", container: "the container's", session: "the session's own" } as const;

/** The eight of a session as cells: filled is the container's, a ring the host's, hatched its own. */
export function cells(session: Session): HTMLElement | null {
  const { joined } = session;
  if (joined == null) return null;
  const of = (type: NamespaceType): string => {
    const { whose, inode } = joined[type];
    return `${type}: ${WHOSE[whose]}${inode === null ? "" : ` (${type}:[${inode}])`}`;
  };
  const name = (whose: keyof typeof WHOSE): string => {
    const types = NAMESPACES.filter((type) => joined[type].whose === whose);
    return types.length === 0 ? "" : `${WHOSE[whose]}: ${types.join(", ")}`;
  };
  const label = (["container", "host", "session"] as const).map(name).filter((part) => part !== "").join("; ");
  const drawn = { host: "host", container: "own", session: "session" } as const;
  const cell = (type: NamespaceType): HTMLElement => element("i", { class: `${type} ${drawn[joined[type].whose]}`, title: of(type) });
  return element("span", { class: "fp", role: "img", "aria-label": `Namespaces: ${label}` }, ...NAMESPACES.map(cell));
}

/** In a few words how a session compares with its container's own. */
export function summary(lines: readonly FidelityLine[]): string {
  const differ = lines.filter((line) => line.verdict !== "equal").length;
  const weaker = lines.filter(loose).length;
  if (differ === 0) return "as its engine's exec";
  return weaker === 0 ? `${differ} more confined` : `${weaker} of ${lines.length} less confined`;
}

/** What the address asks for: these of the eight, or that the choice is shown. */
export function asked(search: URLSearchParams): readonly NamespaceType[] | "choose" | null {
  const join = search.get("join");
  if (join === null) return search.has("choose") ? "choose" : null;
  const named = join.split(",");
  return NAMESPACES.filter((type) => named.includes(type));
}

/** The words of a command, as a shell splits them; quotes keep spaces. */
export function words(text: string): string[] {
  const found = text.match(/(?:[^\s"']+|"[^"]*"|'[^']*')+/g) ?? [];
  return found.map((word) => word.replace(/"([^"]*)"|'([^']*)'/g, (_, double?: string, single?: string) => double ?? single ?? ""));
}

/** The dialog. A page has none where the reader may not choose. */
export class Opener {
  readonly #form: HTMLFormElement;

  private constructor(private readonly dialog: HTMLDialogElement) {
    const form = dialog.querySelector("form");
    if (form === null) throw new Error("the opener has no form");
    this.#form = form;
    form.addEventListener("change", () => this.#settle());
    for (const preset of dialog.querySelectorAll<HTMLButtonElement>("[data-preset]")) {
      preset.addEventListener("click", () => this.#tick(preset.dataset["preset"] ?? "all"));
    }
  }

  static find(): Opener | null {
    const dialog = document.getElementById("opener");
    return dialog instanceof HTMLDialogElement ? new Opener(dialog) : null;
  }

  /** Whether an image's tools can be taken along. */
  get hasTools(): boolean {
    return this.#toolbox !== null;
  }

  /** Asks how to join; `null` where the person thought better of it. */
  ask(join: readonly NamespaceType[] | null, toolbox = false): Promise<Manner | null> {
    this.#form.reset();
    if (join !== null) for (const box of this.#boxes) box.checked = join.includes(box.value as NamespaceType);
    const tools = this.#toolbox;
    if (toolbox && tools !== null) tools.selectedIndex = Math.min(1, tools.options.length - 1);
    this.#settle();
    this.dialog.returnValue = "";
    this.dialog.showModal();
    return new Promise((answer) => {
      this.dialog.addEventListener("close", () => answer(this.dialog.returnValue === "open" ? this.#manner() : null), { once: true });
    });
  }

  get #boxes(): HTMLInputElement[] {
    return [...this.#form.querySelectorAll<HTMLInputElement>("input[name=join]")];
  }

  get #toolbox(): HTMLSelectElement | null {
    return this.#form.querySelector<HTMLSelectElement>("select[name=toolbox]");
  }

  #tick(preset: string): void {
    for (const box of this.#boxes) box.checked = preset === "all" || box.value === preset;
    this.#settle();
  }

  /** A toolbox joins all but mnt; what is left out is the host's, which is said where it matters. */
  #settle(): void {
    const tools = (this.#toolbox?.value ?? "") !== "";
    this.#form.querySelector<HTMLFieldSetElement>("[data-join]")?.toggleAttribute("disabled", tools);
    const outside = this.#boxes.some((box) => !box.checked && !box.hasAttribute("data-hosts"));
    this.#form.querySelector("[data-outside]")?.toggleAttribute("hidden", !outside || tools);
  }

  #manner(): Manner {
    const text = (name: string): string => String(new FormData(this.#form).get(name) ?? "").trim();
    const toolbox = text("toolbox");
    const boxes = this.#boxes;
    const chosen = boxes.filter((box) => box.checked).map((box) => box.value as NamespaceType);
    const [user, workdir, command] = [text("user"), text("workdir"), words(text("command"))];
    return {
      ...(toolbox !== "" ? { toolbox: { image: toolbox } } : chosen.length < boxes.length ? { join: chosen } : {}),
      ...(user === "" ? {} : { user }),
      ...(workdir === "" ? {} : { workdir }),
      ...(command.length === 0 ? {} : { command }),
    };
  }
}
