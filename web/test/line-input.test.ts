import assert from "node:assert/strict";
import test from "node:test";

import { LineInput } from "../src/line-input.ts";

test("a line is sent when it is whole", () => {
  const line = new LineInput();
  assert.deepEqual(line.take("l"), { echo: "l", send: "", end: false });
  assert.deepEqual(line.take("s\r"), { echo: "s\r\n", send: "ls\n", end: false });
});

test("a character is taken back, also one beyond the plane of the usual ones", () => {
  const line = new LineInput();
  line.take("a🙂");
  assert.equal(line.take("\x7f").echo, "\b \b");
  assert.equal(line.take("\r").send, "a\n");
  assert.equal(line.take("\x7f").echo, "");
});

test("the end of input at the beginning of a line, what is there in its middle", () => {
  const line = new LineInput();
  assert.deepEqual(line.take("ab\x04"), { echo: "ab", send: "ab", end: false });
  assert.deepEqual(line.take("\x04"), { echo: "", send: "", end: true });
});

test("a paste of lines is sent line by line, keys without a character are not", () => {
  const line = new LineInput();
  assert.equal(line.take("one\r\ntwo\nthree").send, "one\ntwo\n");
  assert.equal(line.take("\x1b[A").echo, "");
  assert.equal(line.take("\r").send, "three\n");
});
