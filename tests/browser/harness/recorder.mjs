// What came to a page over its terminal's sockets: the last session's output by place, and what a test
// wants to know of it.

import { read, readClient } from "./frames.mjs";

export class Recorder {
  /** Output by place: [seq, bytes]. A place that came twice must have come with the same bytes. */
  pieces = [];
  snapshots = [];
  gaps = [];
  sockets = 0;
  closed = 0;
  typed = "";
  #session = "";
  #end = 0;
  #text = "";
  #decoder = new TextDecoder();

  constructor(page) {
    page.on("websocket", (socket) => {
      if (!socket.url().includes("/attach")) return;
      this.sockets += 1;
      const session = new URL(socket.url()).pathname;
      if (session !== this.#session) {
        this.#session = session;
        this.#end = 0;
        this.forget();
      }
      socket.on("framereceived", ({ payload }) => this.#take(read(payload)));
      socket.on("framesent", ({ payload }) => {
        const frame = readClient(payload);
        if (frame.type === "input") this.typed += frame.text;
      });
      socket.on("close", () => {
        this.closed += 1;
      });
    });
  }

  #take(frame) {
    if (frame.type === "snapshot") {
      this.snapshots.push({ seq: frame.seq, from: this.#end });
      this.#end = frame.seq;
      this.#text += this.#decoder.decode(frame.bytes, { stream: true });
    } else if (frame.type === "output") {
      this.pieces.push([frame.seq, frame.bytes]);
      if (frame.seq > this.#end) this.gaps.push(`${frame.seq} after ${this.#end}`);
      const fresh = frame.bytes.subarray(Math.max(0, this.#end - frame.seq));
      this.#text += this.#decoder.decode(fresh, { stream: true });
      this.#end = Math.max(this.#end, frame.seq + frame.bytes.length);
    }
  }

  /** Everything that was shown, in order, snapshots among it. */
  get text() {
    return this.#text;
  }

  /** The place after the last byte. */
  get end() {
    return this.#end;
  }

  /** Throws where a byte that came differs from the journal, or one did not come at all. */
  compareWith(journal) {
    if (this.gaps.length > 0) throw new Error(`gaps in the output: ${this.gaps.join(", ")}`);
    for (const [seq, bytes] of this.pieces) {
      if (!journal.subarray(seq, seq + bytes.length).equals(bytes)) {
        throw new Error(`what came at ${seq} (${bytes.length} bytes) is not what the journal has there`);
      }
    }
  }

  /** Forgets what came, so that the next look finds only what comes now. */
  forget() {
    this.#text = "";
    this.pieces = [];
    this.snapshots = [];
  }
}
