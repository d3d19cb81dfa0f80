// One viewer's connection to one session, over as many WebSockets as it takes.
//
//   connecting ─► live ◄─► reconnecting        (dropped, silent, or the server was restarted)
//       │          │            │
//       └──────────┴────────────┴─► ended      (the session's process is gone)
//                               └─► refused    (no right, no such session, signed out: 4000 + HTTP status)
//
// Output is numbered, so a new socket asks for what is missing and nothing comes twice; input has
// numbers and credit of its own (input.ts). Nothing here touches the page: socket, clock and chance
// are passed in, so that tests neither wait nor listen.

import { InputQueue } from "./input.ts";
import {
  type ClientFrame,
  decodeServerFrame,
  encodeClientFrame,
  type ExitKind,
  type Flags,
  OUTPUT_WINDOW,
  type ServerFrame,
  SIZE_LIMIT,
  type Stream,
  SUBPROTOCOL,
} from "./protocol.ts";

/** A heartbeat goes out this often, in milliseconds. */
export const HEARTBEAT_EVERY = 10_000;
/** A heartbeat without any frame after it for so long means that the connection is dead. */
export const HEARTBEAT_DEADLINE = 8_000;
/** The same where there is reason to doubt: the network or the tab came back. */
export const DOUBT_DEADLINE = 2_500;
/** From opening a socket to its first frame. */
export const CONNECT_DEADLINE = 10_000;
/** Waits between attempts double from the first to the second, each shortened by up to a half. */
export const BACKOFF_FIRST = 200;
export const BACKOFF_LAST = 10_000;
/** A connection that stood so long is a good one: waits begin anew after it. */
const STEADY_AFTER = 5_000;
/** Acknowledge at once after so many bytes, else after so many milliseconds. */
const ACKNOWLEDGE_BYTES = OUTPUT_WINDOW / 8;
const ACKNOWLEDGE_AFTER = 50;
/** The server takes 20 resizes a second; the last one always goes out. */
const RESIZE_EVERY = 60;
/** A hidden tab, where the browser slows timers, lets go of its socket when so much waits in it. */
const HIDDEN_BACKLOG = OUTPUT_WINDOW / 2;

export type State =
  | { readonly kind: "connecting" }
  | { readonly kind: "live" }
  | { readonly kind: "reconnecting"; readonly seconds: number }
  | { readonly kind: "ended"; readonly code: number; readonly how: ExitKind; readonly reason: string }
  | { readonly kind: "refused"; readonly code: number; readonly text: string };

/** Someone who is attached to the session. */
export interface Viewer {
  readonly user: string;
  readonly mode: string;
  /** Its window sets the size. */
  readonly drives: boolean;
}

/** What the terminal is told, in the order of the session's bytes. */
export interface Listener {
  state(state: State): void;
  hello(flags: Flags, cols: number, rows: number): void;
  /** `end` is the place after these bytes: what `parsed` is told once they are. */
  output(bytes: Uint8Array, stream: Stream, end: number): void;
  snapshot(bytes: Uint8Array, cols: number, rows: number, end: number): void;
  size(cols: number, rows: number): void;
  viewers(viewers: readonly Viewer[]): void;
  notice(text: string): void;
}

/** The part of a WebSocket that is used. */
export interface Socket {
  binaryType: string;
  onopen: (() => void) | null;
  onmessage: ((event: { readonly data: unknown }) => void) | null;
  onclose: ((event: { readonly code: number; readonly reason: string }) => void) | null;
  send(bytes: Uint8Array<ArrayBuffer>): void;
  close(): void;
}

export interface Clock {
  /** Milliseconds that only grow. */
  now(): number;
  /** Runs it once after so many milliseconds; the answer cancels. */
  after(milliseconds: number, run: () => void): () => void;
}

export interface Surroundings {
  readonly clock: Clock;
  /** Between 0 and 1. */
  random(): number;
  open(address: string, subprotocol: string): Socket;
  /** The HTTP status of the session where a socket was refused without a word; `null`: no answer. */
  probe(): Promise<number | null>;
  /** Where this tab's viewer id lies between two loads of the page. */
  readonly viewer: { get(): string | null; set(id: string): void };
}

