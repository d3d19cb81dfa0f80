// Namespaces as a person finds them: real ones, three deep and without a process, compared with what
// the kernel and lsns say in the same moment.

import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { after, before } from "node:test";
import { AxeBuilder } from "../harness/axe.mjs";
import { openBrowser, openWindow, until } from "../harness/browser.mjs";
import * as host from "../harness/host.mjs";
import { signIn } from "../harness/person.mjs";
import { Porthole } from "../harness/porthole.mjs";

const TYPES = ["mnt", "uts", "ipc", "pid", "net", "user", "cgroup", "time"];

let browser;
let porthole;
let window;
let page;
let web;
const started = [];
const directory = mkdtempSync(join(tmpdir(), "porthole-namespaces-"));

/** A program of the test's own, ended with it. */
function start(command, ...args) {
  const child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
  child.said = "";
  child.stdout.on("data", (bytes) => (child.said += bytes));
  started.push(child);
  return child;
}

async function end(child) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  for (const pid of below(child.pid).reverse()) host.kill(pid);
  await ended;
}

/** A process and all that it started. */
const below = (pid) => [pid, ...host.children(pid).flatMap(below)];

const inode = (pid, type) => Number(/\d+/.exec(readlinkSync(`/proc/${pid}/ns/${type}`))[0]);

const lsns = (...args) => JSON.parse(execFileSync("lsns", ["--json", ...args], { encoding: "utf8" })).namespaces;

before(async () => {
  browser = await openBrowser();
  porthole = await Porthole.start();
  window = await openWindow(browser);
  page = await signIn(window, porthole);
  page.setDefaultTimeout(10_000);
  web = await porthole.create({ name: "web", image: "busybox", command: ["sleep", "100000"] });
  await porthole.create({ name: "sidecar", image: "busybox", command: ["sleep", "100000"], namespaces: { net: "container:web" } });
});

after(async () => {
  for (const child of started) await end(child);
  rmSync(directory, { recursive: true, force: true });
  await browser?.close();
  await porthole?.stop();
});

const open = (path) => page.goto(porthole.url + path);

/** What the table's rows say, by inode. */
function rows() {
  return page.locator("#rows tr[id^='n-']").evaluateAll((all) =>
    Object.fromEntries(
      all.map((row) => {
        const cell = (label) => row.querySelector(`[data-label="${label}"]`)?.textContent.trim() ?? "";
        const inode = row.id.slice("n-".length);
        return [inode, { type: row.querySelector(".chip").textContent, processes: cell("Processes"), leader: row.querySelector(".lvl")?.textContent ?? "", owner: cell("Owner"), parent: cell("Parent") }];
      }),
    ),
  );
}

test("the table says what lsns says", async () => {
  await open("/namespaces?all=on");
  // Both look at a host that goes on: what is compared is what stays the same around the page's look.
  const steady = await until("lsns and the page agree on who is there", async () => {
    const before = lsns("--output", "NS,TYPE,NPROCS,PID,ONS,PNS");
    const seen = await rows();
    const after = new Map(lsns("--output", "NS,TYPE,NPROCS,PID,ONS,PNS").map((one) => [one.ns, one]));
    const same = before.filter((one) => JSON.stringify(after.get(one.ns)) === JSON.stringify(one));
    const wrong = same.filter((one) => seen[one.ns]?.type !== one.type || (one.pid !== 1 && Number(seen[one.ns].processes) !== one.nprocs));
    return wrong.length === 0 && { seen, same };
  });
  assert.ok(steady.same.length >= 16, `two containers are there: ${steady.same.length}`);
  for (const one of steady.same) {
    const row = steady.seen[one.ns];
    assert.equal(row.leader, String(one.pid), `${one.type}:[${one.ns}]`);
    if (one.ons > 0) assert.match(row.owner, new RegExp(`^${one.ons}`));
    if (one.pns > 0) assert.equal(row.parent, String(one.pns));
  }
  assert.deepEqual(await new AxeBuilder(page).violations(), []);
});

