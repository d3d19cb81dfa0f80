// Containers that Porthole did not make: found, shown, entered, and changed through their engine.
// Everything on the pages is compared with what the kernel and the engine say at the same moment.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, readFileSync, readlinkSync } from "node:fs";
import test, { after, before } from "node:test";
import { AxeBuilder } from "../harness/axe.mjs";
import { openBrowser, openWindow, until } from "../harness/browser.mjs";
import { Docker } from "../harness/docker.mjs";
import * as host from "../harness/host.mjs";
import { signIn, Terminal } from "../harness/person.mjs";
import { Porthole } from "../harness/porthole.mjs";

let browser;
let docker;
let porthole;
const spawned = [];

before(async () => {
  mkdirSync(new URL("../results", import.meta.url), { recursive: true });
  browser = await openBrowser();
  docker = await Docker.start();
  const engines = docker === null ? "" : `[engines]\ndocker = "${docker.socket}"\nmanage = true\n`;
  const policy = `host_namespaces = true\njoin_foreign = true\njoin_privileged = true\n${engines}`;
  porthole = await Porthole.start({ policy });
});

after(async () => {
  await browser?.close();
  for (const process of spawned) process.kill("SIGKILL");
  const ended = porthole?.stop();
  await docker?.stop();
  await ended;
});

/** A container of nobody's: unshare(1) with everything but users. Its first process on the host. */
async function unshared() {
  const all = ["--fork", "--kill-child", "--pid", "--mount", "--uts", "--ipc", "--net", "--cgroup", "--mount-proc"];
  const made = spawn("unshare", [...all, "sh", "-c", "hostname inner-host; exec sleep 1000000"], { stdio: "ignore" });
  spawned.push(made);
  const init = await until("it runs", () => host.children(made.pid).find((pid) => host.name(pid) === "sleep"));
  return { made, init };
}

const ofInit = (init) => until("it is found", async () => (await porthole.api("GET", `/containers?pid=${init}`)).items[0]);

async function person(t, options) {
  const window = await openWindow(browser, options);
  t.after(() => window.close());
  return { window, page: await signIn(window, porthole) };
}

test("what unshare makes appears at once, and its terminal is in its very namespaces", async (t) => {
  const { page } = await person(t);
  await page.goto(`${porthole.url}/containers`);
  await page.evaluate(() => {
    window.seen = new Map();
    const rows = document.getElementById("rows");
    const look = () => rows.querySelectorAll("tr[id^=c-none-]").forEach((row) => window.seen.has(row.id) || window.seen.set(row.id, Date.now()));
    look();
    new MutationObserver(look).observe(rows, { childList: true, subtree: true });
  });
  const begun = Date.now();
  const { made, init } = await unshared();
  const container = await ofInit(init);
  const shown = await until("a row", () => page.evaluate((id) => window.seen.get(`c-${id}`), container.id));
  // Making it takes part of that.
  assert.ok(shown - begun < 1000, `after ${shown - begun} ms`);

  const terminal = await Terminal.open(page, porthole, container.id);
  const written = await terminal.run("hostname; id -u; cd /proc/self/ns && for type in mnt uts ipc pid net user cgroup time; do readlink $type; done");
  assert.equal(written[0], "inner-host");
  assert.equal(written[1], "0");
  assert.deepEqual(written.slice(2), Object.values(host.namespaces(init)));

  const cells = await page.locator(".t-about:visible .fp i").evaluateAll((all) => all.map((cell) => cell.className));
  const own = host.namespaces(process.pid);
  const expected = host.NAMESPACES.map((type) => `${type} ${readlinkSync(`/proc/${init}/ns/${type}`) === own[type] ? "host" : "own"}`);
  assert.deepEqual(cells.map((name) => name.replace("session", "own")), expected);
  await page.locator(".t-about:visible summary").click();
  assert.equal(await page.locator(".t-report:visible li").count(), 12);

  // It ends while one looks.
  await page.goto(`${porthole.url}/containers/${container.id}`);
  await page.locator("#isolation table").waitFor();
  made.kill("SIGKILL");
  await page.getByText("It was removed.").waitFor();
});

