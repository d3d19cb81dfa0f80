// Whatever is killed, no byte of output is lost or comes twice, and no program waits for it.

import assert from "node:assert/strict";
import { after, before } from "node:test";
import { openBrowser, openWindow, until } from "../harness/browser.mjs";
import * as host from "../harness/host.mjs";
import { signIn, Terminal } from "../harness/person.mjs";
import { Porthole } from "../harness/porthole.mjs";
import { story } from "../harness/story.mjs";

const TIMES = Number(process.env.KILLS ?? 20);
const LAST = 300_000;
/** Rounds of one session: drawing a screen anew after a kill takes longer the more was written. */
const ROUNDS = 5;

const step = story();

let browser;
let porthole;
let window;
let page;
let terminal;
let container;

before(async () => {
  browser = await openBrowser();
  porthole = await Porthole.start();
  window = await openWindow(browser);
  await signIn(window, porthole);
  container = await porthole.create({ name: "flood", image: "busybox", command: ["sleep", "1000000"] });
});

/** A new session in a new tab; the one before it is ended. */
async function newTerminal() {
  if (terminal) await porthole.api("DELETE", `/sessions/${terminal.session}`);
  await page?.close();
  page = await window.newPage();
  terminal = await Terminal.open(page, porthole, "flood");
}

after(async () => {
  await browser?.close();
  await porthole?.stop();
});

const numbers = Array.from({ length: LAST }, (_, at) => `${at + 1}\r\n`).join("");

/** The numbers between the marks, exactly once and in order; says where they first are not. */
function expectNumbers(output, round) {
  const text = output.toString("latin1");
  const from = text.indexOf(`\n${round}begin\r\n`);
  const to = text.indexOf(`\n${round}end\r\n`, from);
  assert.ok(from >= 0 && to >= 0, `round ${round}: the marks are missing`);
  const got = text.slice(from + `\n${round}begin\r\n`.length, to + 1);
  if (got === numbers) return;
  let at = 0;
  while (at < got.length && got[at] === numbers[at]) at += 1;
  assert.fail(`round ${round}, byte ${at}: ${JSON.stringify(got.slice(at - 30, at + 30))} where ${JSON.stringify(numbers.slice(at - 30, at + 30))} belongs`);
}

for (const role of ["server", "keeper"]) {
  step(`the ${role} killed ${TIMES} times in mid-flood: every number once and in order`, { timeout: 600_000 }, async (t) => {
    let [inFlood, snapshots] = [0, 0];
    for (let time = 1; time <= TIMES; time += 1) {
      const round = `${role[0]}${time}`;
      if (time % ROUNDS === 1) await newTerminal();
      await terminal.type(`echo ${round}''begin; seq 1 ${LAST}; echo ${round}''end`);
      await terminal.sees(`${round}begin`, { every: 2 });
      await new Promise((go) => setTimeout(go, Math.random() * 120));
      if (!terminal.recorder.text.includes(`\n${round}end`)) inFlood += 1;
      await porthole.kill(role);
      await terminal.sees(`${round}end`, { within: 30_000 });
      await terminal.live();
      const journal = await until("the journal has it", async () => {
        const now = await porthole.journal(terminal.session).catch(() => null);
        return now?.includes(`\n${round}end\r\n`) ? now : null;
      });
      expectNumbers(journal, round);
      terminal.recorder.compareWith(journal);
      if (terminal.recorder.snapshots.every(({ from }) => from === 0)) expectNumbers(Buffer.from(terminal.recorder.text, "latin1"), round);
      snapshots += terminal.recorder.snapshots.filter(({ from }) => from > 0).length;
      terminal.recorder.forget();
    }
    t.diagnostic(`${inFlood} of ${TIMES} kills fell into the flood; ${snapshots} pages were too far behind and got a picture of the screen`);
    assert.ok(inFlood > 0, "no kill fell into the flood: this proves nothing");
  });
}

step("with all of it away a program's output goes on, and is there afterwards", { timeout: 120_000 }, async () => {
  await newTerminal();
  await terminal.type(`echo wait; sleep 1; echo away''begin; seq 1 ${LAST}; echo away''end; echo done > /tmp/done`);
  await terminal.sees("\nwait");
  await porthole.killServe();
  await until("the page says so", async () => (await terminal.state()).startsWith("reconnecting"));
  const root = `/proc/${container.pid}/root`;
  await until("the program has ended though nobody reads", () => host.readText(`${root}/tmp/done`) === "done\n", { within: 30_000 });
  await porthole.serve();
  await terminal.sees("awayend", { within: 30_000 });
  await terminal.live();
  expectNumbers(await porthole.journal(terminal.session), "away");
  terminal.recorder.forget();
  assert.deepEqual(await terminal.run("echo here"), ["here"]);
});