test("what is made elsewhere is there within 200 ms, and focus and scroll stay", async () => {
  await page.setViewportSize({ width: 1280, height: 240 });
  await open("/namespaces?type=uts");
  await page.locator("#rows .name a").first().focus();
  await page.evaluate(() => scrollTo(0, 70));
  await page.evaluate(() => {
    globalThis.kept = document.activeElement;
    globalThis.appeared = new Map();
    new MutationObserver(() => {
      for (const row of document.querySelectorAll("#rows tr")) if (!globalThis.appeared.has(row.id)) globalThis.appeared.set(row.id, Date.now());
    }).observe(document.querySelector("#main"), { childList: true, subtree: true });
  });
  const times = [];
  for (let round = 0; round < 5; round += 1) {
    const child = start("unshare", "--uts", "sh", "-c", "date +%s%3N; exec cat");
    await until("it runs", () => /^\d+\n/.test(child.said));
    const id = `n-${inode(child.pid, "uts")}`;
    await page.locator(`#${id}`).waitFor();
    times.push((await page.evaluate((id) => globalThis.appeared.get(id), id)) - Number(child.said));
    await end(child);
    await page.locator(`#${id}`).waitFor({ state: "detached" });
  }
  // Of five the middle one: the machine that runs the tests does other things too.
  const middle = times.sort((a, b) => a - b)[2];
  assert.ok(middle <= 200, `${times} ms`);
  assert.ok(await page.evaluate(() => document.activeElement === globalThis.kept), "focus was lost");
  assert.equal(await page.evaluate(() => scrollY), 70);
  await page.setViewportSize({ width: 1280, height: 800 });
});

test("three deep by unshare, drawn three deep", async () => {
  const deepest = "exec sleep 100000";
  const one = (inner) => `exec unshare --user --map-root-user --pid --fork --mount-proc sh -c '${inner}'`;
  // Quoted once for each level that it passes.
  const script = `unshare --user --map-root-user --pid --fork --mount-proc sh -c "${one(`unshare --user --map-root-user --pid --fork --mount-proc ${deepest.slice(5)}`)}"`;
  const child = start("sh", "-c", script);
  const inner = await until("the innermost", () => below(child.pid).find((pid) => host.args(pid)[0] === "sleep"));
  const pids = host.pids(inner);
  assert.equal(pids.length, 4);
  await open("/namespaces?view=tree&q=" + inner);
  const row = page.locator(`#pid-tree #t-${inode(inner, "pid")}`);
  await row.waitFor();
  assert.equal(await row.locator("[data-label=Level]").textContent(), "3");
  assert.deepEqual(await row.locator(".lvl").allTextContents(), pids.map(String));
  assert.equal(await page.locator(`#user-tree #t-${inode(inner, "user")} [data-label=Level]`).textContent(), "3");
  // Its page, by a link, says the same from inside.
  await row.locator(".name a").click();
  await page.getByText(`${inner} sleep`).first().waitFor();
  await page.locator("#detail .nests").waitFor();
  assert.equal(await page.locator("#detail .nests rect").count(), 4);
  assert.deepEqual(await new AxeBuilder(page).violations(), []);
  await end(child);
  await page.locator("#gone").getByText("It is gone").waitFor();
});

test("a network namespace that only a mount holds is found, named and entered", async () => {
  // As ip netns add does, in a mount namespace of the test's own, so that the host sees no mount.
  mkdirSync(join(directory, "netns"));
  const child = start("unshare", "--mount", "sh", "-c", `mount --make-rprivate /; mkdir -p /run/netns; mount -t tmpfs none /run/netns; ip netns add blue && stat -c %i /run/netns/blue; exec cat`);
  await until("it is there", () => /^\d+\n/.test(child.said));
  const id = child.said.trim();
  await open("/namespaces?empty=on&type=net");
  const row = page.locator(`#n-${id}`);
  await row.waitFor();
  assert.match(await row.locator("[data-label='Kept by']").textContent(), /\/run\/netns\/blue/);
  const command = await row.getByRole("button", { name: /nsenter/ }).getAttribute("data-copy");
  const entered = execFileSync("sh", ["-c", `${command} readlink /proc/self/ns/net`], { encoding: "utf8" }).trim();
  assert.equal(entered, `net:[${id}]`);
  await row.locator(".name a").click();
  await page.locator("#kept").getByText("/run/netns/blue as seen by").waitFor();
  await page.locator("#detail").getByText("lo", { exact: true }).waitFor();
  await end(child);
  await page.locator("#gone").getByText("It is gone").waitFor();
});

