// The terminal page: `/containers/{id}/terminal`.
//
// What the page's HTML holds, and nothing more:
//
//   <link rel="stylesheet" href="{base}/…/terminal.css">
//   <script src="{base}/…/terminal.js" defer></script>          (beside app.js)
//   <div id="terminal"
//        data-container="{64 hexadecimal digits, or a foreign engine's id}"
//        data-name="{the container's name}"
//        data-session="{the session of ?session=, or empty}"
//        data-open="{where sessions are opened, below /api/v1}"
//        data-home="{the page that this one belongs to, below the base path}"
//        data-base="{base path without a slash at its end, or empty}"></div>
//
// and, for who may choose how a terminal joins, the dialog of pages-open.ts.
//
// The page gives the element its place and a height (the rest of the window: it is laid out as a
// column whose terminal grows); this script fills it with tabs, terminal and status line. It reads
// the tokens of the stylesheet (--bg --panel --panel-2 --line --ink --ink-2 --ink-3 --accent
// --on-accent --ok --warn --bad --mono --s1…--s6) and follows data-theme of the root element.
//
// Needs of the page's Content-Security-Policy: `script-src 'self'`, `connect-src 'self'`, and, as
// xterm.js writes style elements, `style-src-elem 'self' 'unsafe-inline'; style-src-attr 'none'`.

// The address's ?session= is always the tab that is shown, so that a reload comes back to it; the
// other tabs of this browser tab lie in sessionStorage.

import { Api, type Manner, type NamespaceType } from "./api.ts";
import { ask, element } from "./dom.ts";
import { asked, Opener } from "./pages-open.ts";
import { type Page, SessionTab } from "./session-tab.ts";
import "./terminal.css";

const READER_KEY = "porthole-screen-reader";

class TerminalPage implements Page {
  readonly api: Api;
  readonly place: string;
  readonly home: string;
  readonly base: string;
  readonly #container: string;
  readonly #name: string;
  readonly #opener = Opener.find();
  readonly #tabs: SessionTab[] = [];
  readonly #buttons = new Map<SessionTab, HTMLButtonElement>();
  #shown: SessionTab | null = null;
  #count = 0;
  #viewers: Record<string, string>;
  #reader = localStorageOf(READER_KEY) === "on";

  readonly #list = element("div", { class: "t-list", role: "tablist", "aria-label": "Sessions" });
  readonly #close = button("Close this session", "×", () => void this.#closeShown());
  readonly #panels = element("div", { class: "t-panels" });
  readonly #dot = element("span", { class: "t-dot", "aria-hidden": "true" });
  readonly #state = element("span", { role: "status" });
  readonly #where = element("span", { class: "m" });
  readonly #size = element("span", { class: "m" });
  readonly #watching = element("span", { class: "t-watching", role: "status" });
  readonly #drive = button("Use my size", "use my size", () => this.#shown?.drive());
  readonly #readerButton = button("Screen reader mode", "screen reader", () => this.#toggleReader());

  constructor(private readonly mount: HTMLElement) {
    const { container, name, base, open, home } = mount.dataset;
    this.#container = container ?? "";
    this.place = open ?? "";
    this.home = home ?? "/containers";
    this.base = base ?? "";
    this.#name = name ?? "";
    this.api = new Api(this.base);
    // Taken out while the page lives, so that a duplicated tab does not become the same viewer.
    this.#viewers = this.#stored("viewers", {});
    this.#store("viewers", null);
  }

  readonly viewers = {
    get: (session: string): string | null => this.#viewers[session] ?? null,
    set: (session: string, id: string): void => {
      this.#viewers[session] = id;
    },
  };

  start(): void {
    this.#build();
    this.#listen();
    const search = new URLSearchParams(location.search);
    const named = this.mount.dataset["session"] || search.get("session");
    const before = this.#stored<string[]>("tabs", []);
    const sessions: (string | null)[] = before.includes(named ?? "") || named === null ? before : [...before, named];
    // An address that asks for a choice opens nothing by itself: somebody may have been sent it.
    const choice = this.#opener === null ? null : asked(search);
    if (choice !== null) void this.#choose(null, choice === "choose" ? null : choice, false, sessions.length === 0);
    else if (sessions.length === 0) sessions.push(named);
    const shown = named ?? sessions.at(-1) ?? null;
    for (const session of sessions) {
      const tab = this.#add();
      if (session === shown) this.#show(tab);
      void this.#open(tab, session, session !== shown);
    }
  }

  screenReader(): boolean {
    return this.#reader;
  }

