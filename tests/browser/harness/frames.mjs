// porthole.v1 as a test needs it: read what the server sent, speak as the server where it is played.

const STREAMS = ["tty", "stdout", "stderr"];

/** A frame from the server; other kinds than these are told by their tag alone. */
export function read(message) {
  const bytes = Buffer.from(message);
  const u64 = (at) => Number(bytes.readBigUInt64BE(at));
  switch (bytes[0]) {
    case 0x80:
      return { type: "hello", seq: u64(1), cols: bytes.readUInt16BE(9), rows: bytes.readUInt16BE(11), flags: bytes[13], accepted: u64(14), viewer: bytes.toString("utf8", 22) };
    case 0x81:
      return { type: "output", seq: u64(1), stream: STREAMS[bytes[9]], bytes: bytes.subarray(10) };
    case 0x82:
      return { type: "snapshot", seq: u64(1), cols: bytes.readUInt16BE(9), rows: bytes.readUInt16BE(11), bytes: bytes.subarray(13) };
    case 0x83:
      return { type: "size", cols: bytes.readUInt16BE(1), rows: bytes.readUInt16BE(3) };
    case 0x84:
      return { type: "exit", code: bytes.readInt32BE(1), kind: bytes[5], reason: bytes.toString("utf8", 6) };
    case 0x87:
      return { type: "notice", code: bytes.readUInt16BE(1), text: bytes.toString("utf8", 3) };
    default:
      return { type: bytes[0] };
  }
}

/** A frame from the client. */
export function readClient(message) {
  const bytes = Buffer.from(message);
  switch (bytes[0]) {
    case 0x01:
      return { type: "input", seq: Number(bytes.readBigUInt64BE(1)), text: bytes.toString("utf8", 9) };
    case 0x02:
      return { type: "resize", cols: bytes.readUInt16BE(1), rows: bytes.readUInt16BE(3) };
    case 0x03:
      return { type: "acknowledge", seq: Number(bytes.readBigUInt64BE(1)) };
    default:
      return { type: bytes[0] };
  }
}

const u16 = (value) => [value >> 8, value & 0xff];
const u64 = (value) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
};

export const WRITES = 1;
export const DRIVES = 2;
export const TTY = 8;

export const hello = ({ seq = 0, cols = 80, rows = 24, flags = WRITES | DRIVES | TTY, accepted = 0, viewer = "v1" } = {}) =>
  Buffer.from([0x80, ...u64(seq), ...u16(cols), ...u16(rows), flags, ...u64(accepted), ...Buffer.from(viewer)]);
export const output = (seq, text, stream = 0) => Buffer.concat([Buffer.from([0x81, ...u64(seq), stream]), Buffer.from(text)]);
export const snapshot = (seq, cols, rows, text) => Buffer.concat([Buffer.from([0x82, ...u64(seq), ...u16(cols), ...u16(rows)]), Buffer.from(text)]);
export const size = (cols, rows) => Buffer.from([0x83, ...u16(cols), ...u16(rows)]);
export const exit = (code, kind = 0, reason = "") => Buffer.from([0x84, 0, 0, 0, code, kind, ...Buffer.from(reason)]);
export const viewers = (list) => Buffer.from([0x85, ...Buffer.from(JSON.stringify(list))]);
export const accepted = (place) => Buffer.from([0x86, ...u64(place)]);
export const notice = (code, text) => Buffer.from([0x87, ...u16(code), ...Buffer.from(text)]);
