// Accounts as administrators change them: a password that is reset and shown once, a role taken
// away in mid-session, two who change one account, an account that is disabled and one that is
// deleted with what it has.

import assert from "node:assert/strict";
import test from "node:test";
import { AxeBuilder } from "../harness/axe.mjs";
import { openWindow, until } from "../harness/browser.mjs";
import { signIn, Terminal } from "../harness/person.mjs";
import { PASSWORD } from "../harness/porthole.mjs";
import { browser, porthole, stage } from "../harness/stage.mjs";

stage({ webgl: false }, async () => {
  await porthole.api("POST", "/users", { user: "ada", password: PASSWORD, role: "admin" });
});

async function open(t, options) {
  const window = await openWindow(browser, options);
  t.after(() => window.close());
  return window;
}

async function signInAs(window, name, password) {
  const page = await window.newPage();
  await page.goto(`${porthole.url}/login`);
  await page.getByLabel("Account name").fill(name);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Sign in" }).click();
  return page;
}

const account = (name) => `${porthole.url}/settings/users/${name}`;

test("a reset password signs its account out within a second, and is the only one", { timeout: 90_000 }, async (t) => {
  const ada = await signInAs(await open(t), "ada", PASSWORD);
  await ada.waitForURL(`${porthole.url}/containers**`);
  await porthole.create({ name: "adas", image: "busybox", command: ["sleep", "1000000"] });
  const terminal = await Terminal.open(ada, porthole, "adas");
  // Its page goes to where one signs in.
  const { session } = terminal;

  const admin = await signIn(await open(t), porthole);
  await admin.goto(`${porthole.url}/settings/users`);
  await admin.getByRole("link", { name: "ada", exact: true }).click();
  await admin.getByRole("button", { name: "Reset password" }).click();
  await admin.getByRole("dialog", { name: "Reset the password of ada?" }).getByRole("button", { name: "Cancel" }).click();
  assert.equal(await terminal.state(), "live", "the control: asking changes nothing");
  await admin.getByRole("button", { name: "Reset password" }).click();
  const begun = Date.now();
  await admin.getByRole("button", { name: "Reset it" }).click();
  await until("the terminal's connection ends", async () => (await terminal.state()) === "not connected", { within: 5_000 });
  t.diagnostic(`the terminal was closed ${Date.now() - begun} ms after the click, hashing among it`);
  // The terminal says so, until the page's stream of changes sends all of it to where one signs in.
  await ada.getByRole("heading", { name: /^(Signed out|Sign in)$/ }).waitFor();
  const made = (await admin.locator("#fresh-password").textContent()).trim();
  assert.match(made, /^[a-z2-9]{5}(-[a-z2-9]{5}){3}$/);
  await admin.goto(account("ada"));
  assert.equal(await admin.locator("#fresh-password").count(), 0, "it is shown this once");

  const again = await open(t);
  const refused = await signInAs(again, "ada", PASSWORD);
  await refused.getByRole("alert").first().waitFor();
  const back = await signInAs(again, "ada", made);
  await back.waitForURL(`${porthole.url}/containers**`);
  await back.goto(`${porthole.url}/containers/adas/terminal?session=${session}`);
  await new Terminal(back).live();
  await porthole.api("DELETE", `/sessions/${session}`);
});

test("one's own password is not reset but changed, and a wrong one is said where it was typed", async (t) => {
  const admin = await signIn(await open(t), porthole);
  await admin.goto(account("admin"));
  assert.equal(await admin.getByRole("button", { name: "Reset password" }).count(), 0);
  assert.equal(await admin.getByLabel("Role").count(), 0, "nor is one's own role one's own to change");
  await admin.goto(`${porthole.url}/settings`);
  await admin.getByLabel("Password now").fill("not this one");
  await admin.getByLabel("New password").fill("another fine horse");
  await admin.getByRole("button", { name: "Change it" }).click();
  await admin.locator(".field", { has: admin.getByLabel("Password now") }).getByRole("alert").waitFor();
  assert.equal(await admin.getByLabel("Password now").getAttribute("aria-invalid"), "true");
});