  changed(tab: SessionTab): void {
    const name = this.#buttons.get(tab)?.querySelector("span:last-child");
    if (name) name.textContent = tab.title;
    this.#buttons.get(tab)?.querySelector<HTMLElement>(".t-dot")?.setAttribute("data-kind", tab.status.kind);
    if (tab === this.#shown) this.#tell(tab);
    this.#remember();
  }

  leave(): void {
    if (this.#shown !== null) this.#buttons.get(this.#shown)?.focus();
  }

  link(address: string): void {
    const question = [
      element("p", {}, "A program in the container shows this address. Open it in a new tab?"),
      element("p", { class: "m break" }, address),
    ];
    void ask("Open a link", question, "Open").then((yes) => {
      if (yes) window.open(address, "_blank", "noopener,noreferrer");
      else this.#shown?.focus();
    });
  }

  #build(): void {
    const add = button("New session", "+", () => this.#begin({}));
    const more = button("More…: choose how a new session joins", "More…", () => void this.#choose(null, null, false, false));
    this.mount.replaceChildren(
      element("div", { class: "t-tabs" }, this.#list, add, ...(this.#opener === null ? [] : [more]), element("span", { class: "grow" }), this.#watching, this.#close),
      this.#panels,
      element(
        "div",
        { class: "t-status" },
        element("span", { class: "t-state" }, this.#dot, this.#state),
        this.#where,
        this.#size,
        this.#drive,
        element("span", { class: "grow" }),
        this.#readerButton,
        button("Find in the terminal (Control Shift F)", "find", () => this.#shown?.find()),
        element("span", { class: "t-keys" }, "⌃⇧F find · ⌃⇧C copy · ⌃⇧V paste · ⌃⇧Esc leave"),
      ),
    );
    this.#list.addEventListener("keydown", (event) => this.#key(event) && event.preventDefault());
    this.#drive.hidden = true;
    this.#readerButton.setAttribute("aria-pressed", String(this.#reader));
  }

  #listen(): void {
    const wake = (): void => this.#tabs.forEach((tab) => tab.wake());
    const visible = (): void => this.#tabs.forEach((tab) => tab.visible(document.visibilityState === "visible"));
    const restyle = (): void => this.#tabs.forEach((tab) => tab.restyle());
    window.addEventListener("online", wake);
    window.addEventListener("offline", wake);
    document.addEventListener("visibilitychange", visible);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", restyle);
    new MutationObserver(restyle).observe(document.documentElement, { attributeFilter: ["data-theme"] });
    window.addEventListener("pagehide", () => this.#store("viewers", this.#viewers));
    window.addEventListener("pageshow", () => {
      this.#store("viewers", null);
      wake();
    });
  }

  /** Opens a session in a tab of its own. */
  #begin(manner: Manner): void {
    const tab = this.#add(manner);
    this.#show(tab);
    void this.#open(tab, null, false);
  }

  /** Asks how to join. The answer opens a new tab, or another session in the one that asked. */
  async #choose(tab: SessionTab | null, join: readonly NamespaceType[] | null, toolbox: boolean, alone: boolean): Promise<void> {
    const manner = await this.#opener?.ask(join, toolbox);
    this.#forgetChoice();
    if (manner == null) {
      if (alone) location.assign(this.base + this.home);
      else this.#shown?.focus();
      return;
    }
    if (tab === null) this.#begin(manner);
    else tab.again(manner);
  }

  /** A reload comes back to the session, not to the choice. */
  #forgetChoice(): void {
    const url = new URL(location.href);
    url.searchParams.delete("join");
    url.searchParams.delete("choose");
    history.replaceState(history.state, "", url);
  }

  get choose(): Page["choose"] {
    return this.#opener === null ? undefined : (tab, toolbox) => void this.#choose(tab, null, toolbox, false);
  }

  #add(manner: Manner = {}): SessionTab {
    this.#count += 1;
    const panel = `session-panel-${this.#count}`;
    const tab = new SessionTab(this, panel, manner);
    const tabButton = element(
      "button",
      {
        type: "button",
        class: "t-tab",
        role: "tab",
        id: `session-tab-${this.#count}`,
        "aria-controls": panel,
        "aria-selected": "false",
        tabindex: "-1",
        click: () => {
          this.#show(tab);
          tab.focus();
        },
      },
      element("span", { class: "t-dot", "aria-hidden": "true" }),
      element("span", {}, tab.title),
    );
    tab.panel.setAttribute("aria-labelledby", tabButton.id);
    this.#tabs.push(tab);
    this.#buttons.set(tab, tabButton);
    this.#list.append(tabButton);
    this.#panels.append(tab.panel);
    return tab;
  }

  /** Opens it; one of before that is gone meanwhile leaves no tab behind. */
  async #open(tab: SessionTab, session: string | null, quietly: boolean): Promise<void> {
    await tab.open(session);
    if (quietly && tab.session === null && tab !== this.#shown) this.#remove(tab);
    this.#remember();
  }

  #show(tab: SessionTab): void {
    this.#shown = tab;
    for (const other of this.#tabs) {
      other.panel.hidden = other !== tab;
      const tabButton = this.#buttons.get(other);
      tabButton?.setAttribute("aria-selected", String(other === tab));
      tabButton?.setAttribute("tabindex", other === tab ? "0" : "-1");
    }
    this.#tell(tab);
    this.#remember();
  }

  #tell(tab: SessionTab): void {
    const { kind, text, where, size, watching, canDrive } = tab.status;
    this.#dot.dataset["kind"] = kind;
    // Every second of a countdown would be read aloud.
    this.#state.setAttribute("aria-live", kind === "reconnecting" ? "off" : "polite");
    if (this.#state.textContent !== text) this.#state.textContent = text;
    this.#where.textContent = where;
    this.#size.textContent = size;
    this.#watching.textContent = watching;
    this.#drive.hidden = !canDrive;
    document.title = [tab.title, this.#name, "Porthole"].filter((part) => part !== "").join(" · ");
  }

  /** Keeps in the address and beside it which sessions this page shows. */
  #remember(): void {
    const sessions = this.#tabs.flatMap((tab) => (tab.id === null ? [] : [tab.id]));
    this.#store("tabs", sessions);
    const shown = this.#shown?.id ?? null;
    for (const [tab, tabButton] of this.#buttons) tabButton.dataset["session"] = tab.id ?? "";
    // The list of processes beside it lights those of this session.
    document.dispatchEvent(new CustomEvent("porthole:session", { detail: shown }));
    const url = new URL(location.href);
    if (shown === null || url.searchParams.get("session") === shown) return;
    url.searchParams.set("session", shown);
    history.replaceState(history.state, "", url);
  }

  async #closeShown(): Promise<void> {
    const tab = this.#shown;
    if (tab === null) return;
    if (tab.running) {
      const body = [element("p", {}, `“${tab.title}” still runs in ${this.#name || "this container"}. Closing ends it and every process of it.`)];
      if (!(await ask("End this session?", body, "End session", true))) return tab.focus();
      try {
        await tab.end();
      } catch (error) {
        await ask("The session was not ended", [element("p", {}, error instanceof Error ? error.message : String(error))], "Close");
        return;
      }
    }
    this.#remove(tab);
  }

  #remove(tab: SessionTab): void {
    const at = this.#tabs.indexOf(tab);
    if (at < 0) return;
    this.#tabs.splice(at, 1);
    this.#buttons.get(tab)?.remove();
    this.#buttons.delete(tab);
    tab.dispose();
    if (this.#shown !== tab) return this.#remember();
    const next = this.#tabs[Math.min(at, this.#tabs.length - 1)];
    if (next === undefined) {
      this.#store("tabs", null);
      location.assign(this.base + this.home);
      return;
    }
    this.#show(next);
    next.focus();
  }

  /** Arrows, Home and End go through the tabs. */
  #key(event: KeyboardEvent): boolean {
    if (this.#shown === null) return false;
    const at = this.#tabs.indexOf(this.#shown);
    const last = this.#tabs.length - 1;
    const to = { ArrowRight: at === last ? 0 : at + 1, ArrowLeft: at === 0 ? last : at - 1, Home: 0, End: last }[event.key];
    const tab = to === undefined ? undefined : this.#tabs[to];
    if (tab === undefined) return false;
    this.#show(tab);
    this.#buttons.get(tab)?.focus();
    return true;
  }

  #toggleReader(): void {
    this.#reader = !this.#reader;
    try {
      localStorage.setItem(READER_KEY, this.#reader ? "on" : "off");
    } catch {
      // Storage is forbidden here: it holds until the page is left.
    }
    this.#readerButton.setAttribute("aria-pressed", String(this.#reader));
    this.#tabs.forEach((tab) => tab.screenReader(this.#reader));
  }

  #stored<T>(what: string, otherwise: T): T {
    try {
      return JSON.parse(sessionStorage.getItem(this.#place(what)) ?? "") as T;
    } catch {
      return otherwise;
    }
  }

  #store(what: string, value: unknown): void {
    try {
      if (value === null) sessionStorage.removeItem(this.#place(what));
      else sessionStorage.setItem(this.#place(what), JSON.stringify(value));
    } catch {
      // Storage is forbidden here: a reload comes back to the address's session alone.
    }
  }

  #place(what: string): string {
    return `porthole-${what}-${this.#container}`;
  }
}

function button(label: string, sign: string, click: () => void): HTMLButtonElement {
  return element("button", { type: "button", class: "t-button", "aria-label": label, title: label, click }, sign);
}

function localStorageOf(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

const mount = document.getElementById("terminal");
if (mount !== null) new TerminalPage(mount).start();
