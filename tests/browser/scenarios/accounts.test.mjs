// An administrator gives somebody a new password: it is shown once, whoever had the account is out
// at once, and the one who is told the new one is in again.

import assert from "node:assert/strict";
import test, { after, before } from "node:test";
import { openBrowser, openWindow, until } from "../harness/browser.mjs";
import { signIn, Terminal } from "../harness/person.mjs";
import { PASSWORD, Porthole } from "../harness/porthole.mjs";

let browser;
let porthole;

before(async () => {
  browser = await openBrowser({ webgl: false });
  porthole = await Porthole.start();
  await porthole.api("POST", "/users", { user: "ada", password: PASSWORD, role: "admin" });
});

after(async () => {
  await browser?.close();
  await porthole?.stop();
});

async function open(t) {
  const window = await openWindow(browser);
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

test("a reset password signs its account out within a second, and is the only one", { timeout: 90_000 }, async (t) => {
  const ada = await signInAs(await open(t), "ada", PASSWORD);
  await ada.waitForURL(`${porthole.url}/containers**`);
  await porthole.create({ name: "adas", image: "busybox", command: ["sleep", "1000000"] });
  const terminal = await Terminal.open(ada, porthole, "adas");
  // Its page goes to where one signs in.
  const { session } = terminal;

  const admin = await signIn(await open(t), porthole);
  await admin.goto(`${porthole.url}/settings`);
  const row = admin.getByRole("row").filter({ hasText: "ada" });
  await row.getByRole("button", { name: "Reset password" }).click();
  await admin.getByRole("dialog", { name: "Reset the password of ada?" }).getByRole("button", { name: "Cancel" }).click();
  assert.equal(await terminal.state(), "live", "the control: asking changes nothing");
  await row.getByRole("button", { name: "Reset password" }).click();
  const begun = Date.now();
  await admin.getByRole("button", { name: "Reset it" }).click();
  await until("the terminal's connection ends", async () => (await terminal.state()) === "not connected", { within: 5_000 });
  t.diagnostic(`the terminal was closed ${Date.now() - begun} ms after the click, hashing among it`);
  await ada.getByRole("heading", { name: "Signed out" }).waitFor();
  const made = (await admin.locator("#fresh-password").textContent()).trim();
  assert.match(made, /^[a-z2-9]{5}(-[a-z2-9]{5}){3}$/);
  await admin.goto(`${porthole.url}/settings`);
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
  await admin.goto(`${porthole.url}/settings`);
  assert.equal(await admin.getByRole("row").filter({ hasText: "you" }).getByRole("button").count(), 0);
  await admin.getByLabel("Password now").fill("not this one");
  await admin.getByLabel("New password").fill("another fine horse");
  await admin.getByRole("button", { name: "Change it" }).click();
  await admin.locator(".field", { has: admin.getByLabel("Password now") }).getByRole("alert").waitFor();
  assert.equal(await admin.getByLabel("Password now").getAttribute("aria-invalid"), "true");
});
