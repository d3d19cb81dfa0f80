// One tab of the terminal page: a terminal, its connection, and what is said about both.
//
//   opening ─► attached ─► over ─► opening …      (Enter or "Start again" begins a new session)
//      ├─► failed ─► opening …                    (a session that could not be opened says why)
//      └─► asking ─► opening …                    (it would be less confined than its container)

import { type Api, type Manner, Refusal, type Session } from "./api.ts";
import { type Clock, Connection, type Listener, type Socket, type State, type Viewer } from "./connection.ts";
import { element } from "./dom.ts";
import { FindBar } from "./find.ts";
import { LineInput } from "./line-input.ts";
import { cells, comparison, summary, toAccept } from "./pages-open.ts";
import type { Flags } from "./protocol.ts";
import { TerminalView } from "./terminal.ts";

const TITLE_LIMIT = 80;
const FIND_TRIES = 10;
const FIND_EVERY = 500;

const clock: Clock = {
  now: () => performance.now(),
  after: (milliseconds, run) => {
    const timer = setTimeout(run, milliseconds);
    return () => clearTimeout(timer);
  },
};

/** What a tab needs of its page. */
export interface Page {
  readonly api: Api;
  /** Where sessions are opened, below `/api/v1`. */
  readonly place: string;
  readonly base: string;
  /** The page that this one belongs to, below the base path. */
  readonly home: string;
  /** The viewer ids of this browser tab, by session. */
  readonly viewers: { get(session: string): string | null; set(session: string, id: string): void };
  screenReader(): boolean;
  /** Something that the page shows of this tab has changed. */
  changed(tab: SessionTab): void;
  leave(): void;
  link(address: string): void;
  /** Asks how to join, with an image's tools where it is for want of a shell; absent where the
   * reader has no such choice. */
  readonly choose?: ((tab: SessionTab, toolbox: boolean) => void) | undefined;
}

/** What the status line shows of a tab. */
export interface Status {
  readonly kind: State["kind"] | "failed";
  readonly text: string;
  readonly where: string;
  readonly size: string;
  readonly watching: string;
  readonly canDrive: boolean;
}

export class SessionTab {
  readonly panel: HTMLElement;
  readonly #host: HTMLElement;
  readonly #message: HTMLElement;
  readonly #notice: HTMLElement;
  readonly #about: HTMLElement;
  readonly #find: FindBar;
  #view: TerminalView | null = null;
  #connection: Connection | null = null;
  #session: Session | null = null;
  #id: string | null = null;
  #state: Status["kind"] = "connecting";
  #stateText = "connecting";
  #flags: Flags | null = null;
  #viewers: readonly Viewer[] = [];
  #title = "";
  #lines = new LineInput();

