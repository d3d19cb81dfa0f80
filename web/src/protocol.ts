// `porthole.v1`: the frames between a browser's terminal and the server.
//
// Each is one binary WebSocket message: a tag byte, then fields, integers big-endian. The Rust side
// is server/protocol/src/frame.rs; tests/vectors/frames.json holds frames that both read and write.
// No I/O here, and nothing of the page.
//
// Places in a session (`seq`) are plain numbers: 2^53 bytes of output are more than a session has.

/** The WebSocket subprotocol's name. */
export const SUBPROTOCOL = "porthole.v1";

/** The longest frame from a client in bytes. */
export const CLIENT_FRAME_LIMIT = 64 * 1024;

/** The most output that the server sends beyond what a viewer has acknowledged, in bytes. */
export const OUTPUT_WINDOW = 256 * 1024;

/** The most input that a client keeps unaccepted, in bytes. */
export const INPUT_WINDOW = 64 * 1024;

/** A terminal has between 1 and this many columns, and rows. */
export const SIZE_LIMIT = 1000;

/** What the server says of a viewer. */
export interface Flags {
  readonly write: boolean;
  readonly drives: boolean;
  readonly recorded: boolean;
  readonly tty: boolean;
}

/** Which of a session's streams output came from. */
export type Stream = "tty" | "stdout" | "stderr";

/** How a process ended. */
export type ExitKind = "exited" | "signal" | "ended" | "lost";

export type ClientFrame =
  | { readonly type: "input"; readonly seq: number; readonly bytes: Uint8Array }
  | { readonly type: "resize"; readonly cols: number; readonly rows: number }
  | { readonly type: "acknowledge"; readonly seq: number }
  | { readonly type: "drive"; readonly take: boolean }
  | { readonly type: "end_of_input" }
  | { readonly type: "heartbeat"; readonly value: number };

export type ServerFrame =
  | {
      readonly type: "hello";
      readonly seq: number;
      readonly cols: number;
      readonly rows: number;
      readonly flags: Flags;
      readonly accepted: number;
      readonly viewer: string;
    }
  | { readonly type: "output"; readonly seq: number; readonly stream: Stream; readonly bytes: Uint8Array }
  | {
      readonly type: "snapshot";
      readonly seq: number;
      readonly cols: number;
      readonly rows: number;
      readonly bytes: Uint8Array;
    }
  | { readonly type: "size"; readonly cols: number; readonly rows: number }
  | { readonly type: "exit"; readonly code: number; readonly kind: ExitKind; readonly reason: string }
  | { readonly type: "viewers"; readonly json: string }
  | { readonly type: "accepted"; readonly accepted: number }
  | { readonly type: "notice"; readonly code: number; readonly text: string }
  | { readonly type: "heartbeat"; readonly value: number };

/** In the order of their numbers. */
export const STREAMS: readonly Stream[] = ["tty", "stdout", "stderr"];

/** In the order of their numbers. */
export const EXIT_KINDS: readonly ExitKind[] = ["exited", "signal", "ended", "lost"];

/** Why bytes are no frame. */
export class FrameError extends Error {
  override readonly name = "FrameError";
}

/** Reads fields one after the other; every read beyond the end is a {@link FrameError}. */
export class Fields {
  readonly #view: DataView;
  #at = 1;