export class Connection {
  readonly #input = new InputQueue();
  #socket: Socket | null = null;
  #opened = false;
  #greeted = false;
  #state: State = { kind: "connecting" };
  #flags: Flags | null = null;
  #viewer: string | null;
  #attempts = 0;
  /** The place of the next byte of output; `null` before the first hello, or to ask for a snapshot. */
  #received: number | null = null;
  #parsed = 0;
  #acknowledged = 0;
  #heard = 0;
  #beats = 0;
  #notice = "";
  #size: { cols: number; rows: number } | null = null;
  #sizedAt = -Infinity;
  #visible = true;
  #resting = false;
  #disposed = false;
  readonly #timers = new Map<string, () => void>();

  /** `address` is the attach route without a query, `ws://…/api/v1/sessions/{id}/attach`. */
  constructor(
    private readonly address: string,
    private readonly mode: "write" | "watch",
    private readonly listener: Listener,
    private readonly around: Surroundings,
  ) {
    this.#viewer = around.viewer.get();
  }

  get state(): State {
    return this.#state;
  }

  /** The place of the next byte of output. */
  get received(): number {
    return this.#received ?? 0;
  }

  /** Bytes of input that the server has not accepted. */
  get waiting(): number {
    return this.#input.waiting;
  }

  start(): void {
    this.#set({ kind: "connecting" });
    this.#connect();
  }