test("a role taken away on the page ends an open terminal within a second", { timeout: 60_000 }, async (t) => {
  await porthole.api("POST", "/users", { user: "rose", password: PASSWORD, role: "admin" });
  const rose = await signInAs(await open(t), "rose", PASSWORD);
  await rose.waitForURL(`${porthole.url}/containers**`);
  await porthole.create({ name: "roses", image: "busybox", command: ["sleep", "1000000"] });
  const terminal = await Terminal.open(rose, porthole, "roses");
  const { session } = terminal;
  const { closed } = terminal.recorder;
  const admin = await signIn(await open(t), porthole);
  await admin.goto(account("rose"));
  await admin.getByLabel("Role").selectOption("user");
  assert.equal(terminal.recorder.closed, closed, "the control: choosing changes nothing");
  const begun = Date.now();
  await admin.getByRole("button", { name: "Save" }).click();
  await until("the terminal's connection ends", () => terminal.recorder.closed > closed, { within: 5_000 });
  t.diagnostic(`the terminal was closed ${Date.now() - begun} ms after the click`);
  await admin.getByText("It is changed.").waitFor();
  await porthole.api("DELETE", `/sessions/${session}`);
});

test("of two administrators the second is told, and loses nothing that was typed", async (t) => {
  await porthole.api("POST", "/users", { user: "eve", password: PASSWORD, role: "user" });
  const first = await signIn(await open(t), porthole);
  const second = await signIn(await open(t, { viewport: { width: 390, height: 800 } }), porthole);
  for (const page of [first, second]) await page.goto(account("eve"));
  await first.getByLabel("Containers", { exact: true }).fill("3");
  await first.getByRole("button", { name: "Save" }).click();
  await first.getByText("It is changed.").waitFor();
  await second.getByLabel("Containers", { exact: true }).fill("9");
  await second.getByLabel("Memory of all containers").fill("2 GiB");
  await second.getByLabel("Role").selectOption("viewer");
  await second.getByRole("button", { name: "Save" }).click();
  await second.getByRole("alert").filter({ hasText: "Somebody else has changed" }).waitFor();
  assert.equal(await second.getByLabel("Containers", { exact: true }).inputValue(), "9");
  assert.equal(await second.getByLabel("Memory of all containers").inputValue(), "2 GiB");
  assert.equal(await second.getByLabel("Role").inputValue(), "viewer");
  await second.getByText("now set: 3").waitFor();
  assert.deepEqual(await new AxeBuilder(second).violations(), []);
  assert.deepEqual((await porthole.api("GET", "/users/eve")).limits, { containers: 3 });
  await second.getByRole("button", { name: "Save" }).click();
  await second.getByText("It is changed.").waitFor();
  assert.deepEqual((await porthole.api("GET", "/users/eve")).limits, { containers: 9, memory: 2 ** 31 });
});

test("what is disabled and what is deleted is said before it is done", { timeout: 60_000 }, async (t) => {
  await porthole.api("POST", "/users", { user: "gus", password: PASSWORD, role: "user" });
  const gus = await signInAs(await open(t), "gus", PASSWORD);
  await gus.waitForURL(`${porthole.url}/containers**`);
  await gus.goto(`${porthole.url}/containers/new`);
  await gus.locator("label", { has: gus.locator('input[name=image][value="busybox"]') }).click();
  await gus.getByLabel("Name", { exact: true }).fill("of-gus");
  await gus.getByLabel("Command", { exact: true }).fill("sleep 1000000");
  await gus.getByText("What you have").waitFor();
  await gus.getByRole("button", { name: "Create and start" }).click();
  await gus.waitForURL(`${porthole.url}/containers/of-gus`);
  const { id } = await porthole.api("GET", "/containers/of-gus");

  const admin = await signIn(await open(t), porthole);
  await admin.goto(account("gus"));
  await admin.getByText("What it runs goes on: 1 container and 0 sessions.").waitFor();
  await admin.getByLabel(/^Disabled/).check();
  await admin.getByRole("button", { name: "Save" }).click();
  await admin.getByText("It is changed.").waitFor();
  // The page that is open goes there by itself, maybe in this moment.
  await gus.goto(`${porthole.url}/containers`).catch(() => undefined);
  await gus.waitForURL(`${porthole.url}/login**`);
  const told = await signInAs(await open(t), "gus", PASSWORD);
  await told.getByText("This account is disabled").waitFor();
  assert.equal((await porthole.api("GET", `/containers/${id}`)).state, "running");

  await admin.getByRole("link", { name: "Delete…" }).click();
  await admin.getByText("Its container is removed with everything in it").waitFor();
  await admin.getByRole("link", { name: "of-gus" }).waitFor();
  await admin.getByRole("link", { name: "Cancel" }).click();
  assert.equal((await porthole.api("GET", "/users/gus")).name, "gus", "the control: asking changes nothing");
  await admin.getByRole("link", { name: "Delete…" }).click();
  await admin.getByRole("button", { name: "Delete it and its container" }).click();
  await admin.getByText("The account gus is deleted, and 1 container with it.").waitFor();
  await assert.rejects(porthole.api("GET", `/containers/${id}`), /404/);
  await assert.rejects(porthole.api("GET", "/users/gus"), /404/);
});