test("a time namespace that only a descriptor holds", async () => {
  const child = start("unshare", "--time", "--boottime", "3600", "sh", "-c", "exec 9</proc/self/ns/time_for_children; readlink /proc/self/ns/time_for_children; exec cat");
  await until("it is there", () => /\d+/.test(child.said));
  const id = /\d+/.exec(child.said)[0];
  await open(`/namespaces/time/${id}`);
  await page.locator("#detail").getByText("+1 h 0 min 0.000 s").waitFor();
  await end(child);
});

test("the wires: a pair of veth from a bridge's port into another namespace", async () => {
  // The bridge is in a network namespace of the test's own, so that the host has no interface more.
  const inner = start("unshare", "--net", "sh", "-c", "ip link set lo up; echo ready; exec cat");
  await until("the inner namespace", () => inner.said.includes("ready"));
  const made = [
    "ip link add br-test type bridge",
    "ip addr add 10.77.0.1/24 dev br-test",
    `ip link add port0 master br-test type veth peer name eth0 netns ${inner.pid}`,
    "ip link set br-test up",
    "ip link set port0 up",
    `nsenter --net --target ${inner.pid} ip addr add 10.77.0.2/24 dev eth0`,
    `nsenter --net --target ${inner.pid} ip link set eth0 up`,
    "echo ready",
    "exec cat",
  ];
  const outer = start("unshare", "--net", "sh", "-ec", made.join("; "));
  await until("the bridge", () => outer.said.includes("ready"));
  await open(`/namespaces?view=wires&q=net:[${inode(outer.pid, "net")}]`);
  const drawing = page.locator("#detail svg");
  const line = (name) => drawing.locator(".row", { hasText: new RegExp(`${name}: `) });
  await line("port0").waitFor();
  assert.equal(await drawing.locator(".box").count(), 2, "what is searched for, and what is wired to it");
  assert.equal(await line("br-test").locator("text").textContent(), "br-test 10.77.0.1/24");
  assert.equal(await line("eth0").locator("text").textContent(), "eth0 10.77.0.2/24");
  assert.equal(await drawing.locator(".wires .bus").count(), 1, "from the bridge to its port");
  // The wire leads from the one's edge to the other's.
  const wire = await drawing.locator(".wires .pair").getAttribute("data-equal");
  assert.equal(await line("port0").getAttribute("data-equal"), wire);
  assert.equal(await line("eth0").getAttribute("data-equal"), wire);
  await page.getByText("The wires as a list (1)").click();
  await page.locator("#wires li").getByText(`port0, port of br-test, in cat ${outer.pid} to eth0 in cat ${inner.pid}`).waitFor();
  assert.deepEqual(await new AxeBuilder(page).violations(), []);
  // What changes is there without a reload, and what one has opened stays open.
  await page.evaluate(() => (window.unchanged = true));
  const pairs = (number) => until(`${number} wires`, async () => (await drawing.locator(".wires .pair").count()) === number);
  const inNet = (pid, ...words) => execFileSync("nsenter", ["--net", "--target", String(pid), "ip", "link", ...words]);
  inNet(outer.pid, "add", "port1", "type", "veth", "peer", "name", "eth1", "netns", String(inner.pid));
  await pairs(2);
  await page.locator("#wires li").getByText("port1").waitFor();
  inNet(inner.pid, "del", "eth0");
  await pairs(1);
  await page.locator("#wires li").getByText("port1").waitFor();
  assert.equal(await page.evaluate(() => window.unchanged), true);
  // While nothing changes it is read every ten seconds at most.
  await new Promise((resolve) => setTimeout(resolve, 1500));
  let reads = 0;
  const count = (request) => (reads += request.url().includes("/namespaces/wires") ? 1 : 0);
  page.on("request", count);
  await new Promise((resolve) => setTimeout(resolve, 5000));
  page.off("request", count);
  assert.ok(reads <= 5, `${reads} readings in five seconds`);
  inNet(outer.pid, "del", "port1");
  await pairs(0);
  assert.equal(await line("br-test").count(), 1);
  // One that has only loopback is a name in a line.
  await open(`/namespaces?view=wires&q=net:[${inode(inner.pid, "net")}]`);
  await page.locator("#bare").getByText(`1 network namespace has only loopback: cat ${inner.pid}.`).waitFor();
  await end(inner);
  await end(outer);
});

