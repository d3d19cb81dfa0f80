// A terminal on screen: the only file that knows xterm.js.
//
// It is given output and sizes in the order of the session's bytes and keeps that order: a size is
// applied when everything before it was parsed. It gives back what was typed, and the place up to
// which output was parsed.

import { ClipboardAddon } from "@xterm/addon-clipboard";
import { FitAddon } from "@xterm/addon-fit";
import { SearchAddon } from "@xterm/addon-search";
import { UnicodeGraphemesAddon } from "@xterm/addon-unicode-graphemes";
import { WebLinksAddon } from "@xterm/addon-web-links";
import { WebglAddon } from "@xterm/addon-webgl";
import { type ITheme, Terminal } from "@xterm/xterm";
import "@xterm/xterm/css/xterm.css";

import type { Searched } from "./find.ts";
import type { Stream } from "./protocol.ts";

const FONT_SIZE = 13;
const SMALLEST_FONT = 6;
const SCROLLBACK = 10_000;
/** Longer than a font from this machine takes; without it the terminal is drawn in the next one. */
const FONT_DEADLINE = 1_000;
/** Errors of a session without a terminal: red and slanted, so that colour alone need not be seen. */
const STDERR = { begin: "\x1b[3;31m", end: "\x1b[23;39m" };

/** What the terminal tells its tab. */
export interface Outside {
  /** Something was typed or pasted, or a mouse moved where the program asked for it. */
  typed(text: string): void;
  /** Bytes that are no text: mouse reports of an old kind. */
  reported(bytes: Uint8Array): void;
  /** The pane has room for this size. */
  room(cols: number, rows: number): void;
  /** The terminal has another size. */
  sized(): void;
  /** All output before this place was parsed. */
  parsed(place: number): void;
  /** The program named its window. */
  title(text: string): void;
  /** A link was pressed; it is http or https. */
  link(address: string): void;
  find(): void;
  found(at: number, count: number): void;
  /** The keyboard is to leave the terminal. */
  leave(): void;
  notice(text: string): void;
}

/** How the viewer stands to the session. */
export interface Role {
  /** May type. */
  readonly write: boolean;
  /** Its window sets the size, and its terminal answers what programs ask. */
  readonly drives: boolean;
  readonly tty: boolean;
}

export class TerminalView implements Searched {
  readonly #term: Terminal;
  readonly #fit = new FitAddon();
  readonly #search = new SearchAddon();
  readonly #observer: ResizeObserver;
  #role: Role = { write: true, drives: true, tty: true };
  #frame = 0;

  private constructor(
    private readonly host: HTMLElement,
    private readonly outside: Outside,
    screenReader: boolean,
  ) {
    this.#term = new Terminal({
      allowProposedApi: true,
      cursorBlink: false,
      fontFamily: token(host, "--mono"),
      fontSize: FONT_SIZE,
      lineHeight: 1.15,
      linkHandler: { activate: (_event, address) => this.#link(address), allowNonHttpProtocols: false },
      macOptionIsMeta: true,
      minimumContrastRatio: 4.5,
      rescaleOverlappingGlyphs: true,
      screenReaderMode: screenReader,
      scrollback: SCROLLBACK,
      theme: themeOf(host),
    });
    this.#term.loadAddon(this.#fit);
    this.#term.loadAddon(this.#search);
    this.#term.loadAddon(new UnicodeGraphemesAddon());
    this.#term.loadAddon(new WebLinksAddon((_event, address) => this.#link(address)));
    this.#loadClipboard();
    this.#silenceQueries();
    this.#term.attachCustomKeyEventHandler((event) => this.#key(event));
    this.#term.onData((text) => outside.typed(text));
    this.#term.onBinary((text) => outside.reported(Uint8Array.from(text, (c) => c.charCodeAt(0))));
    this.#term.onResize(() => outside.sized());
    this.#term.onTitleChange((text) => outside.title(text));
    this.#search.onDidChangeResults(({ resultIndex, resultCount }) => outside.found(resultIndex, resultCount));
    host.addEventListener("paste", (event) => this.#paste(event), { capture: true });
    this.#observer = new ResizeObserver(() => this.#settle());
  }

  /** Opens a terminal in this element, once its font is there. */
  static async open(host: HTMLElement, outside: Outside, screenReader: boolean): Promise<TerminalView> {
    await fontOf(host);
    const view = new TerminalView(host, outside, screenReader);
    view.#term.open(host);
    view.#term.textarea?.setAttribute("aria-label", "Terminal. Control, Shift and Escape leave it.");
    view.#loadWebgl();
    view.#fitNow();
    view.#observer.observe(host);
    return view;
  }

