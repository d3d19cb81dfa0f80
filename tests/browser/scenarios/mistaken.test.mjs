// What was meant is not there any more, or another has its name or number by now; and what does not
// answer. Nobody is led into another by an old page.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { after, before } from "node:test";
import { fileURLToPath } from "node:url";
import { openBrowser, openWindow, until } from "../harness/browser.mjs";
import { Docker } from "../harness/docker.mjs";
import * as host from "../harness/host.mjs";
import { signIn, Terminal } from "../harness/person.mjs";
import { Porthole } from "../harness/porthole.mjs";

const source = (path) => fileURLToPath(new URL(`../../../${path}`, import.meta.url));

let browser;
let docker;
let porthole;
let directory;
const spawned = [];

before(async () => {
  directory = mkdtempSync(join(tmpdir(), "mistaken-"));
  browser = await openBrowser();
  docker = await Docker.start();
  const engines = docker === null ? "" : `[engines]\ndocker = "${docker.socket}"\nmanage = true\n`;
  porthole = await Porthole.start({ policy: `host_namespaces = true\njoin_foreign = true\njoin_privileged = true\n${engines}` });
});

after(async () => {
  await browser?.close();
  for (const process of spawned) process.kill("SIGKILL");
  const ended = porthole?.stop();
  await docker?.stop();
  await ended;
  rmSync(directory, { recursive: true, force: true });
});

function start(command, words, stdio = ["ignore", "pipe", "inherit"]) {
  const started = spawn(command, words, { stdio });
  spawned.push(started);
  let said = "";
  started.stdout.on("data", (text) => (said += text));
  return { started, says: (word) => until(`${command} says ${word}`, () => said.includes(word)) };
}

async function person(t) {
  const window = await openWindow(browser);
  t.after(() => window.close());
  return { window, page: await signIn(window, porthole) };
}

const api = (...words) => porthole.api(...words);
const known = (reference) => until(`${reference} is known`, () => api("GET", `/containers/${reference}`).catch(() => null));

/** Who is inside besides the first process: nobody, where nobody was led into it. */
const others = (init) => host.membersOf(host.namespaces(init).pid).filter((pid) => pid !== init);

test("a container that vanishes before the click is not there, and its name's next bearer is not entered", { timeout: 120_000 }, async (t) => {
  if (docker === null) return t.skip("this machine has no Docker");
  const { page } = await person(t);
  const run = () => docker.run(["--name", "fleeting"], ["sleep", "1000000"]);
  const running = async (id) => {
    // By its name: that of the one before may be told a moment longer.
    const told = () => api("GET", "/containers/fleeting").catch(() => null);
    await until(`${id} runs`, async () => told().then((now) => now?.id === id && now.pid !== null));
    return id;
  };

  // Gone, and nothing in its place.
  let id = await running(run());
  await page.goto(`${porthole.url}/containers/fleeting/terminal?choose`);
  await page.getByRole("dialog", { name: "New terminal in" }).waitFor();
  docker.docker("rm", "--force", id);
  await page.getByRole("button", { name: "Open", exact: true }).click();
  await page.locator(".t-message:visible").waitFor();
  assert.match(await page.locator(".t-message:visible").textContent(), /no container|removed|not there|does not run/i);

  // Another of its name: the old page means the old one.
  id = await running(run());
  await page.goto(`${porthole.url}/containers/fleeting/terminal?choose`);
  await page.getByRole("dialog", { name: "New terminal in" }).waitFor();
  docker.docker("rm", "--force", id);
  const next = await running(run());
  const { pid } = await known(next);
  const before = (await api("GET", "/sessions")).items.length;
  await page.getByRole("button", { name: "Open", exact: true }).click();
  await page.locator(".t-message:visible").waitFor();
  assert.match(await page.locator(".t-message:visible").textContent(), /no container|removed|not there/i);
  assert.deepEqual(others(pid), []);
  assert.equal((await api("GET", "/sessions")).items.length, before);

  // The control: the new one's own page enters it.
  const terminal = await Terminal.open(page, porthole, "fleeting");
  const [ns] = await terminal.run("readlink /proc/self/ns/pid");
  assert.equal(ns, host.namespaces(pid).pid);
  docker.docker("rm", "--force", next);
});

