// The pages about processes beside the kernel's word: numbers on every level, forks and ends as they
// happen, thousands of short processes, a process that is gone, two beside each other, the map.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { after, before, test } from "node:test";
import { AxeBuilder } from "../harness/axe.mjs";
import { openBrowser, openWindow, until } from "../harness/browser.mjs";
import * as host from "../harness/host.mjs";
import { signIn } from "../harness/person.mjs";
import { Porthole } from "../harness/porthole.mjs";
import { LOOKS, results } from "../harness/stage.mjs";

let browser;
let porthole;
let window;
let page;
let web;
const started = [];

/** Starts something of the host's, in a group of its own, that ends with the file. */
function start(...command) {
  const child = spawn(command[0], command.slice(1), { stdio: "ignore", detached: true });
  started.push(child);
  return child;
}

const listed = async (query) => (await porthole.api("GET", `/processes?limit=1000&${new URLSearchParams(query)}`)).items;

/** Shells in namespaces of their own, one in the other; the innermost sleeps so long. */
function nested(levels, seconds) {
  if (levels === 0) return `sleep ${seconds}`;
  const inner = nested(levels - 1, seconds).replaceAll("'", `'\\''`);
  return `unshare -U -r -p -f --kill-child --mount-proc sh -c '${inner}; :'`;
}

before(async () => {
  mkdirSync(new URL("../results", import.meta.url), { recursive: true });
  browser = await openBrowser();
  porthole = await Porthole.start();
  window = await openWindow(browser);
  page = await signIn(window, porthole);
  web = await porthole.create({ name: "web", image: "host", command: ["sh", "-c", "sleep 100000 & exec sleep 100002"] });
});

after(async () => {
  for (const { pid } of started) host.kill(-pid);
  await browser?.close();
  await porthole?.stop();
});

test("three levels deep, every number is the kernel's", async () => {
  start("sh", "-c", nested(3, 76543));
  const deepest = await until("it is seen on four levels", async () =>
    (await listed({ q: "76543" })).find((one) => one.command === "sleep" && one.pids.length === 4),
  );
  const pids = host.pids(deepest.host_pid);
  assert.equal(pids.length, 4);
  const [outer, ...inner] = pids;
  for (const q of [`${outer}`, `${outer}/${inner[0]}`, pids.join("/"), inner.join("/")]) {
    await page.goto(`${porthole.url}/processes?${new URLSearchParams({ q })}`);
    const row = page.locator(`#rows [id^="p-${outer}-"]`);
    await row.waitFor();
    assert.deepEqual((await row.locator(".lvl").allTextContents()).map(Number), host.pids(outer), q);
  }
  await page.goto(`${porthole.url}/processes?q=${[...pids].reverse().join("/")}`);
  await page.getByText("No process is like that").waitFor();

  await page.goto(`${porthole.url}/processes?view=map&q=76543`);
  const row = page.locator(`.map .level:last-child .row[data-pair="${outer}"] .p`);
  assert.equal(Number(await row.textContent()), pids.at(-1));
  const levels = await page.locator(".map .level").evaluateAll((all, pair) => all.map((level) => level.querySelector(`.row[data-pair="${pair}"] .p`)?.textContent), String(outer));
  assert.deepEqual(levels.map(Number), pids);

  await page.goto(`${porthole.url}/processes/${outer}`);
  const namespaces = host.namespaces(outer);
  for (const type of host.NAMESPACES) {
    const file = page.locator(`#n-${type}`);
    await file.getByText(namespaces[type]).waitFor();
    await file.getByText(`/proc/${outer}/ns/${type}`).waitFor();
    const link = await file.locator('[data-label="Namespace"] a').getAttribute("href");
    assert.ok(link.endsWith(`/namespaces/${type}/${namespaces[type].match(/\d+/)[0]}`), link);
  }
  // What has to be read inside comes after the page.
  await page.locator("#detail").getByText("Effective").waitFor();
  await page.locator("#detail").getByText("3 levels below the initial one").waitFor();
});

