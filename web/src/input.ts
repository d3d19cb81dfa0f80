// What was typed and pasted, until the server has accepted it.
//
// The bytes of one viewer are numbered from 0. They lie in one queue with three marks:
//
//   base ............ sent ............ end
//    │ on their way    │ waiting         │
//    └ accepted by     └ next to send    └ where typing goes on
//      the server
//
// At most INPUT_WINDOW bytes are on their way; what waits beyond that is bounded by QUEUE_LIMIT.
// After a reconnect sending goes on from what the server has accepted. Pure: no socket, no clock.

import { CLIENT_FRAME_LIMIT, INPUT_WINDOW } from "./protocol.ts";

/** The most bytes that wait, those on their way included. A longer paste is refused, and told. */
export const QUEUE_LIMIT = 8 * 1024 * 1024;

/** The most bytes of one frame: small, so that a resize is not behind a whole window of paste. */
const PIECE = 8 * 1024;

if (PIECE > INPUT_WINDOW || PIECE + 9 > CLIENT_FRAME_LIMIT) throw new Error("a piece of input exceeds its frame");

export interface Piece {
  readonly seq: number;
  readonly bytes: Uint8Array;
}

export class InputQueue {
  /** What is not accepted yet, in order; the first `#skip` bytes of the first chunk are accepted. */
  #chunks: Uint8Array[] = [];
  #skip = 0;
  #base = 0;
  #sent = 0;
  #end = 0;

  /** Bytes that the server has not accepted. */
  get waiting(): number {
    return this.#end - this.#base;
  }

  /** Adds these bytes, or none of them where there is no room. */
  push(bytes: Uint8Array): boolean {
    if (this.waiting + bytes.length > QUEUE_LIMIT) return false;
    if (bytes.length > 0) {
      this.#chunks.push(bytes);
      this.#end += bytes.length;
    }
    return true;
  }

  /** The next piece to send now, or `null` while there is no credit or nothing waits. */
  next(): Piece | null {
    const credit = this.#base + INPUT_WINDOW - this.#sent;
    const length = Math.min(this.#end - this.#sent, credit, PIECE);
    if (length <= 0) return null;
    const piece = { seq: this.#sent, bytes: this.#copy(this.#sent, length) };
    this.#sent += length;
    return piece;
  }

  /** The server has accepted everything before this place. */
  accepted(place: number): void {
    if (place <= this.#base || place > this.#sent) return;
    this.#drop(place - this.#base);
    this.#base = place;
  }

  /**
   * A connection stands, and the server says how far it has accepted. Where it knows this viewer,
   * what it does not have is sent again. Where it cannot (it was started anew, or is another
   * server's count), what was on its way may or may not have arrived: sending it twice could run a
   * command twice, so it is dropped, and the number of such bytes is the answer.
   */
  resume(accepted: number, known: boolean): number {
    if (known && accepted >= this.#base && accepted <= this.#sent) {
      this.accepted(accepted);
      this.#sent = accepted;
      return 0;
    }
    const lost = this.#sent - this.#base;
    this.#drop(lost);
    const rest = this.#end - this.#sent;
    this.#base = accepted;
    this.#sent = accepted;
    this.#end = accepted + rest;
    return lost;
  }

  /** Forgets everything that waits. */
  clear(): void {
    this.#chunks = [];
    this.#skip = 0;
    this.#base = this.#sent = this.#end;
  }

  #drop(count: number): void {
    let left = count + this.#skip;
    let whole = 0;
    for (const chunk of this.#chunks) {
      if (chunk.length > left) break;
      left -= chunk.length;
      whole += 1;
    }
    this.#chunks.splice(0, whole);
    this.#skip = left;
  }

  #copy(place: number, length: number): Uint8Array {
    const out = new Uint8Array(length);
    let start = this.#base - this.#skip;
    let done = 0;
    for (const chunk of this.#chunks) {
      const from = Math.max(0, place + done - start);
      if (from < chunk.length) {
        const part = chunk.subarray(from, from + length - done);
        out.set(part, done);
        done += part.length;
        if (done === length) break;
      }
      start += chunk.length;
    }
    return out;
  }
}