test("the same of Porthole's own", { timeout: 60_000 }, async (t) => {
  const { page } = await person(t);
  const make = () => api("POST", "/containers", { name: "own-fleeting", image: "busybox", command: ["sleep", "1000000"] });
  const first = await make();
  await page.goto(`${porthole.url}/containers/own-fleeting/terminal?choose`);
  await page.getByRole("dialog", { name: "New terminal in" }).waitFor();
  await api("DELETE", `/containers/${first.id}?force=true`);
  const second = await make();
  assert.notEqual(second.id, first.id);
  await page.getByRole("button", { name: "Open", exact: true }).click();
  await page.locator(".t-message:visible").waitFor();
  assert.match(await page.locator(".t-message:visible").textContent(), /no container|removed|not there/i);
  assert.deepEqual((await api("GET", "/sessions")).items.filter((one) => one.container === second.id), []);
  const terminal = await Terminal.open(page, porthole, "own-fleeting");
  assert.deepEqual(await terminal.run("echo inside"), ["inside"]);
});

test("a page about a process stays about that one when its number is another's", { timeout: 60_000 }, async (t) => {
  const { page } = await person(t);
  const scene = join(directory, "scene");
  execFileSync("cc", ["-O1", "-o", scene, source("tests/scene.c")]);
  const old = spawn("sleep", ["1000000"], { stdio: "ignore" });
  spawned.push(old);
  const { pid } = old;
  const gone = new Promise((end) => old.once("exit", end));
  const start_ticks = await until("it is known", async () => {
    await api("GET", `/processes/${pid}`).catch(() => null);
    await page.goto(`${porthole.url}/processes/${pid}`);
    return (await page.content()).match(/detail\?start=(\d+)/)?.[1];
  });
  await page.locator("#facts").getByText("sleep").first().waitFor();
  const terminals = await person(t);
  await terminals.page.goto(`${porthole.url}/processes/${pid}/terminal?join=uts`);
  await terminals.page.getByRole("dialog", { name: "New terminal in" }).waitFor();

  old.kill("SIGKILL");
  await gone;
  const { says } = start(scene, ["init", String(pid)], ["pipe", "pipe", "inherit"]);
  await says("ready");
  await until("the other is known", async () => (await api("GET", `/processes/${pid}`).catch(() => null))?.pids.length > 1);

  // The page says so by itself, and leads to the other by a link alone.
  await page.locator("#gone", { hasText: `Process ${pid} has ended.` }).waitFor();
  await page.locator("#gone", { hasText: `The number ${pid} is another process's now.` }).waitFor();
  assert.match(await page.locator("#facts").textContent(), /sleep/, "what it was stays");
  // What it reads and what it opens are the old one's, which is nobody.
  const answer = await page.request.get(`${porthole.url}/processes/${pid}/detail?start=${start_ticks}`);
  assert.match(await answer.text(), /has ended/);
  await terminals.page.getByRole("button", { name: "Open", exact: true }).click();
  await terminals.page.locator(".t-message:visible").waitFor();
  assert.match(await terminals.page.locator(".t-message:visible").textContent(), /has ended/);
  assert.deepEqual(others(pid), []);
  // The control: the other's own page.
  await page.locator("#gone a", { hasText: "another process's" }).click();
  await page.waitForURL(`${porthole.url}/processes/${pid}`);
  await page.locator("#facts").getByText("scene").first().waitFor();
  assert.equal(await page.locator("#gone .notice").count(), 0);
});

test("what hangs when it is read costs three seconds and a line of the page", { timeout: 60_000 }, async (t) => {
  if (!existsSync("/dev/fuse")) {
    console.error("SKIPPED: this machine has no /dev/fuse");
    return t.skip("no /dev/fuse");
  }
  const { page } = await person(t);
  // A file of its /proc is a program's that never answers.
  const { started, says } = start("unshare", ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "python3", source("server/discovery/tests/inspect/silent_fuse.py"), "/proc/loadavg"]);
  await says("ready");
  const [init] = host.children(started.pid);
  const { id } = await until("it is found", async () => (await api("GET", `/containers?pid=${init}`)).items[0]);
  const begun = Date.now();
  await page.goto(`${porthole.url}/containers/${id}`);
  const line = page.locator("#isolation .notice", { hasText: "Not read." });
  await line.waitFor({ timeout: 20_000 });
  assert.match(await line.textContent(), /did not answer|took too long|hang|seconds/i);
  assert.ok(Date.now() - begun < 15_000);
  await page.locator("#map").getByText("python3").first().waitFor();
  const answer = await page.request.get(`${porthole.url}/api/v1/containers/${id}/isolation`);
  assert.equal(answer.status(), 504);
  assert.match((await answer.json()).error.message, /\w+ \w+ \w+/);
  // The control: what hangs is one file; its mounts are read.
  const mounts = await page.request.get(`${porthole.url}/api/v1/containers/${id}/mounts`);
  assert.equal(mounts.status(), 200);
});
