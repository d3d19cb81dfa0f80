// Terminals under load, shared, and without a tty, against a real Porthole.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import test from "node:test";
import { openWindow, terminalText, until } from "../harness/browser.mjs";
import { signIn, Terminal } from "../harness/person.mjs";
import { ADMIN, PASSWORD } from "../harness/porthole.mjs";
import { browser, porthole, stage } from "../harness/stage.mjs";

let container;

stage({ webgl: false }, async () => {
  container = await porthole.create({ name: "work", image: "busybox", command: ["sleep", "1000000"] });
});

async function open(t, options) {
  const window = await openWindow(browser, options);
  t.after(() => window.close());
  const page = await signIn(window, porthole);
  return { window, page, terminal: await Terminal.open(page, porthole, "work") };
}

const paste = (page, text) =>
  page.evaluate((pasted) => {
    const data = new DataTransfer();
    data.setData("text/plain", pasted);
    document.activeElement.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
  }, text);

test("a paste of a megabyte arrives whole, in order, though the server is killed before it begins", { timeout: 120_000 }, async (t) => {
  const { page, terminal } = await open(t);
  const text = Array.from({ length: 16_384 }, (_, line) => `${String(line).padStart(8, "0")}${"x".repeat(55)}\n`).join("");
  await terminal.type("cat > /tmp/paste");
  await porthole.kill("server");
  await until("the page knows", async () => (await terminal.state()) !== "live").catch(() => undefined);
  await paste(page, text);
  await terminal.live();
  const file = `/proc/${container.pid}/root/tmp/paste`;
  await until("it is written", () => existsSync(file) && readFileSync(file).length >= text.length, { within: 60_000 });
  await page.keyboard.press("Control+D");
  const hash = (bytes) => createHash("sha256").update(bytes).digest("hex");
  assert.equal(hash(readFileSync(file)), hash(text));
  assert.deepEqual(await terminal.run("wc -c < /tmp/paste"), [String(text.length)]);
});

test("a flood stops at Control C, and keys are answered again at once", { timeout: 60_000 }, async (t) => {
  const { page, terminal } = await open(t);
  await terminal.type("yes $((6*7)) flooding");
  await until("the flood", () => terminal.recorder.end > 2_000_000, { within: 30_000 });
  const begun = Date.now();
  await page.keyboard.press("Control+C");
  await until("the prompt", async () => /# *$/.test((await terminalText(page)).trimEnd()), { within: 20_000 });
  t.diagnostic(`the prompt came ${Date.now() - begun} ms after Control C`);
  assert.deepEqual(await terminal.run("echo calm"), ["calm"]);
});

test("two windows share a session: one sets the size, the other may take over", { timeout: 60_000 }, async (t) => {
  const { terminal } = await open(t, { viewport: { width: 1200, height: 700 } });
  const window = await openWindow(browser, { viewport: { width: 800, height: 500 } });
  t.after(() => window.close());
  const other = await signIn(window, porthole);
  await other.goto(`${porthole.url}/containers/work/terminal?session=${terminal.session}`);
  const line = () => other.locator(".t-status").textContent();
  const watching = (page) => page.locator(".t-watching").textContent();
  await until("both are there", async () => (await watching(other)) === `2 watching, ${ADMIN} drives`);
  await until("who drives is told so", async () => (await watching(terminal.page)) === "2 watching, you drive");
  const list = await other.context().newPage();
  await list.goto(`${porthole.url}/sessions`);
  const row = list.locator(`#s-${terminal.session}`);
  await until("the list says it", async () => (await row.textContent()).includes(`2, ${ADMIN} drives`));
  assert.match(await line(), /another window's size/);
  const [rows, cols] = (await terminal.run("stty size"))[0].split(" ").map(Number);
  await until("the other shows it", async () => (await line()).includes(`${cols}×${rows}`));
  await other.getByRole("button", { name: "Use my size" }).click();
  await until("its own size", async () => !(await line()).includes("another window's size"));
  await until("the shell has it", async () => {
    const [now] = await terminal.run("stty size");
    return (await line()).includes(now.split(" ").reverse().join("×"));
  });
  assert.match(await terminal.page.locator(".t-status").textContent(), /another window's size/);
  await other.locator(".xterm-helper-textarea").focus();
  await other.keyboard.type("echo from-the-other\n");
  await until("both see it", async () => /from-the-other\n/.test(await terminalText(terminal.page)) && /from-the-other\n/.test(await terminalText(other)));
});

test("who may only look sees the terminal and types nothing into it", { timeout: 60_000 }, async (t) => {
  const { terminal } = await open(t);
  await terminal.run("echo look-at-this");
  await porthole.api("POST", "/users", { user: "watcher", password: PASSWORD, role: "viewer" });
  const window = await openWindow(browser);
  t.after(() => window.close());
  const page = await window.newPage();
  await page.goto(`${porthole.url}/login`);
  await page.getByLabel("Account name").fill("watcher");
  await page.getByLabel("Password").fill(PASSWORD);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.waitForURL(`${porthole.url}/containers**`);
  await page.goto(`${porthole.url}/containers/work/terminal?session=${terminal.session}`);
  // Whether a viewer may look at another's session is the server's rule; either way it cannot type.
  await until("it is told", async () => (await page.locator(".t-state").textContent()) !== "connecting");
  await page.keyboard.type("echo typed-by-the-watcher\n");
  await terminal.run("true");
  assert.ok(!terminal.recorder.text.includes("typed-by-the-watcher"));
  t.diagnostic(`the page says: ${await page.locator(".t-state").textContent()} ${await page.locator(".t-message").textContent()}`);
});

test("a session without a terminal takes lines and their end, and marks errors", { timeout: 60_000 }, async (t) => {
  const { page } = await open(t);
  const session = await porthole.api("POST", `/containers/${container.id}/sessions`, { command: ["sh", "-c", "echo oops >&2; cat; exit 7"], tty: false });
  await page.goto(`${porthole.url}/containers/work/terminal?session=${session.id}`);
  const marked = page.locator(".t-panel:not([hidden]) .xterm-rows span", { hasText: "oops" });
  await marked.waitFor();
  await page.keyboard.type("a line");
  await page.keyboard.press("Enter");
  await until("cat gives it back", async () => /a line\na line/.test(await terminalText(page)));
  await page.keyboard.press("Control+D");
  await until("its end", async () => (await page.locator(".t-state").textContent()) === "ended (exit code 7)");
});

test("a session that someone else ends says so", { timeout: 60_000 }, async (t) => {
  const { page, terminal } = await open(t);
  await porthole.api("DELETE", `/sessions/${terminal.session}`);
  await until("the end", async () => (await terminal.state()).startsWith("ended"));
  assert.match(await page.locator(".t-notice").textContent(), /Enter starts a new one/);
});