  get cols(): number {
    return this.#term.cols;
  }

  get rows(): number {
    return this.#term.rows;
  }

  /** Writes output; `end` is the place after it. */
  output(bytes: Uint8Array, stream: Stream, end: number): void {
    if (stream === "stderr") this.#term.write(STDERR.begin);
    this.#term.write(bytes, stream === "stderr" ? undefined : () => this.outside.parsed(end));
    if (stream === "stderr") this.#term.write(STDERR.end, () => this.outside.parsed(end));
  }

  /** Draws the screen anew. */
  snapshot(bytes: Uint8Array, cols: number, rows: number, end: number): void {
    this.clear();
    this.size(cols, rows);
    this.#term.write(bytes, () => this.outside.parsed(end));
  }

  /** Forgets everything, as a new session needs it. */
  clear(): void {
    // As bytes, so that a character that was cut off before is not completed by what follows.
    this.#term.write(Uint8Array.of(0x1b, 0x63));
  }

  /** The session has this size from here on. */
  size(cols: number, rows: number): void {
    this.#term.write("", () => {
      if (cols !== this.#term.cols || rows !== this.#term.rows) this.#term.resize(cols, rows);
      this.#settle();
    });
  }

  /** Shows what was typed where no terminal echoes it. */
  echo(text: string): void {
    this.#term.write(text);
  }

  role(role: Role): void {
    this.#role = role;
    this.#term.options.disableStdin = !role.write;
    this.#term.options.convertEol = !role.tty;
    this.#settle();
  }

  /** Takes colours and font from the stylesheet again. */
  restyle(): void {
    this.#term.options.theme = themeOf(this.host);
    this.#term.options.fontFamily = token(this.host, "--mono");
    this.#settle();
  }

  screenReader(on: boolean): void {
    this.#term.options.screenReaderMode = on;
  }

  focus(): void {
    this.#term.focus();
  }

  find(text: string, backwards: boolean): void {
    const [other, now] = [token(this.host, "--term-match"), token(this.host, "--term-match-now")];
    const options = {
      decorations: {
        matchBackground: other,
        matchOverviewRuler: other,
        activeMatchBackground: now,
        activeMatchColorOverviewRuler: now,
      },
    };
    if (backwards) this.#search.findPrevious(text, options);
    else this.#search.findNext(text, options);
  }

  endFind(): void {
    this.#search.clearDecorations();
    this.#term.clearSelection();
  }

  dispose(): void {
    this.#observer.disconnect();
    cancelAnimationFrame(this.#frame);
    this.#term.dispose();
  }

  /** Fits the terminal to its pane, or what it shows into it, before the next picture. */
  #settle(): void {
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(() => {
      if (this.#role.drives) {
        this.#font(FONT_SIZE);
        const room = this.#room();
        if (room !== null) this.outside.room(room.cols, room.rows);
      } else {
        this.#shrink();
      }
    });
  }

  /** Before there is a session the pane alone says the size. */
  #fitNow(): void {
    const room = this.#room();
    if (room !== null) this.#term.resize(room.cols, room.rows);
  }

  #room(): { cols: number; rows: number } | null {
    if (this.host.clientWidth === 0 || this.host.clientHeight === 0) return null;
    const room = this.#fit.proposeDimensions();
    return room !== undefined && room.cols > 0 && room.rows > 0 ? room : null;
  }

  /** Another's window sets the size: smaller letters where it is larger than this pane, else it scrolls. */
  #shrink(): void {
    this.#font(FONT_SIZE);
    const room = this.#room();
    if (room === null) return;
    const share = Math.min(1, room.cols / this.#term.cols, room.rows / this.#term.rows);
    this.#font(Math.max(SMALLEST_FONT, Math.floor(FONT_SIZE * share * 2) / 2));
  }

  #font(size: number): void {
    if (this.#term.options.fontSize !== size) this.#term.options.fontSize = size;
  }

  #loadWebgl(): void {
    // Drawn by the processor it is slower than the plain renderer.
    const canvas = document.createElement("canvas");
    const context = canvas.getContext("webgl2", { failIfMajorPerformanceCaveat: true });
    if (context === null) return;
    context.getExtension("WEBGL_lose_context")?.loseContext();
    try {
      const webgl = new WebglAddon();
      webgl.onContextLoss(() => webgl.dispose());
      this.#term.loadAddon(webgl);
    } catch {
      // Drawn by the plain renderer instead.
    }
  }

  /** A program may fill the clipboard while its terminal is in use; it may never read it. */
  #loadClipboard(): void {
    this.#term.loadAddon(
      new ClipboardAddon(undefined, {
        readText: () => "",
        writeText: (_selection, text) => {
          this.#copy(text, "The program copied to the clipboard.");
        },
      }),
    );
    this.#term.parser.registerOscHandler(52, (data) => data.endsWith(";?") || !this.#role.drives || !this.#focused);
  }

  get #focused(): boolean {
    return document.activeElement === this.#term.textarea;
  }

  /** What programs ask is answered by one terminal, the driver's; a second answer would be typed. */
  #silenceQueries(): void {
    const { parser } = this.#term;
    const silent = (): boolean => !this.#role.drives;
    parser.registerCsiHandler({ final: "c" }, silent);
    parser.registerCsiHandler({ prefix: ">", final: "c" }, silent);
    parser.registerCsiHandler({ final: "n" }, silent);
    parser.registerCsiHandler({ prefix: "?", final: "n" }, silent);
    parser.registerCsiHandler({ intermediates: "$", final: "p" }, silent);
    parser.registerCsiHandler({ prefix: "?", intermediates: "$", final: "p" }, silent);
    parser.registerDcsHandler({ intermediates: "$", final: "q" }, silent);
    for (const colour of [4, 10, 11, 12]) {
      parser.registerOscHandler(colour, (data) => silent() && data.includes("?"));
    }
  }

  #link(address: string): void {
    if (/^https?:\/\//i.test(address)) this.outside.link(address);
  }

  /** `false` keeps a key from the shell. Everything but these few goes to it. */
  #key(event: KeyboardEvent): boolean {
    if (!event.ctrlKey || !event.shiftKey || event.altKey || event.metaKey) return true;
    const down = event.type === "keydown";
    switch (event.code) {
      case "KeyC":
        if (down && this.#term.hasSelection()) this.#copy(this.#term.getSelection(), null);
        break;
      case "KeyF":
        if (down) this.outside.find();
        break;
      case "Escape":
        if (down) this.outside.leave();
        break;
      case "KeyV":
        // The browser's own paste follows, which needs no permission.
        return false;
      default:
        return true;
    }
    event.preventDefault();
    return false;
  }

  #copy(text: string, told: string | null): void {
    const copied = navigator.clipboard?.writeText(text) ?? Promise.reject(new Error("no clipboard"));
    copied.then(
      () => {
        if (told !== null) this.outside.notice(told);
      },
      () => this.outside.notice("The browser did not allow copying. Plain http works only on this machine's own address."),
    );
  }

  /** Without control characters: a pasted end of "bracketed paste" would be a typed line. */
  #paste(event: ClipboardEvent): void {
    const text = event.clipboardData?.getData("text/plain") ?? "";
    event.preventDefault();
    event.stopPropagation();
    // eslint-disable-next-line no-control-regex
    this.#term.paste(text.replace(/[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x9f]/g, ""));
  }
}

