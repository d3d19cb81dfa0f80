// The commands that a page shows do what its buttons do: they are copied out of it and run.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import test from "node:test";
import { AxeBuilder } from "../harness/axe.mjs";
import { openWindow, until } from "../harness/browser.mjs";
import { signIn } from "../harness/person.mjs";
import { browser, porthole, stage } from "../harness/stage.mjs";

let page;
let window;
let token;
let container;

stage({ webgl: false }, async () => {
  container = await porthole.create({ name: "web", image: "busybox", command: ["sleep", "1000000"] });
  token = (await porthole.api("POST", "/tokens", { name: "commands" })).token;
  window = await openWindow(browser);
  page = await signIn(window, porthole);
});

/** What the page's dialog says does this. */
async function command(does) {
  const row = page.locator("#commands .commands > div", { has: page.getByText(does, { exact: true }) });
  return row.locator("pre").textContent();
}

const run = (line) => execFileSync("sh", ["-c", line], { env: { ...process.env, TOKEN: token }, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });

test("the kernel's own way in leads into the container", async () => {
  await page.goto(`${porthole.url}/containers/web`);
  await page.keyboard.press("c");
  const dialog = page.getByRole("dialog", { name: "The same from a command line" });
  await dialog.waitFor();
  assert.equal(await dialog.locator(":scope > div").first().evaluate((list) => list.scrollTop), 0);
  assert.deepEqual(await new AxeBuilder(page).violations(), []);
  const enter = await command("Terminal, by the kernel alone");
  assert.match(enter, new RegExp(`--target ${container.pid} `));
  const [hostname, first] = run(`${enter} -c 'hostname; cat /proc/1/comm'`).trim().split("\n");
  assert.equal(hostname, "web");
  assert.equal(first, run(`cat /proc/${container.pid}/comm`).trim());
});

test("a session that was opened by its command is ended by the terminal's", async () => {
  const opened = JSON.parse(run(await command("Terminal")));
  await page.goto(`${porthole.url}/containers/web/terminal?session=${opened.id}`);
  await until("the terminal is live", async () => (await page.locator(".t-state").textContent()) === "live");
  // In a terminal every key is the shell's: the button is there.
  await page.getByRole("link", { name: "The same from a command line" }).click();
  await page.getByRole("dialog").waitFor();
  assert.equal(JSON.parse(run(await command("The session"))).viewers.length, 1);
  run(await command("End the session"));
  await until("it has ended", async () => (await page.locator(".t-state").textContent()).startsWith("ended"));
});

test("a container is stopped, started and removed by the commands of its page", async () => {
  for (const [does, state] of [["Stop", "exited"], ["Start", "running"]]) {
    await page.goto(`${porthole.url}/containers/web`);
    await page.keyboard.press("c");
    await page.getByRole("dialog").waitFor();
    run(await command(does));
    await until(state, async () => (await porthole.api("GET", "/containers/web")).state === state, { within: 20_000 });
  }
  run(await command("Remove"));
  await assert.rejects(porthole.api("GET", "/containers/web"), /404/);
});

test("without scripts they are a page", async (t) => {
  const bare = await browser.newContext({ javaScriptEnabled: false, storageState: await window.storageState() });
  t.after(() => bare.close());
  const page = await bare.newPage();
  await page.goto(`${porthole.url}/settings`);
  await page.getByRole("link", { name: "The same from a command line" }).click();
  await page.getByText("porthole admin reset-password").waitFor();
});