test("pointing at one side lights the others, by mouse and by keys", async () => {
  await page.goto(`${porthole.url}/processes?view=map&q=76543`);
  const rows = page.locator(".map .level:last-child .row[data-pair]");
  const pair = await rows.first().getAttribute("data-pair");
  await rows.first().hover();
  const lit = () => page.locator(".map .row.lit").evaluateAll((all) => all.map((row) => row.dataset.pair));
  await until("all four are lit", async () => (await lit()).length === 4);
  assert.deepEqual([...new Set(await lit())], [pair]);
  assert.equal(await page.locator(".map path.lit").count(), 3);
  await page.mouse.move(0, 0);
  await rows.first().locator("a.p").focus();
  await page.keyboard.press("ArrowLeft");
  const level = await page.evaluate(() => [...document.querySelectorAll(".map .level")].indexOf(document.activeElement.closest(".level")));
  assert.equal(level, 2, "the same process one level further out has the focus");
  assert.deepEqual([...new Set(await lit())], [pair]);
});

test("a fork is seen within 200 ms, and focus stays", async (t) => {
  await page.goto(`${porthole.url}/processes?q=87651`);
  await page.getByText("No process is like that").waitFor();
  await page.locator("#q").focus();
  await page.evaluate(() => {
    globalThis.seenAt = null;
    const look = () => (globalThis.seenAt ??= document.querySelector("#rows tr") === null ? null : Date.now());
    new MutationObserver(look).observe(document.querySelector("#rows"), { childList: true, subtree: true });
  });
  const times = [];
  for (let round = 0; round < 5; round += 1) {
    await page.evaluate(() => (globalThis.seenAt = null));
    const began = Date.now();
    const child = start("sleep", "87651");
    const seen = await until("the row", () => page.evaluate(() => globalThis.seenAt));
    times.push(seen - began);
    child.kill("SIGKILL");
    await until("it is gone", async () => (await page.locator("#rows tr").count()) === 0);
    await page.waitForTimeout(150);
  }
  times.sort((a, b) => a - b);
  t.diagnostic(`from fork to row: ${times.join(" ")} ms`);
  assert.ok(times[2] <= 200, `from fork to row: ${times.join(" ")} ms`);
  assert.equal(await page.evaluate(() => document.activeElement.id), "q");
});

test("five thousand short processes leave no ghost", { timeout: 120_000 }, async (t) => {
  await page.goto(`${porthole.url}/processes?rows=1000`);
  const first = await page.locator("#rows tr a").first().getAttribute("href");
  await page.locator("#rows tr a").first().focus();
  const churn = start("sh", "-c", "i=0; while [ $i -lt 5000 ]; do /bin/true; i=$((i+1)); done");
  await new Promise((end) => churn.once("exit", end));
  t.diagnostic("the processes have ended");
  const identity = (one) => one.host_pid;
  await until(
    "the page shows what the kernel has",
    async () => {
      const shown = await page.locator("#rows tr").evaluateAll((all) => all.map((row) => Number(row.id.split("-")[1])));
      const there = new Set(host.processes());
      const known = new Set((await listed({})).map(identity));
      return shown.length > 0 && shown.every((pid) => there.has(pid) && known.has(pid));
    },
    { within: 20_000, every: 200 },
  );
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute("href")), first, "focus is kept");
});

test("a process that ends under one's eyes says so, and what it was", async () => {
  const child = start("sleep", "65432");
  const seen = await until("it is seen", async () => (await listed({ host_pid: child.pid }))[0]);
  assert.equal(seen.command, "sleep");
  await page.goto(`${porthole.url}/processes/${child.pid}`);
  await page.locator("#facts").getByText("sleep 65432").waitFor();
  child.kill("SIGKILL");
  await page.locator("#gone").getByText(`Process ${child.pid} has ended.`).waitFor();
  await page.locator("#facts").getByText("sleep 65432").waitFor();
  const answer = await page.reload();
  assert.equal(answer.status(), 404);
  await page.getByText("sleep 65432").waitFor();
  window.errors.splice(0);
});

