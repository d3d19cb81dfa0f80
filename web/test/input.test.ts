import assert from "node:assert/strict";
import test from "node:test";

import { InputQueue, QUEUE_LIMIT } from "../src/input.ts";
import { INPUT_WINDOW } from "../src/protocol.ts";

const text = (words: string): Uint8Array => new TextEncoder().encode(words);

/** Numbers that are the same in every run. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** A server's side: takes pieces in order, refuses gaps, ignores what it has. */
class Receiver {
  bytes: number[] = [];

  take(seq: number, bytes: Uint8Array): void {
    assert.ok(seq <= this.bytes.length, `a gap: ${seq} after ${this.bytes.length}`);
    for (const byte of bytes.subarray(this.bytes.length - seq)) this.bytes.push(byte);
  }
}

test("what is pushed comes out in order and numbered", () => {
  const queue = new InputQueue();
  assert.equal(queue.push(text("ls")), true);
  assert.equal(queue.push(text("\r")), true);
  assert.deepEqual(queue.next(), { seq: 0, bytes: text("ls\r") });
  assert.equal(queue.next(), null);
  queue.push(text("x"));
  assert.deepEqual(queue.next(), { seq: 3, bytes: text("x") });
});

test("no more than the window is on its way", () => {
  const queue = new InputQueue();
  queue.push(new Uint8Array(INPUT_WINDOW * 2));
  let sent = 0;
  for (let piece = queue.next(); piece !== null; piece = queue.next()) sent += piece.bytes.length;
  assert.equal(sent, INPUT_WINDOW);
  queue.accepted(100);
  assert.deepEqual(queue.next()?.bytes.length, 100);
  assert.equal(queue.next(), null);
});

test("a paste beyond the bound is refused whole", () => {
  const queue = new InputQueue();
  assert.equal(queue.push(new Uint8Array(QUEUE_LIMIT)), true);
  assert.equal(queue.push(text("x")), false);
  assert.equal(queue.waiting, QUEUE_LIMIT);
  queue.next();
  queue.accepted(1);
  assert.equal(queue.push(text("x")), true);
});

test("an acceptance of what was never sent is ignored", () => {
  const queue = new InputQueue();
  queue.push(text("abc"));
  queue.next();
  queue.accepted(4);
  assert.equal(queue.waiting, 3);
  queue.accepted(2);
  queue.accepted(1);
  assert.equal(queue.waiting, 1);
});

test("a server that does not know the viewer gets nothing twice, and what may be lost is counted", () => {
  const queue = new InputQueue();
  queue.push(text("rm x\r"));
  queue.next();
  queue.push(text("later"));
  assert.equal(queue.resume(0, false), 5);
  assert.deepEqual(queue.next(), { seq: 0, bytes: text("later") });
});

test("a server that forgot what it had accepted is not sent it again", () => {
  const queue = new InputQueue();
  queue.push(text("abc"));
  queue.next();
  queue.accepted(2);
  queue.push(text("d"));
  assert.equal(queue.resume(0, true), 1);
  assert.deepEqual(queue.next(), { seq: 0, bytes: text("d") });
});

test("a page that was loaded again goes on where its viewer was", () => {
  const queue = new InputQueue();
  assert.equal(queue.resume(700, false), 0);
  queue.push(text("x"));
  assert.deepEqual(queue.next(), { seq: 700, bytes: text("x") });
});

test("through dropped connections nothing is lost and nothing comes twice", () => {
  for (let seed = 1; seed <= 40; seed += 1) {
    const chance = random(seed);
    const queue = new InputQueue();
    const receiver = new Receiver();
    const typed: number[] = [];
    let told = 0;
    while (typed.length < 100_000 || queue.waiting > 0) {
      const what = chance();
      if (what < 0.3 && typed.length < 100_000) {
        const bytes = Uint8Array.from({ length: Math.floor(chance() ** 3 * 40_000) }, () => Math.floor(chance() * 256));
        assert.ok(queue.push(bytes));
        for (const byte of bytes) typed.push(byte);
      } else if (what < 0.8) {
        const piece = queue.next();
        if (piece !== null) receiver.take(piece.seq, piece.bytes);
      } else if (what < 0.95) {
        told = Math.max(told, Math.floor(told + chance() * (receiver.bytes.length - told + 1)));
        queue.accepted(told);
      } else {
        // The connection breaks: pieces that were given to it may be lost from some place on.
        const kept = Math.floor(told + chance() * (receiver.bytes.length - told + 1));
        receiver.bytes.length = Math.min(kept, receiver.bytes.length);
        told = receiver.bytes.length;
        assert.equal(queue.resume(told, true), 0);
      }
    }
    assert.deepEqual(receiver.bytes, typed, `seed ${seed}`);
  }
});
