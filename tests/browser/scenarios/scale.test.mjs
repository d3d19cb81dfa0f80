// A crowded and busy host: two thousand containers, three thousand processes, two hundred changes a
// second. Pages stay smooth, and what one is doing on them stays as it is.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { after, before } from "node:test";
import { fileURLToPath } from "node:url";
import { openBrowser, openWindow, until } from "../harness/browser.mjs";
import * as host from "../harness/host.mjs";
import { signIn } from "../harness/person.mjs";
import { Porthole } from "../harness/porthole.mjs";

const CONTAINERS = 2000;
const PROCESSES = 3000;
/** Every so many milliseconds one process is born and one ends. */
const GAP = 10;
/** The longest that a page may answer nobody, in milliseconds. */
const MOST = 200;

const source = (path) => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const scenes = [];
let directory;
let browser;
let porthole;

/** Compiles a program once, runs it until its input ends, and waits until its scene is set. */
async function scene(name, path, args, libraries = []) {
  const program = join(directory, name);
  execFileSync("cc", ["-O1", "-o", program, source(path), ...libraries]);
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "inherit"] });
  const ended = new Promise((end) => child.once("exit", end));
  scenes.push({ child, ended });
  let said = "";
  child.stdout.on("data", (bytes) => (said += bytes));
  await until(`${name} is set`, () => said.includes("ready"), { within: 30_000 });
  return child;
}

before(async () => {
  directory = mkdtempSync(join(tmpdir(), "scene-"));
  browser = await openBrowser();
  porthole = await Porthole.start();
  await scene("scene", "scene.c", ["containers", String(CONTAINERS)]);
  const more = Math.max(1, PROCESSES - host.processes().length);
  await scene("crowd", "bench/raw.c", ["crowd", String(more)], ["-lutil"]);
  await until("all containers are told", async () => {
    const { items } = await porthole.api("GET", "/containers?engine=none&limit=5000");
    return items.length >= CONTAINERS;
  }, { within: 60_000, every: 500 });
});

after(async () => {
  await browser?.close();
  for (const { child, ended } of scenes.reverse()) {
    child.stdin.end();
    await ended;
  }
  await porthole?.stop();
  if (directory) rmSync(directory, { recursive: true, force: true });
});

/** How long a process has run on a processor, in seconds. */
function ran(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** Its server, and what watches the host for it. */
function parts() {
  const mark = `PORTHOLE_RUN=${porthole.run}`;
  const own = host.processes().filter((pid) => host.environment(pid).includes(mark));
  return {
    server: own.find((pid) => host.args(pid)[1] === "server"),
    observer: own.find((pid) => host.name(pid) === "porthole-watch"),
  };
}

/** Counts changes of the page, and how long its longest task took. */
function watch() {
  window.seen = { tasks: [], changes: 0 };
  new PerformanceObserver((list) => {
    for (const task of list.getEntries()) window.seen.tasks.push(task.duration);
  }).observe({ type: "longtask" });
  new MutationObserver((list) => (window.seen.changes += list.length)).observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true });
}

/** Looks at a page for a while, typing nothing. */
async function look(page, path, seconds, t) {
  const asked = Date.now();
  await page.goto(porthole.url + path);
  t.diagnostic(`${path} was there after ${Date.now() - asked} ms`);
  // What making the page costs is not what keeping it costs.
  await page.waitForTimeout(2000);
  const field = page.locator("input[type=search], input[name=q]").first();
  await field.focus();
  await page.evaluate(() => scrollTo(0, 300));
  await page.evaluate(watch);
  const where = () => page.evaluate(() => ({ y: scrollY, focus: document.activeElement?.getAttribute("name") }));
  const begun = await where();
  const { server, observer } = parts();
  const cpu = [server, observer].map(ran);
  const from = Date.now();
  await page.waitForTimeout(seconds * 1000);
  const passed = (Date.now() - from) / 1000;
  const shares = [server, observer].map((pid, at) => ((100 * (ran(pid) - cpu[at])) / passed).toFixed(1));
  const seen = await page.evaluate(() => window.seen);
  const longest = Math.max(0, ...seen.tasks);
  t.diagnostic(`${path}: ${seen.changes} changes, longest task ${longest.toFixed(0)} ms, server ${shares[0]} %, observer ${shares[1]} % of a core`);
  assert.deepEqual(await where(), begun, `${path}: focus and scroll`);
  assert.notEqual(begun.focus, null, "something had the focus");
  // One may meet a machine that does something else meanwhile.
  const late = seen.tasks.filter((task) => task >= MOST);
  assert.ok(late.length <= 1 && longest < 3 * MOST, `${path}: tasks of ${late} ms`);
  return seen;
}

test("pages of a crowded host stay smooth while it is busy", { timeout: 180_000 }, async (t) => {
  const window = await openWindow(browser);
  t.after(() => window.close());
  const page = await signIn(window, porthole);
  await scene("churn", "bench/raw.c", ["churn", String(GAP), "/bin/busybox"], ["-lutil"]);
  const seen = await look(page, "/processes", 20, t);
  assert.ok(seen.changes > 0, "the page of processes is alive");
  await look(page, "/containers", 5, t);
  await look(page, "/namespaces", 5, t);
  // The page still answers a click at once.
  await page.goto(`${porthole.url}/containers`);
  await page.getByRole("link", { name: "Sessions" }).first().click();
  await page.waitForURL("**/sessions");
  assert.deepEqual(window.errors, []);
});