  constructor(
    private readonly page: Page,
    id: string,
    /** How its sessions are opened. */
    private manner: Manner = {},
  ) {
    this.#host = element("div", { class: "t-pane" });
    this.#message = element("div", { class: "t-message", hidden: true, tabindex: "-1" });
    this.#notice = element("div", { role: "status" });
    this.#about = element("div", { class: "t-about", hidden: true });
    this.#find = new FindBar({
      find: (text, backwards) => this.#view?.find(text, backwards),
      endFind: () => this.#view?.endFind(),
      focus: () => this.focus(),
    });
    this.panel = element(
      "div",
      { class: "t-panel", role: "tabpanel", id, hidden: true },
      this.#about,
      this.#find.element,
      this.#message,
      element("div", { class: "t-screen" }, this.#host),
      this.#notice,
    );
  }

  get session(): Session | null {
    return this.#session;
  }

  /** The session that it shows or is about to show. */
  get id(): string | null {
    return this.#id;
  }

  /** What runs in it, or what the program calls its window; text, never markup. */
  get title(): string {
    const command = this.#session?.command[0]?.replace(/^.*\//, "").replace(/^-/, "") ?? "terminal";
    return this.#title === "" ? command : this.#title;
  }

  /** Whether closing it would end a running program. */
  get running(): boolean {
    return this.#session !== null && this.#state !== "ended" && this.#state !== "failed" && this.#state !== "refused";
  }

  get status(): Status {
    const session = this.#session;
    const where =
      session?.host_pid == null
        ? ""
        : [
            `host ${session.host_pid}`,
            ...(session.container_pid === null ? [] : [`inside ${session.container_pid}`]),
            session.tty ? (session.tty_name?.replace("/dev/", "") ?? "tty") : "pipes, errors red",
          ].join(" · ");
    const drives = this.#flags?.drives ?? true;
    const live = this.#state === "live";
    return {
      kind: this.#state,
      text: this.#stateText,
      where,
      size: this.#view === null ? "" : `${this.#view.cols}×${this.#view.rows}${drives ? "" : ", another window's size"}`,
      watching: live ? this.#watching(drives) : "",
      canDrive: live && !drives && this.#flags?.write === true,
    };
  }

  /** How many look on, this window among them, and whose window sets the size. */
  #watching(drives: boolean): string {
    if (this.#viewers.length < 2) return "";
    const driver = this.#viewers.find((viewer) => viewer.drives)?.user;
    const who = drives ? ", you drive" : driver === undefined ? "" : `, ${driver} drives`;
    return `${this.#viewers.length} watching${who}`;
  }

  /** Comes back to a session that is there, or opens one. */
  async open(id: string | null): Promise<void> {
    this.#id = id;
    this.#say("connecting", "connecting");
    this.#tell("");
    this.#show(null);
    try {
      this.#view ??= await TerminalView.open(this.#host, this.#outside(), this.page.screenReader());
      const { cols, rows } = this.#view;
      this.#session = id === null ? await this.page.api.open(this.page.place, cols, rows, this.manner) : await this.#present(id);
    } catch (error) {
      this.#fail(error, id);
      return;
    }
    this.#attach(this.#session);
  }

  /** A session that is there; waits a while for a server that is just being started again. */
  async #present(id: string): Promise<Session> {
    for (let tries = 1; ; tries += 1) {
      try {
        return await this.page.api.session(id);
      } catch (error) {
        const passing = error instanceof Refusal && (error.status === 0 || error.status === 503);
        if (!passing || tries === FIND_TRIES) throw error;
        await new Promise((resolve) => setTimeout(resolve, FIND_EVERY));
      }
    }
  }

  focus(): void {
    if (this.#message.hidden) this.#view?.focus();
    else this.#message.querySelector("button")?.focus();
  }

  find(): void {
    this.#find.open();
  }

  drive(): void {
    this.#connection?.drive(true);
    this.focus();
  }

  screenReader(on: boolean): void {
    this.#view?.screenReader(on);
  }

  restyle(): void {
    this.#view?.restyle();
  }

  visible(visible: boolean): void {
    this.#connection?.visible(visible);
  }

  wake(): void {
    this.#connection?.wake();
  }

  /** Ends the session and everything that runs in it. */
  async end(): Promise<void> {
    if (this.#session !== null && this.running) await this.page.api.end(this.#session.id);
  }

  dispose(): void {
    this.#connection?.dispose();
    this.#view?.dispose();
    this.panel.remove();
  }

  /** Opens another session, in this manner. */
  again(manner: Manner): void {
    this.manner = manner;
    void this.open(null);
  }

  /** Above the terminal: whose namespaces it is in, and how it compares with its container. */
  #tellAbout(session: Session): void {
    const drawn = cells(session);
    const lines = session.fidelity ?? [];
    this.#about.hidden = drawn === null;
    const report = element(
      "details",
      { class: "t-fidelity" },
      element("summary", {}, summary(lines)),
      element("div", { class: "t-report", tabindex: "0", role: "group", "aria-label": "How it compares" }, element("p", {}, "This session beside the first process of its container:"), comparison(lines)),
    );
    report.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      report.open = false;
      this.focus();
    });
    this.#about.replaceChildren(...(drawn === null ? [] : [drawn]), lines.length === 0 ? "" : report);
  }

  #attach(session: Session): void {
    this.#id = session.id;
    this.#tellAbout(session);
    this.#connection?.dispose();
    this.#view?.clear();
    this.#title = "";
    this.#lines = new LineInput();
    const connection = new Connection(this.page.api.attach(session.id), "write", this.#listener(), {
      clock,
      random: Math.random,
      open: (address, subprotocol) => new WebSocket(address, subprotocol) as Socket,
      probe: () => this.page.api.status(session.id),
      viewer: {
        get: () => this.page.viewers.get(session.id),
        set: (id) => this.page.viewers.set(session.id, id),
      },
    });
    this.#connection = connection;
    if (this.#view !== null) connection.resize(this.#view.cols, this.#view.rows);
    connection.start();
    this.page.changed(this);
    if (!this.panel.hidden) this.focus();
  }

  #listener(): Listener {
    return {
      state: (state) => this.#moved(state),
      hello: (flags, cols, rows) => {
        this.#flags = flags;
        this.#host.toggleAttribute("data-watching", !flags.drives);
        this.#view?.role(flags);
        if (!flags.drives) this.#view?.size(cols, rows);
        this.page.changed(this);
      },
      output: (bytes, stream, end) => this.#view?.output(bytes, stream, end),
      snapshot: (bytes, cols, rows, end) => this.#view?.snapshot(bytes, cols, rows, end),
      size: (cols, rows) => this.#view?.size(cols, rows),
      viewers: (viewers) => {
        this.#viewers = viewers;
        this.page.changed(this);
      },
      notice: (text) => this.#tell(text),
    };
  }

  #outside(): Parameters<typeof TerminalView.open>[1] {
    return {
      typed: (text) => this.#typed(text),
      reported: (bytes) => this.#type(bytes),
      room: (cols, rows) => {
        // A session that has ended has no size of its own any more; what it wrote stays in sight.
        if (this.#connection?.state.kind === "ended") this.#view?.size(cols, rows);
        else this.#connection?.resize(cols, rows);
      },
      sized: () => this.page.changed(this),
      parsed: (place) => this.#connection?.parsed(place),
      title: (text) => {
        // eslint-disable-next-line no-control-regex
        this.#title = text.replace(/[\x00-\x1f\x7f-\x9f]/g, "").slice(0, TITLE_LIMIT);
        this.page.changed(this);
      },
      link: (address) => this.page.link(address),
      find: () => this.#find.open(),
      found: (at, count) => this.#find.found(at, count),
      leave: () => this.page.leave(),
      notice: (text) => this.#tell(text),
    };
  }

  #typed(text: string): void {
    if (this.#state === "ended") {
      if (text === "\r") void this.open(null);
      return;
    }
    if (this.#flags === null || this.#flags.tty) {
      this.#type(new TextEncoder().encode(text));
      return;
    }
    const { echo, send, end } = this.#lines.take(text);
    this.#view?.echo(echo);
    if (send !== "") this.#type(new TextEncoder().encode(send));
    if (end) this.#connection?.endInput();
  }

  #type(bytes: Uint8Array): void {
    const connection = this.#connection;
    if (connection === null || connection.type(bytes) || connection.state.kind === "ended") return;
    if (this.#flags?.write === false) return;
    const waiting = Math.ceil(connection.waiting / 1024);
    this.#tell(`That was not sent: ${waiting} KiB of earlier input still wait until the program reads them.`);
  }

  #moved(state: State): void {
    switch (state.kind) {
      case "connecting":
      case "live":
        return this.#say(state.kind, state.kind);
      case "reconnecting":
        return this.#say(state.kind, state.seconds > 0 ? `reconnecting in ${state.seconds} s` : "reconnecting");
      case "ended": {
        const code = state.how === "lost" ? "its exit code is lost" : `exit code ${state.code}`;
        this.#say("ended", `ended (${code})`);
        // The reason says the code where there is one.
        const reason = sentence(state.reason === "" ? code : state.reason);
        return this.#tell(`The session has ended. ${reason} Enter starts a new one.`);
      }
      case "refused":
        this.#say("refused", "not connected");
        return this.#refused(state.code, state.text);
    }
  }

  #refused(code: number, text: string): void {
    if (code === 4401) {
      const here = encodeURIComponent(location.pathname + location.search);
      const link = element("a", { class: "btn pri", href: `${this.page.base}/login?next=${here}` }, "Sign in");
      this.#show([element("h2", {}, "Signed out"), element("p", {}, text), link]);
    } else {
      this.#show([element("h2", {}, "Not connected"), element("p", {}, text), this.#again("Open a new session", null)]);
    }
  }

  #fail(error: unknown, id: string | null): void {
    const refusal = error instanceof Refusal ? error : new Refusal(0, String(error));
    this.#session = null;
    this.#say("failed", "not connected");
    if (refusal.status === 401) return this.#refused(4401, "You are signed out. Sign in again to go on.");
    if (refusal.code === "less_confined") return this.#askFirst(refusal);
    const gone = id !== null && refusal.status === 404;
    if (gone) this.#id = null;
    const { choose } = this.page;
    const noShell = id === null && refusal.tried.length > 0;
    const kernel = [refusal.stage, refusal.errno].filter((part) => part !== null).join(": ");
    this.#show([
      element("h2", {}, gone ? "This session is not there any more" : "No terminal could be opened"),
      element("p", {}, gone ? "It was removed, or it never was. Its container may still run." : sentence(refusal.message)),
      ...(kernel === "" ? [] : [element("p", { class: "m" }, kernel)]),
      ...(refusal.tried.length === 0 ? [] : [shells(refusal.tried)]),
      element(
        "div",
        { class: "t-choices" },
        ...(noShell && choose !== undefined ? [this.#button("Open with tools of an image", true, () => choose(this, true))] : []),
        this.#button(gone ? "Open a new session" : "Try again", !noShell, () => void this.open(gone ? null : id)),
        ...(id === null && choose !== undefined ? [this.#button("More…", false, () => choose(this, false))] : []),
      ),
    ]);
  }

  /** Shows in what the session would be less confined than its container, and asks. */
  #askFirst(refusal: Refusal): void {
    const accept = toAccept(refusal.fidelity);
    this.#say("failed", "waiting for your answer");
    this.#show([
      element("h2", {}, "This session would be less confined than its container"),
      element("p", {}, sentence(refusal.message)),
      comparison(refusal.fidelity),
      element(
        "div",
        { class: "t-choices" },
        this.#button("Open it all the same", true, () => this.again({ ...this.manner, accept })),
        element("a", { class: "btn", href: this.page.base + this.page.home }, "Do not open it"),
      ),
    ]);
  }

  #button(words: string, first: boolean, click: () => void): HTMLElement {
    return element("button", { type: "button", class: first ? "btn pri" : "btn", click }, words);
  }

  #again(words: string, id: string | null): HTMLElement {
    return element("button", { type: "button", class: "btn pri", click: () => void this.open(id) }, words);
  }

  /** Shows this instead of the terminal, or the terminal again. */
  #show(message: Node[] | null): void {
    this.#message.hidden = message === null;
    this.#message.replaceChildren(...(message ?? []));
    if (message !== null && !this.panel.hidden) this.focus();
  }

  #say(kind: Status["kind"], text: string): void {
    this.#state = kind;
    this.#stateText = text;
    this.page.changed(this);
  }

  /** A notice below the terminal; it stays until it is closed or another comes. */
  #tell(text: string): void {
    if (text === "") return this.#notice.replaceChildren();
    const close = element("button", { type: "button", class: "t-button", "aria-label": "Close", click: () => this.#tell("") }, "×");
    this.#notice.replaceChildren(element("div", { class: "t-notice" }, element("span", {}, text), close));
  }
}

function shells(tried: Refusal["tried"]): HTMLElement {
  return element("ul", { class: "m" }, ...tried.map(({ path, why }) => element("li", {}, `${path}: ${why}`)));
}

function sentence(text: string): string {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}
