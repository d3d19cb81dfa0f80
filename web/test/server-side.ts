// The server's half of `porthole.v1`, for the tests' server.

import {
  type ClientFrame,
  EXIT_KINDS,
  Fields,
  FrameError,
  type ServerFrame,
  STREAMS,
} from "../src/protocol.ts";

/** The frame that a client's bytes are. */
export function decodeClientFrame(bytes: Uint8Array): ClientFrame {
  const fields = new Fields(bytes);
  const end = <T>(frame: T): T => {
    fields.end();
    return frame;
  };
  switch (fields.tag) {
    case 0x01:
      return { type: "input", seq: fields.u64(), bytes: fields.rest() };
    case 0x02:
      return end({ type: "resize", cols: fields.u16(), rows: fields.u16() });
    case 0x03:
      return end({ type: "acknowledge", seq: fields.u64() });
    case 0x04: {
      const take = fields.u8();
      if (take > 1) throw fields.impossible();
      return end({ type: "drive", take: take === 1 });
    }
    case 0x05:
      return end({ type: "end_of_input" });
    case 0x06:
      return end({ type: "heartbeat", value: fields.u64() });
    default:
      throw new FrameError("unknown tag");
  }
}

/** The bytes of a frame to a client. */
export function encodeServerFrame(frame: ServerFrame): Uint8Array<ArrayBuffer> {
  switch (frame.type) {
    case "hello": {
      const { write, drives, recorded, tty } = frame.flags;
      const bits = Number(write) | (Number(drives) << 1) | (Number(recorded) << 2) | (Number(tty) << 3);
      return Uint8Array.of(
        0x80,
        ...u64(frame.seq),
        ...u16(frame.cols),
        ...u16(frame.rows),
        bits,
        ...u64(frame.accepted),
        ...utf8(frame.viewer),
      );
    }
    case "output":
      return Uint8Array.of(0x81, ...u64(frame.seq), STREAMS.indexOf(frame.stream), ...frame.bytes);
    case "snapshot":
      return Uint8Array.of(0x82, ...u64(frame.seq), ...u16(frame.cols), ...u16(frame.rows), ...frame.bytes);
    case "size":
      return Uint8Array.of(0x83, ...u16(frame.cols), ...u16(frame.rows));
    case "exit":
      return Uint8Array.of(0x84, ...i32(frame.code), EXIT_KINDS.indexOf(frame.kind), ...utf8(frame.reason));
    case "viewers":
      return Uint8Array.of(0x85, ...utf8(frame.json));
    case "accepted":
      return Uint8Array.of(0x86, ...u64(frame.accepted));
    case "notice":
      return Uint8Array.of(0x87, ...u16(frame.code), ...utf8(frame.text));
    case "heartbeat":
      return Uint8Array.of(0x88, ...u64(frame.value));
  }
}

function u16(value: number): number[] {
  return [value >> 8, value & 0xff];
}

function i32(value: number): number[] {
  return [value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff];
}

function u64(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value));
  return bytes;
}

function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