  constructor(private readonly bytes: Uint8Array) {
    if (bytes.length === 0) throw new FrameError("an empty message is no frame");
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get tag(): number {
    return this.#view.getUint8(0);
  }

  u8(): number {
    return this.#view.getUint8(this.#take(1));
  }

  u16(): number {
    return this.#view.getUint16(this.#take(2));
  }

  i32(): number {
    return this.#view.getInt32(this.#take(4));
  }

  u64(): number {
    const value = this.#view.getBigUint64(this.#take(8));
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw this.impossible();
    return Number(value);
  }

  size(): { cols: number; rows: number } {
    const cols = this.u16();
    const rows = this.u16();
    if (cols < 1 || cols > SIZE_LIMIT || rows < 1 || rows > SIZE_LIMIT) throw this.impossible();
    return { cols, rows };
  }

  rest(): Uint8Array {
    const rest = this.bytes.subarray(this.#at);
    this.#at = this.bytes.length;
    return rest;
  }

  text(): string {
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(this.rest());
    } catch {
      throw this.impossible();
    }
  }

  end(): void {
    if (this.#at !== this.bytes.length) throw this.#length();
  }

  impossible(): FrameError {
    return new FrameError(`a frame with the tag ${hex(this.tag)} has a field with an impossible value`);
  }

  #take(count: number): number {
    const at = this.#at;
    if (at + count > this.bytes.length) throw this.#length();
    this.#at = at + count;
    return at;
  }

  #length(): FrameError {
    return new FrameError(`a frame with the tag ${hex(this.tag)} has another length`);
  }
}

/** The frame that the server's bytes are; `null` for a tag that this page does not know yet. */
export function decodeServerFrame(bytes: Uint8Array): ServerFrame | null {
  const fields = new Fields(bytes);
  switch (fields.tag) {
    case 0x80: {
      const seq = fields.u64();
      const size = fields.size();
      const bits = fields.u8();
      const flags = {
        write: (bits & 1) !== 0,
        drives: (bits & 2) !== 0,
        recorded: (bits & 4) !== 0,
        tty: (bits & 8) !== 0,
      };
      return { type: "hello", seq, ...size, flags, accepted: fields.u64(), viewer: fields.text() };
    }
    case 0x81: {
      const seq = fields.u64();
      const stream = STREAMS[fields.u8()];
      if (stream === undefined) throw fields.impossible();
      return { type: "output", seq, stream, bytes: fields.rest() };
    }
    case 0x82:
      return { type: "snapshot", seq: fields.u64(), ...fields.size(), bytes: fields.rest() };
    case 0x83:
      return ended(fields, { type: "size", ...fields.size() });
    case 0x84: {
      const code = fields.i32();
      const kind = EXIT_KINDS[fields.u8()];
      if (kind === undefined) throw fields.impossible();
      return { type: "exit", code, kind, reason: fields.text() };
    }
    case 0x85:
      return { type: "viewers", json: fields.text() };
    case 0x86:
      return ended(fields, { type: "accepted", accepted: fields.u64() });
    case 0x87:
      return { type: "notice", code: fields.u16(), text: fields.text() };
    case 0x88:
      return ended(fields, { type: "heartbeat", value: fields.u64() });
    default:
      return null;
  }
}

/** The bytes of a frame to the server. */
export function encodeClientFrame(frame: ClientFrame): Uint8Array<ArrayBuffer> {
  switch (frame.type) {
    case "input": {
      const bytes = new Uint8Array(9 + frame.bytes.length);
      put64(bytes, 0x01, frame.seq);
      bytes.set(frame.bytes, 9);
      return bytes;
    }
    case "resize": {
      const bytes = new Uint8Array(5);
      bytes[0] = 0x02;
      const view = new DataView(bytes.buffer);
      view.setUint16(1, frame.cols);
      view.setUint16(3, frame.rows);
      return bytes;
    }
    case "acknowledge":
      return put64(new Uint8Array(9), 0x03, frame.seq);
    case "drive":
      return Uint8Array.of(0x04, frame.take ? 1 : 0);
    case "end_of_input":
      return Uint8Array.of(0x05);
    case "heartbeat":
      return put64(new Uint8Array(9), 0x06, frame.value);
  }
}

function put64(bytes: Uint8Array<ArrayBuffer>, tag: number, value: number): Uint8Array<ArrayBuffer> {
  bytes[0] = tag;
  new DataView(bytes.buffer).setBigUint64(1, BigInt(value));
  return bytes;
}

function ended<T>(fields: Fields, frame: T): T {
  fields.end();
  return frame;
}

function hex(tag: number): string {
  return `0x${tag.toString(16).padStart(2, "0")}`;
}