test("one of the eight is joined alone, by choice and by address, and nothing opens by itself", async (t) => {
  const { page } = await person(t);
  const { init } = await unshared();
  const container = await ofInit(init);
  const before = (await porthole.api("GET", "/sessions")).items.length;
  await page.goto(`${porthole.url}/containers/${container.id}/terminal?join=net`);
  await page.getByRole("dialog", { name: "New terminal in" }).waitFor();
  assert.equal((await porthole.api("GET", "/sessions")).items.length, before, "an address opens nothing");
  assert.deepEqual(await page.locator("#opener input[name=join]:checked").evaluateAll((all) => all.map((box) => box.value)), ["net"]);
  assert.deepEqual(await new AxeBuilder(page).violations(), []);
  const terminal = new Terminal(page);
  await page.getByRole("button", { name: "Open", exact: true }).click();
  await terminal.live();
  await until("a prompt", () => /[#$]/.test(terminal.recorder.text));
  const [net, uts] = await terminal.run("readlink /proc/self/ns/net; readlink /proc/self/ns/uts");
  assert.equal(net, readlinkSync(`/proc/${init}/ns/net`));
  assert.equal(uts, readlinkSync("/proc/self/ns/uts"));
  const cells = await page.locator(".t-about:visible .fp i").evaluateAll((all) => all.map((cell) => cell.className));
  assert.deepEqual(cells, host.NAMESPACES.map((type) => `${type} ${type === "net" ? "own" : "host"}`));
  assert.ok(!page.url().includes("join="), "a reload comes back to the session");

  await page.goto(`${porthole.url}/processes/${init}/terminal?join=uts`);
  await page.getByRole("dialog", { name: "New terminal in" }).waitFor();
  await page.getByRole("button", { name: "Cancel" }).click();
  await page.waitForURL(`${porthole.url}/processes/${init}**`);
});

test("where a session would be less confined the page says in what, and opens it after a yes", { timeout: 60_000 }, async (t) => {
  if (docker === null) return t.skip("this machine has no Docker");
  const { window, page } = await person(t);
  const id = docker.run(["--name", "traced"], ["sleep", "1000000"]);
  const { pid: init } = await until("it runs", async () => (await porthole.api("GET", "/containers?state=running")).items.find((one) => one.id === id && one.name === "traced"));
  // Nobody can read its filters while a program traces it, as strace(1) does.
  const call = { x64: 101, arm64: 117 }[process.arch];
  const trace = `syscall(${call}, 0x4206, ${init}, 0, 0) == 0 or die $!; sleep 1000000`;
  const tracer = spawn("perl", ["-e", trace], { stdio: ["ignore", "inherit", "inherit"] });
  spawned.push(tracer);
  const traced = () => readFileSync(`/proc/${init}/status`, "utf8").match(/^TracerPid:\s+(\d+)/m)[1];
  await until("it is traced", () => traced() === String(tracer.pid));
  const sessions = async () => (await porthole.api("GET", "/sessions")).items.filter((one) => one.container === id);

  await page.goto(`${porthole.url}/containers/${id}/terminal`);
  await page.getByText("could not be read").waitFor();
  assert.equal((await page.locator(".t-message:visible .t-lines b").allTextContents())[0], "seccomp");
  assert.deepEqual(await new AxeBuilder(page).violations(), []);
  await page.screenshot({ path: new URL("../results/less-confined.png", import.meta.url).pathname });
  assert.deepEqual(await sessions(), [], "nothing runs before it was answered");
  const terminal = new Terminal(page);
  await page.getByRole("button", { name: "Open it all the same" }).click();
  await terminal.live();
  await until("a prompt", () => /[#$]/.test(terminal.recorder.text));
  const written = await terminal.run("grep Seccomp /proc/self/status; readlink /proc/self/ns/pid");
  assert.deepEqual(written.map((line) => line.split(/\s+/).at(-1)), ["2", "1", host.namespaces(init).pid]);
  const [session] = await sessions();
  assert.equal(session.fidelity.find((line) => line.aspect === "seccomp").verdict, "unknown");

  // The control: once nobody traces it, it is opened without a question, as confined as it is.
  tracer.kill("SIGKILL");
  await until("it is not traced", () => traced() === "0");
  const another = await person(t);
  const plain = await Terminal.open(another.page, porthole, id);
  assert.deepEqual(await plain.run("echo inside"), ["inside"]);
  const opened = (await sessions()).find((one) => one.id !== session.id);
  assert.equal(opened.fidelity.find((line) => line.aspect === "seccomp").verdict, "equal");
  // The answer that asked.
  assert.ok(window.errors.every((text) => text.includes("409")), window.errors.join("\n"));
  window.errors.splice(0);
});

test("what is read inside is what the kernel says", async (t) => {
  const { page } = await person(t);
  const { init } = await unshared();
  const container = await ofInit(init);
  const at = `${porthole.url}/containers/${container.id}`;
  await page.goto(at);
  const panel = page.locator("#isolation");
  await panel.locator("table").waitFor();
  const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  const row = (name) => panel.locator("tr", { hasText: name });
  assert.equal((await row("Boot id").textContent()).split(boot).length - 1, 2, "inside and outside");
  assert.match(await row("Boot id").textContent(), /same/);
  assert.match(await row("Host name").textContent(), /inner-host.*different/s);
  await panel.getByText("settimeofday(NULL, NULL)").waitFor();

  await page.goto(`${at}/mounts`);
  await page.locator("#detail table").first().waitFor();
  const points = execFileSync("findmnt", ["--task", String(init), "--noheadings", "--list", "--output", "TARGET"], { encoding: "utf8" });
  const shown = await page.locator("#detail td.what .cut").evaluateAll((all) => all.map((one) => one.textContent));
  assert.deepEqual([...shown].sort(), points.trim().split("\n").map((line) => line.trim()).sort());

  await page.goto(`${at}/network`);
  await page.locator("#detail table").first().waitFor();
  const links = JSON.parse(execFileSync("nsenter", ["--target", String(init), "--net", "ip", "-j", "link"], { encoding: "utf8" }));
  for (const link of links) await page.locator("#detail td.name b", { hasText: link.ifname }).first().waitFor();

  await page.goto(`${at}/security`);
  await page.locator("#detail .caps").first().waitFor();
  const bounding = BigInt(`0x${readFileSync(`/proc/${init}/status`, "utf8").match(/^CapBnd:\s+(\w+)/m)[1]}`);
  const number = bounding.toString(2).replaceAll("0", "").length;
  assert.equal(await page.locator("#detail .caps:not(.dropped) li").count(), number);
});

test("Docker's are named, grouped, stopped, started, paused and removed by Docker", { timeout: 180_000 }, async (t) => {
  if (docker === null) return t.skip("this machine has no Docker");
  const { page } = await person(t);
  const labels = ["--label", "com.docker.compose.project=shop", "--label", "com.docker.compose.service=web"];
  const id = docker.run(["--name", "shop-web", ...labels, "--env", "PASSWORD=hunter2"], ["sh", "-c", "echo out; echo err >&2; exec sleep 1000000"]);
  const state = () => docker.docker("inspect", "--format", "{{.State.Status}}", id);
  await page.goto(`${porthole.url}/containers`);
  const row = page.locator(`#c-${id}`);
  await row.getByRole("link", { name: "shop-web", exact: true }).waitFor();
  await row.getByRole("link", { name: "project shop" }).click();
  await page.waitForURL("**group=shop");
  assert.equal(await page.locator("#rows tr").count(), 1);

  await page.goto(`${porthole.url}/containers/shop-web/logs`);
  await page.locator("#log .stdout", { hasText: "out" }).waitFor();
  await page.locator("#log .stderr", { hasText: "err" }).waitFor();

  await page.goto(`${porthole.url}/containers/shop-web`);
  assert.ok(!(await page.content()).includes("hunter2"), "variables are not in the page");
  await page.getByText("Variables").click();
  await page.getByText("hunter2").waitFor();
  for (const [button, word, docker] of [["Pause", "paused", "paused"], ["Unpause", "running", "running"], ["Stop", "exited", "exited"], ["Start", "running", "running"]]) {
    await page.getByRole("button", { name: `${button} shop-web` }).click();
    await page.locator(`#head .state.${word}`).waitFor({ timeout: 30_000 });
    assert.equal(state(), docker, button);
    if (button !== "Pause") continue;
    await page.goto(`${porthole.url}/containers/shop-web/terminal`);
    await page.getByText("is paused").waitFor();
    await page.goto(`${porthole.url}/containers/shop-web`);
  }
  const terminal = await Terminal.open(page, porthole, "shop-web");
  assert.deepEqual(await terminal.run("echo $PASSWORD; id -u"), ["hunter2", "0"]);

  await page.goto(`${porthole.url}/containers/shop-web`);
  await page.getByRole("button", { name: "Remove shop-web" }).click();
  await page.getByText("It is running: every process and terminal in it is killed.").waitFor();
  await page.locator("#confirm [data-yes]").click();
  await page.waitForURL(`${porthole.url}/containers`);
  assert.throws(() => docker.docker("inspect", id));
});

test("without a shell the tools of an image are offered", { timeout: 60_000 }, async (t) => {
  if (docker === null) return t.skip("this machine has no Docker");
  const { page } = await person(t);
  docker.run(["--name", "bare"], ["/bin/busybox", "sleep", "1000000"], "porthole-test-bare");
  await until("it is known", () => porthole.api("GET", "/containers/bare").catch(() => null));
  await page.goto(`${porthole.url}/containers/bare/terminal`);
  await page.getByText("the container has no shell").waitFor();
  await page.getByRole("button", { name: "Open with tools of an image" }).click();
  await page.locator("#opener select[name=toolbox]").selectOption("busybox");
  const terminal = new Terminal(page);
  await page.getByRole("button", { name: "Open", exact: true }).click();
  await terminal.live();
  await until("a prompt", () => /[#$]/.test(terminal.recorder.text));
  const written = await terminal.run("ls /target/bin");
  assert.deepEqual(written.join(" ").split(/\s+/).filter(Boolean).sort(), ["busybox", "sleep"]);
});

test("an engine that hangs costs a line, and comes back", { timeout: 120_000 }, async (t) => {
  if (docker === null) return t.skip("this machine has no Docker");
  const { page } = await person(t);
  docker.run(["--name", "stays"], ["sleep", "1000000"]);
  await page.goto(`${porthole.url}/containers`);
  await page.getByRole("link", { name: "stays", exact: true }).waitFor();
  docker.freeze(true);
  t.after(() => docker.freeze(false));
  await page.locator("#engines .notice", { hasText: "does not answer" }).waitFor({ timeout: 60_000 });
  await page.getByRole("link", { name: "stays", exact: true }).waitFor();
  await page.goto(`${porthole.url}/containers/stays`);
  await page.locator("#unmanaged", { hasText: "does not answer" }).waitFor();
  assert.equal(await page.getByRole("button", { name: "Stop stays" }).count(), 0);
  docker.freeze(false);
  await page.getByRole("button", { name: "Stop stays" }).waitFor({ timeout: 60_000 });
});

for (const { theme, width } of [{ theme: "dark", width: 1280 }, { theme: "light", width: 390 }]) {
  test(`a screen reader and a narrow screen find nothing in their way: ${theme}, ${width} px`, { timeout: 120_000 }, async (t) => {
    const { window, page } = await person(t, { colorScheme: theme, viewport: { width, height: 800 } });
    const { init } = await unshared();
    const container = await ofInit(init);
    const inspect = async (name) => {
      const wider = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(wider <= 0, `${name} scrolls ${wider} px sideways`);
      assert.deepEqual(await new AxeBuilder(page).violations(), [], name);
      assert.deepEqual(window.errors, [], name);
    };
    await page.goto(`${porthole.url}/containers`);
    await inspect("the list");
    for (const [tab, loaded] of [["", "#isolation table"], ["/mounts", "#detail table"], ["/network", "#detail table"], ["/security", "#detail .caps"], ["/logs", ".empty"]]) {
      await page.goto(`${porthole.url}/containers/${container.id}${tab}`);
      await page.locator(loaded).first().waitFor();
      await inspect(tab);
    }
    const terminal = await Terminal.open(page, porthole, container.id);
    await terminal.live();
    await page.locator(".t-about:visible summary").click();
    await inspect("the terminal's report");
  });
}
