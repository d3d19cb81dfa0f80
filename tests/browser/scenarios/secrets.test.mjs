// A whole run through everything that has a secret: first start, token, change and reset of a
// password, terminal, signing out and in. Afterwards no secret stands in an address that the browser
// asked for, in a line of the log at its most talkative, or in what is kept on disk. Beside each
// stands a control: the same search finds a secret where there is one.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { openWindow, until } from "../harness/browser.mjs";
import { Terminal } from "../harness/person.mjs";
import { ADMIN, PASSWORD } from "../harness/porthole.mjs";
import { browser, porthole, stage } from "../harness/stage.mjs";
import { story } from "../harness/story.mjs";

const step = story();
const NEW = "another fine horse of mine";
const TYPED = "typed-into-a-shell-8d1f";

const secrets = new Map([["password", PASSWORD], ["new password", NEW], ["what was typed", TYPED]]);
const addresses = [];

let window;
let page;

stage({ webgl: false, account: false, env: { PORTHOLE_LOG: "trace" } }, async () => {
  window = await openWindow(browser);
  window.on("request", (request) => addresses.push(request.url(), request.headers().referer ?? ""));
  page = await window.newPage();
  page.on("websocket", (socket) => addresses.push(socket.url()));
});

/** The names of the secrets that stand in a text, as they are or as addresses and headers write them. */
function found(text) {
  const written = (secret) => [secret, encodeURIComponent(secret), secret.replaceAll(" ", "+"), Buffer.from(secret).toString("base64")];
  return [...secrets].filter(([, secret]) => written(secret).some((form) => text.includes(form))).map(([name]) => name);
}

async function keepCookie(name) {
  const cookie = (await window.cookies()).find((cookie) => cookie.name.includes("porthole"));
  assert.ok(cookie.value.length >= 32, "a cookie");
  secrets.set(name, cookie.value);
}

async function signIn(password) {
  await page.goto(`${porthole.url}/login`);
  await page.getByLabel("Account name").fill(ADMIN);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Sign in" }).click();
}

step("the first start, by the code behind #", async () => {
  const code = await porthole.setupCode();
  secrets.set("setup code", code);
  await page.goto(`${porthole.url}/setup#${code}`);
  await until("the code is taken out of the address", () => new URL(page.url()).hash === "");
  await page.getByLabel("Account name").fill(ADMIN);
  await page.getByLabel("Password").fill(PASSWORD);
  await page.getByRole("button", { name: "Make the account" }).click();
  await page.waitForURL(`${porthole.url}/containers**`);
  await keepCookie("first cookie");
  await porthole.signIn(PASSWORD);
});

step("a terminal", async () => {
  await porthole.create({ name: "work", image: "busybox", command: ["sleep", "1000000"] });
  const terminal = await Terminal.open(page, porthole, "work");
  await terminal.type("read -s x");
  await terminal.type(TYPED);
  assert.deepEqual(await terminal.run("echo ${#x}"), [String(TYPED.length)]);
  await porthole.api("DELETE", `/sessions/${terminal.session}`);
});

step("a token, made and used", async () => {
  await page.goto(`${porthole.url}/settings`);
  await page.getByLabel("What it is for").fill("a program");
  await page.getByRole("button", { name: "New token" }).click();
  const token = (await page.locator("#fresh").textContent()).trim();
  secrets.set("token", token);
  const answer = await fetch(`${porthole.url}/api/v1/containers`, { headers: { Authorization: `Bearer ${token}` } });
  assert.equal(answer.status, 200);
});

step("another's password, reset", async () => {
  await page.goto(`${porthole.url}/settings/users`);
  await page.locator("#new-user").fill("ada");
  await page.locator("#new-user-password").fill(PASSWORD);
  await page.getByRole("button", { name: "Make it" }).click();
  await page.getByRole("link", { name: "ada", exact: true }).click();
  await page.getByRole("button", { name: "Reset password" }).click();
  await page.getByRole("button", { name: "Reset it" }).click();
  secrets.set("password made up", (await page.locator("#fresh-password").textContent()).trim());
});

step("another password, signing out, a wrong one, signing in", async () => {
  await page.goto(`${porthole.url}/settings`);
  await page.getByLabel("Password now").fill(PASSWORD);
  await page.getByLabel("New password").fill(NEW);
  await page.getByRole("button", { name: "Change it" }).click();
  await page.getByRole("status").filter({ hasText: "Your password is another now" }).waitFor();
  await page.locator("main").getByRole("button", { name: "Sign out" }).click();
  await page.waitForURL(`${porthole.url}/login**`);
  await signIn(PASSWORD);
  await page.getByRole("alert").first().waitFor();
  await signIn(NEW);
  await page.waitForURL(`${porthole.url}/containers**`);
  await keepCookie("last cookie");
  await porthole.signIn(NEW);
});

step("no address holds a secret", async () => {
  assert.ok(addresses.some((address) => address.startsWith("ws:") && address.includes("/attach")), "the terminal's is among them");
  assert.deepEqual(found(addresses.join("\n")), []);
  assert.equal(new URL(page.url()).hash, "");
  await page.goto(`${porthole.url}/login?password=${encodeURIComponent(NEW)}`);
  assert.deepEqual(found(addresses.join("\n")), ["new password"], "the control");
});

step("no line of the log holds a secret, and a query is not written down", async () => {
  assert.match(porthole.log(), /"status":\d+/, "requests are in it");
  assert.deepEqual(found(porthole.log()), []);
  // A path is: whoever puts a secret there finds it in the log.
  await fetch(`${porthole.url}/api/v1/${secrets.get("token")}`);
  await until("the control", () => found(porthole.log()).join() === "token");
});

step("nothing on disk holds a secret but as a hash", async () => {
  const server = join(porthole.root, "server");
  const files = readdirSync(server, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const text = files.map((entry) => readFileSync(join(entry.parentPath, entry.name), "latin1")).join("\n");
  assert.match(text, /argon2id/, "the accounts are among it");
  assert.deepEqual(found(text), []);
  assert.deepEqual(found(`${text}\n${NEW}`), ["new password"], "the control");
});
