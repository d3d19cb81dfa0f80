import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

import {
  type ClientFrame,
  decodeServerFrame,
  encodeClientFrame,
  type ExitKind,
  FrameError,
  type ServerFrame,
  type Stream,
} from "../src/protocol.ts";
import { decodeClientFrame, encodeServerFrame } from "./server-side.ts";

interface Vector {
  name: string;
  hex: string;
  frame: Record<string, unknown>;
}

interface Vectors {
  client: Vector[];
  server: Vector[];
  refused: { client: Vector[]; server: Vector[] };
}

// The tests run from web/, where npm is.
const vectors = JSON.parse(readFileSync("../tests/vectors/frames.json", "utf8")) as Vectors;

const bytesOf = (hex: string): Uint8Array => Uint8Array.from(Buffer.from(hex.replaceAll(" ", ""), "hex"));

function frameOf(written: Record<string, unknown>): ClientFrame | ServerFrame {
  const { write, drives, recorded, tty, bytes, ...rest } = written;
  return {
    ...rest,
    ...(typeof bytes === "string" ? { bytes: bytesOf(bytes) } : {}),
    ...(rest["type"] === "hello" ? { flags: { write, drives, recorded, tty } } : {}),
  } as ClientFrame | ServerFrame;
}

test("a client's frames are the golden ones, both ways", () => {
  assert.ok(vectors.client.length > 8);
  for (const { name, hex, frame } of vectors.client) {
    const expected = frameOf(frame) as ClientFrame;
    assert.deepEqual(encodeClientFrame(expected), bytesOf(hex), name);
    assert.deepEqual(decodeClientFrame(bytesOf(hex)), expected, name);
  }
});

test("a server's frames are the golden ones, both ways", () => {
  assert.ok(vectors.server.length > 12);
  for (const { name, hex, frame } of vectors.server) {
    const expected = frameOf(frame) as ServerFrame;
    assert.deepEqual(decodeServerFrame(bytesOf(hex)), expected, name);
    assert.deepEqual(encodeServerFrame(expected), bytesOf(hex), name);
  }
});

test("what is no frame is refused", () => {
  for (const { name, hex } of vectors.refused.client) {
    assert.throws(() => decodeClientFrame(bytesOf(hex)), FrameError, name);
  }
  for (const { name, hex } of vectors.refused.server) {
    assert.throws(() => decodeServerFrame(bytesOf(hex)), FrameError, name);
  }
});

test("a tag of a later server is ignored", () => {
  assert.equal(decodeServerFrame(Uint8Array.of(0x9f, 1, 2)), null);
});

test("a place beyond what a number holds is refused, not rounded", () => {
  assert.throws(() => decodeServerFrame(bytesOf("860020000000000000")), FrameError);
});

test("a frame within a larger buffer is read from its own place", () => {
  const buffer = bytesOf("ffff86 0000000000000005 ffff");
  assert.deepEqual(decodeServerFrame(buffer.subarray(2, 11)), { type: "accepted", accepted: 5 });
});

test("every stream and every end has its number", () => {
  const streams: Stream[] = ["tty", "stdout", "stderr"];
  const kinds: ExitKind[] = ["exited", "signal", "ended", "lost"];
  streams.forEach((stream, number) => {
    const bytes = encodeServerFrame({ type: "output", seq: 0, stream, bytes: new Uint8Array() });
    assert.equal(bytes[9], number);
  });
  kinds.forEach((kind, number) => {
    assert.equal(encodeServerFrame({ type: "exit", code: 0, kind, reason: "" })[5], number);
  });
});