  /** Types these bytes; `false` where they cannot be taken, and then none is. */
  type(bytes: Uint8Array): boolean {
    if (this.#final || this.#flags?.write === false) return false;
    if (!this.#input.push(bytes)) return false;
    this.#flush();
    return true;
  }

  /** The end of input, for sessions without a terminal. */
  endInput(): void {
    this.#send({ type: "end_of_input" });
  }

  /** The window has this size. Told to the server where this viewer drives, now and whenever it does. */
  resize(cols: number, rows: number): void {
    const bounded = (n: number): number => Math.max(1, Math.min(SIZE_LIMIT, Math.floor(n)));
    this.#size = { cols: bounded(cols), rows: bounded(rows) };
    if (!this.#timers.has("resize")) this.#sendSize();
  }

  /** Takes over or gives up that this window sets the size. */
  drive(take: boolean): void {
    this.#send({ type: "drive", take });
  }

  /** All output before this place was parsed. */
  parsed(place: number): void {
    this.#parsed = Math.max(this.#parsed, place);
    if (this.#parsed - this.#acknowledged >= ACKNOWLEDGE_BYTES) this.#acknowledge();
    else if (this.#parsed > this.#acknowledged) this.#after("acknowledge", ACKNOWLEDGE_AFTER, () => this.#acknowledge());
  }

  /** Whether the page is on screen. */
  visible(visible: boolean): void {
    this.#visible = visible;
    if (visible) this.wake();
  }

  /** The network or the tab came back: connect at once, or find out at once whether this one is dead. */
  wake(): void {
    if (this.#disposed || this.#final) return;
    if (this.#resting || this.#timers.has("retry")) {
      this.#resting = false;
      this.#connect();
    } else if (this.#state.kind === "live") {
      this.#beat(DOUBT_DEADLINE);
    }
  }

  dispose(): void {
    this.#disposed = true;
    this.#drop();
  }

  get #final(): boolean {
    return this.#state.kind === "ended" || this.#state.kind === "refused";
  }

  #set(state: State): void {
    this.#state = state;
    this.listener.state(state);
  }

  #after(name: string, milliseconds: number, run: () => void): void {
    if (this.#timers.has(name)) return;
    this.#timers.set(
      name,
      this.around.clock.after(milliseconds, () => {
        this.#timers.delete(name);
        run();
      }),
    );
  }

  #cancel(...names: string[]): void {
    for (const name of names) {
      this.#timers.get(name)?.();
      this.#timers.delete(name);
    }
  }

  #connect(): void {
    this.#drop();
    if (this.#state.kind === "reconnecting") this.#set({ kind: "reconnecting", seconds: 0 });
    const query = new URLSearchParams({ mode: this.mode });
    if (this.#received !== null) query.set("resume", String(this.#received));
    if (this.#viewer !== null) query.set("viewer", this.#viewer);
    const socket = this.around.open(`${this.address}?${query}`, SUBPROTOCOL);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.#opened = true;
    };
    socket.onmessage = ({ data }) => {
      if (data instanceof ArrayBuffer) this.#message(new Uint8Array(data));
    };
    socket.onclose = ({ code, reason }) => this.#closed(code, reason);
    this.#socket = socket;
    this.#opened = this.#greeted = false;
    this.#notice = "";
    this.#after("connect", CONNECT_DEADLINE, () => this.#retry());
  }

  /** Lets go of the socket without a word to anybody. */
  #drop(): void {
    this.#cancel(...this.#timers.keys());
    const socket = this.#socket;
    this.#socket = null;
    if (socket === null) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  #closed(code: number, reason: string): void {
    const opened = this.#opened;
    this.#drop();
    if (this.#final) return;
    if (refuses(code)) {
      this.#set({ kind: "refused", code, text: this.#notice || reason || inWords(code) });
    } else if (opened) {
      this.#retry();
    } else {
      this.#ask();
    }
  }

  /** A socket that never opened says nothing about why; the session's own address does. */
  #ask(): void {
    this.#retry();
    void this.around.probe().then((status) => {
      const code = 4000 + (status ?? 0);
      if (this.#disposed || this.#final || this.#state.kind === "live" || !refuses(code)) return;
      this.#drop();
      this.#set({ kind: "refused", code, text: inWords(code) });
    });
  }

  #retry(): void {
    this.#drop();
    const full = Math.min(BACKOFF_LAST, BACKOFF_FIRST * 2 ** this.#attempts);
    this.#attempts += 1;
    const wait = full * (0.5 + this.around.random() / 2);
    const until = this.around.clock.now() + wait;
    const count = (): void => {
      const seconds = Math.ceil((until - this.around.clock.now()) / 1000);
      this.#set({ kind: "reconnecting", seconds: Math.max(0, seconds) });
      if (seconds > 1) this.#after("count", 1000, count);
    };
    this.#after("retry", wait, () => this.#connect());
    count();
  }

  #message(bytes: Uint8Array): void {
    this.#heard = this.around.clock.now();
    let frame: ServerFrame | null;
    try {
      frame = decodeServerFrame(bytes);
    } catch (error) {
      this.#distrust(`The server sent what is no frame (${String(error)}).`);
      return;
    }
    if (frame !== null) this.#take(frame);
  }

  #take(frame: ServerFrame): void {
    switch (frame.type) {
      case "hello":
        return this.#hello(frame);
      case "output":
        return this.#output(frame);
      case "snapshot":
        this.#received = frame.seq;
        // Nothing of it is parsed yet, and it is acknowledged even where it is empty.
        this.#parsed = this.#acknowledged = frame.seq - 1;
        return this.listener.snapshot(frame.bytes, frame.cols, frame.rows, frame.seq);
      case "size":
        return this.listener.size(frame.cols, frame.rows);
      case "exit":
        this.#input.clear();
        this.#drop();
        return this.#set({ kind: "ended", code: frame.code, how: frame.kind, reason: frame.reason });
      case "viewers":
        return this.listener.viewers(viewersOf(frame.json));
      case "accepted":
        this.#input.accepted(frame.accepted);
        return this.#flush();
      case "notice":
        this.#notice = frame.text;
        return this.listener.notice(frame.text);
      case "heartbeat":
        return;
    }
  }

  #hello(hello: ServerFrame & { type: "hello" }): void {
    this.#flags = hello.flags;
    if (!this.#greeted) {
      this.#greeted = true;
      if (this.#received === null) this.#received = this.#parsed = hello.seq;
      this.#acknowledged = Math.max(this.#parsed, Math.min(hello.seq, this.#received));
      const lost = this.#input.resume(hello.accepted, hello.viewer === this.#viewer);
      this.#viewer = hello.viewer;
      this.around.viewer.set(hello.viewer);
      this.#cancel("connect", "count");
      this.#after("steady", STEADY_AFTER, () => {
        this.#attempts = 0;
      });
      this.#pulse();
      this.#set({ kind: "live" });
      if (lost > 0) this.listener.notice(`The server was restarted while you typed: the last ${lost} bytes may not have arrived.`);
    }
    this.listener.hello(hello.flags, hello.cols, hello.rows);
    this.#sizedAt = -Infinity;
    this.#sendSize();
    this.#flush();
  }

  #output(frame: ServerFrame & { type: "output" }): void {
    const received = this.#received ?? 0;
    const known = received - frame.seq;
    if (known < 0) {
      this.#received = null;
      this.#distrust("Some output did not arrive; the screen is drawn anew.");
      return;
    }
    if (known >= frame.bytes.length) return;
    const end = frame.seq + frame.bytes.length;
    this.#received = end;
    this.listener.output(frame.bytes.subarray(known), frame.stream, end);
    if (!this.#visible && end - this.#parsed > HIDDEN_BACKLOG) this.#rest();
  }

  /** What came contradicts the protocol: a new connection, and a person who knows. */
  #distrust(text: string): void {
    this.listener.notice(text);
    this.#retry();
  }

  #rest(): void {
    this.#drop();
    this.#resting = true;
    this.#set({ kind: "reconnecting", seconds: 0 });
  }

  #pulse(): void {
    this.#after("beat", HEARTBEAT_EVERY, () => {
      this.#pulse();
      this.#beat(HEARTBEAT_DEADLINE);
    });
  }

  #beat(deadline: number): void {
    const sent = this.around.clock.now();
    this.#send({ type: "heartbeat", value: ++this.#beats });
    this.#cancel("deadline");
    this.#after("deadline", deadline, () => {
      if (this.#heard < sent) this.#retry();
    });
  }

  #acknowledge(): void {
    this.#cancel("acknowledge");
    if (this.#state.kind !== "live" || this.#parsed <= this.#acknowledged) return;
    this.#acknowledged = this.#parsed;
    this.#send({ type: "acknowledge", seq: this.#parsed });
  }

  #sendSize(): void {
    if (this.#size === null || this.#flags?.drives !== true || this.#state.kind !== "live") return;
    const now = this.around.clock.now();
    const early = this.#sizedAt + RESIZE_EVERY - now;
    if (early > 0) return this.#after("resize", early, () => this.#sendSize());
    this.#sizedAt = now;
    this.#send({ type: "resize", ...this.#size });
  }

  #flush(): void {
    if (this.#state.kind !== "live" || this.#flags?.write !== true) return;
    for (let piece = this.#input.next(); piece !== null; piece = this.#input.next()) {
      this.#send({ type: "input", ...piece });
    }
  }

  #send(frame: ClientFrame): void {
    if (this.#state.kind === "live") this.#socket?.send(encodeClientFrame(frame));
  }
}

/** Whether a close code (4000 + HTTP status) says that trying again is of no use. */
function refuses(code: number): boolean {
  return code > 4399 && code < 4500 && code !== 4408 && code !== 4425 && code !== 4429;
}

function inWords(code: number): string {
  switch (code) {
    case 4401:
      return "You are signed out. Sign in again to go on: the session is still there.";
    case 4403:
      return "Your account may not use this session. Its owner or an administrator may.";
    case 4404:
      return "There is no such session any more. Open a new one.";
    case 4409:
      return "This terminal was opened again somewhere else, which took its place.";
    default:
      return `The server refused the connection (${code - 4000}).`;
  }
}

function viewersOf(json: string): Viewer[] {
  try {
    const list: unknown = JSON.parse(json);
    if (!Array.isArray(list)) return [];
    return list.map((one: { user?: unknown; mode?: unknown; drives?: unknown }) => ({
      user: String(one?.user ?? ""),
      mode: String(one?.mode ?? ""),
      drives: one?.drives === true,
    }));
  } catch {
    return [];
  }
}
