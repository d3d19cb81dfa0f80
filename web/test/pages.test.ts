// What the pages' small scripts work out without a page.

import assert from "node:assert/strict";
import test from "node:test";
import { readable } from "../src/pages-logs.ts";
import { age } from "../src/pages-time.ts";

test("an age is told in its largest unit", () => {
  const told = [0.5, 1, 59.9, 60, 3599, 3600, 86_399, 86_400, 8_640_000].map(age);
  assert.deepEqual(told, ["0 s", "1 s", "59 s", "1 min", "59 min", "1 h", "23 h", "1 d", "100 d"]);
});

test("a line of a log is text, whatever it would do to a terminal", () => {
  assert.equal(readable("\u001b[31mred\u001b[0m and \u001b[1;38;5;4mbold\u001b[m"), "red and bold");
  assert.equal(readable("\u001b]0;a title\u0007after"), "after");
  assert.equal(readable("\u001b]8;;http://x\u001b\\link\u001b]8;;\u001b\\"), "link");
  assert.equal(readable("progress\r"), "progress");
  assert.equal(readable("a\u0000b\tc\u007f"), "a\u2400b\tc\u2421");
  assert.equal(readable("<b>größe 日本</b>"), "<b>größe 日本</b>");
});
