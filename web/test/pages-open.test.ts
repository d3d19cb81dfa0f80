import assert from "node:assert/strict";
import test from "node:test";
import type { FidelityLine } from "../src/api.ts";
import { asked, summary, toAccept, words } from "../src/pages-open.ts";

const line = (aspect: string, verdict: FidelityLine["verdict"]): FidelityLine => ({ aspect, verdict, init: "", session: "", words: "" });

test("only what is less confined or not known is agreed to", () => {
  const lines = [line("seccomp", "unknown"), line("cgroup", "weaker"), line("limits", "stronger"), line("user", "equal")];
  assert.deepEqual(toAccept(lines), ["seccomp", "cgroup"]);
  assert.equal(summary(lines), "2 of 4 less confined");
  assert.equal(summary([line("limits", "stronger"), line("user", "equal")]), "1 more confined");
  assert.equal(summary([line("user", "equal")]), "as its engine's exec");
});

test("an address asks for some of the eight in their order, for the choice, or for nothing", () => {
  assert.deepEqual(asked(new URLSearchParams("join=pid,net,nonsense")), ["pid", "net"]);
  assert.deepEqual(asked(new URLSearchParams("join=")), []);
  assert.equal(asked(new URLSearchParams("choose")), "choose");
  assert.equal(asked(new URLSearchParams("session=ab")), null);
});

test("a command is split as a shell splits it", () => {
  assert.deepEqual(words(`ip  addr`), ["ip", "addr"]);
  assert.deepEqual(words(`sh -c "echo a b" 'c d'e`), ["sh", "-c", "echo a b", "c de"]);
  assert.deepEqual(words("  "), []);
});