/** The value of a token of the stylesheet. */
function token(host: HTMLElement, name: string): string {
  return getComputedStyle(host).getPropertyValue(name).trim();
}

/** A token's colour as the page shows it, whatever the theme. */
function colour(probe: HTMLElement, name: string): string {
  probe.style.color = `var(${name})`;
  return getComputedStyle(probe).color;
}

function themeOf(host: HTMLElement): ITheme {
  const probe = document.createElement("span");
  host.append(probe);
  const of = (name: string): string => colour(probe, name);
  const ansi = (number: number): string => of(`--ansi-${number}`);
  const theme = {
    background: of("--term"),
    foreground: of("--term-ink"),
    cursor: of("--term-ink"),
    cursorAccent: of("--term"),
    selectionBackground: of("--term-selection"),
    black: ansi(0),
    red: ansi(1),
    green: ansi(2),
    yellow: ansi(3),
    blue: ansi(4),
    magenta: ansi(5),
    cyan: ansi(6),
    white: ansi(7),
    brightBlack: ansi(8),
    brightRed: ansi(9),
    brightGreen: ansi(10),
    brightYellow: ansi(11),
    brightBlue: ansi(12),
    brightMagenta: ansi(13),
    brightCyan: ansi(14),
    brightWhite: ansi(15),
  };
  probe.remove();
  return theme;
}

/** Waits until the terminal's font can be measured. */
async function fontOf(host: HTMLElement): Promise<void> {
  const loaded = document.fonts.load(`${FONT_SIZE}px ${token(host, "--mono")}`).catch(() => undefined);
  await Promise.race([loaded, new Promise((resolve) => setTimeout(resolve, FONT_DEADLINE))]);
}