test("each of the eight is read inside", async () => {
  const inside = { mnt: "overlay", uts: "web", ipc: "Message queues", pid: "First process", net: "lo", user: "65535", cgroup: "porthole-", time: "Monotonic" };
  for (const type of TYPES) {
    await open(`/namespaces/${type}/${web.namespaces[type].inode}`);
    await page.locator("#detail").getByText(inside[type]).first().waitFor();
    assert.deepEqual(await new AxeBuilder(page).violations(), [], type);
  }
  const mounts = host.readText(`/proc/${web.pid}/mountinfo`).trim().split("\n");
  await open(`/namespaces/mnt/${web.namespaces.mnt.inode}`);
  await page.locator("#detail .mounts").waitFor();
  assert.equal(await page.locator("#detail .mounts tbody tr").count(), mounts.length);
});

test("who shares what: equal cells light together", async () => {
  await open("/namespaces?view=matrix");
  const shared = page.locator(`.sq[data-equal="${web.namespaces.net.inode}"]`);
  assert.equal(await shared.count(), 2);
  await shared.first().focus();
  await until("both are lit", async () => (await page.locator(".sq.lit").count()) === 2);
  assert.equal(new Set(await shared.locator("b").allTextContents()).size, 1, "one letter");
  await page.locator("#sharing li", { hasText: "sidecar and web share one net namespace" }).waitFor();
});

test("g and t lead to the graph and back, and what is there can be tabbed through", async () => {
  await open("/namespaces");
  await page.keyboard.press("g");
  await page.waitForURL("**/namespaces?view=graph");
  await page.locator("#graph .box").first().waitFor();
  await page.getByRole("link", { name: "web", exact: true }).waitFor();
  await page.keyboard.press("t");
  await page.waitForURL("**/namespaces");
  await page.keyboard.press("ArrowDown");
  assert.ok(await page.evaluate(() => document.activeElement.closest("#rows") !== null));
});

test("a namespace that is not there", async () => {
  await open("/namespaces/net/1");
  await page.getByText("There is no namespace net:[1] on this host now").waitFor();
  await open(`/namespaces/net/${web.namespaces.mnt.inode}`);
  await page.getByText("is a namespace of type mnt, not net").waitFor();
  await open("/namespaces/nonsense/1");
  await page.getByText("they are mnt uts ipc").waitFor();
});

for (const theme of ["dark", "light"]) {
  for (const width of [1280, 390]) {
    test(`every view: ${theme}, ${width} px`, async (t) => {
      const window = await openWindow(browser, { colorScheme: theme, viewport: { width, height: 800 } });
      t.after(() => window.close());
      const page = await signIn(window, porthole);
      mkdirSync(new URL("../results", import.meta.url), { recursive: true });
      const pages = [
        ["table", "/namespaces"],
        ["graph", "/namespaces?view=graph"],
        ["tree", "/namespaces?view=tree"],
        ["matrix", "/namespaces?view=matrix"],
        ["wires", "/namespaces?view=wires"],
        ["none", "/namespaces?q=nothing-is-like-this"],
        ["one-net", `/namespaces/net/${web.namespaces.net.inode}`],
        ["one-mnt", `/namespaces/mnt/${web.namespaces.mnt.inode}`],
        ["one-user", `/namespaces/user/${web.namespaces.user.inode}`],
      ];
      for (const [name, path] of pages) {
        await page.goto(porthole.url + path);
        if (name.startsWith("one-")) await page.locator("#detail .under, #detail table").first().waitFor();
        if (name === "wires") await page.getByRole("button", { name: "Read again" }).waitFor();
        const shot = new URL(`../results/host-namespaces-${name}-${theme}-${width}.png`, import.meta.url).pathname;
        await page.screenshot({ path: shot, fullPage: true });
        const wider = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(wider <= 0, `${name} scrolls ${wider} px sideways`);
        assert.deepEqual(await new AxeBuilder(page).violations(), [], name);
        assert.deepEqual(window.errors, [], name);
      }
    });
  }
}