test("two rows are chosen and compared in a sentence", async () => {
  const free = start("sleep", "54321");
  await until("it is seen", async () => (await listed({ host_pid: free.pid }))[0]);
  const confined = (await listed({ container: web.id })).find((one) => one.host_pid === web.pid);
  await page.goto(`${porthole.url}/processes?q=${free.pid}`);
  await page.locator(`#rows [id^="p-${free.pid}-"] input`).check();
  await page.locator("#q").fill(String(confined.host_pid));
  await page.locator(`#rows [id^="p-${confined.host_pid}-"] input`).check();
  await page.locator("#compare").getByRole("button", { name: "Compare" }).click();
  await page.waitForURL("**/compare?**");
  const sentence = await page.locator("#sentence").textContent();
  assert.match(sentence, new RegExp(`${confined.host_pid} is confined by seccomp, ${free.pid} is not`));
  const [a, b] = [host.namespaces(free.pid), host.namespaces(confined.host_pid)];
  const rows = page.locator("#known tr");
  for (const [at, type] of host.NAMESPACES.entries()) {
    const verdict = await rows.nth(at).locator(".verdict").textContent();
    assert.equal(verdict, a[type] === b[type] ? "same" : "different", type);
  }
  await page.locator("#inside").getByText("working directory").waitFor();
  const told = await porthole.api("GET", `/compare?a=${free.pid}&b=web`);
  assert.match(told.sentence, /web is confined by seccomp/);
  assert.ok(told.lines.some(({ name }) => name === "max open files"));
});

test("a session lights its processes beside the terminal, a process its session", async () => {
  const session = await porthole.api("POST", `/containers/${web.id}/sessions`, { tty: true, cols: 80, rows: 24 });
  await page.goto(`${porthole.url}/containers/web/terminal?session=${session.id}`);
  await until("the terminal is live", async () => (await page.locator(".t-state").textContent()) === "live");
  await page.locator("[data-session-processes] summary").click();
  const row = page.locator(`#session-processes [id^="sp-${session.host_pid}-"]`);
  await row.waitFor();
  await until("the shown session's is lit", () => row.evaluate((element) => element.classList.contains("lit")));
  await row.getByRole("button").click();
  assert.equal(await page.locator(".t-tab.lit").getAttribute("data-session"), session.id);
  await page.goto(`${porthole.url}/containers/web`);
  const marked = page.locator(`.map .inside .row[data-session="${session.id}"]`);
  await marked.waitFor();
  await page.locator(`#sessions [id="s-${session.id}"]`).hover();
  await until("the map lights it", () => marked.evaluate((element) => element.classList.contains("lit")));
});

for (const { theme, width } of LOOKS) {
  test(`how they look: ${theme}, ${width} px`, { timeout: 120_000 }, async (t) => {
    const look = await openWindow(browser, { colorScheme: theme, viewport: { width, height: 900 } });
    t.after(() => look.close());
    const there = await signIn(look, porthole);
    const deepest = (await listed({ q: "76543" })).find((one) => one.command === "sleep");
    for (const [name, path] of [
      ["list", "/processes?container=web"],
      ["tree", "/processes?view=tree&q=76543"],
      ["map", "/processes?view=map&q=76543"],
      ["none", "/processes?q=nothing-like-this"],
      ["one", `/processes/${deepest.host_pid}`],
      ["compare", `/compare?a=web&b=${deepest.host_pid}`],
      ["of-container", "/containers/web/processes"],
    ]) {
      await there.goto(porthole.url + path);
      if (name === "one") await there.locator("#detail").getByText("Effective").waitFor();
      if (name === "compare") await there.locator("#inside").getByText("working directory").waitFor();
      await there.screenshot({ path: results(`processes-${name}-${theme}-${width}`), fullPage: true });
      const wider = await there.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(wider <= 0, `${name} scrolls ${wider} px sideways`);
      assert.deepEqual(await new AxeBuilder(there).violations(), [], name);
      assert.deepEqual(look.errors, [], name);
    }
  });
}
