// What concerns oneself: where one is signed in, tokens, what one has and may have. With scripts and
// without, at a desk's width and a phone's.

import assert from "node:assert/strict";
import test from "node:test";
import { AxeBuilder } from "../harness/axe.mjs";
import { openWindow, until } from "../harness/browser.mjs";
import { signIn, Terminal } from "../harness/person.mjs";
import { PASSWORD } from "../harness/porthole.mjs";
import { browser, porthole, results, stage } from "../harness/stage.mjs";

stage({ webgl: false });

async function open(t, options) {
  const window = await openWindow(browser, options);
  t.after(() => window.close());
  return window;
}

test("a sign-in is ended from another browser, and its terminal with it", { timeout: 60_000 }, async (t) => {
  await porthole.create({ name: "mine", image: "busybox", command: ["sleep", "1000000"] });
  const elsewhere = await signIn(await open(t, { userAgent: "Mozilla/5.0 (Android 16) Firefox/150.0" }), porthole);
  const terminal = await Terminal.open(elsewhere, porthole, "mine");
  const { session } = terminal;
  const here = await signIn(await open(t), porthole);
  await here.goto(`${porthole.url}/settings`);
  const rows = here.locator("#sign-ins tbody tr");
  assert.match(await rows.first().textContent(), /this one/);
  const row = rows.filter({ hasText: "Firefox on Android" });
  await row.getByText("127.0.0.1").waitFor();
  await row.getByRole("button", { name: /End/ }).click();
  await here.getByRole("dialog").getByRole("button", { name: "Cancel" }).click();
  assert.equal(await terminal.state(), "live", "the control: asking changes nothing");
  await row.getByRole("button", { name: /End/ }).click();
  const begun = Date.now();
  await here.getByRole("button", { name: "End it" }).click();
  await until("its connection ends", async () => (await terminal.state()) === "not connected", { within: 5_000 });
  t.diagnostic(`the terminal was closed ${Date.now() - begun} ms after the click`);
  await until("it is gone from the list", async () => (await row.count()) === 0);
  // All others: the harness's own among them.
  await here.getByRole("button", { name: "End all others" }).click();
  await here.getByRole("button", { name: "End them" }).click();
  await here.getByText("Your other sign-ins have ended").waitFor();
  assert.equal(await rows.count(), 1);
  await porthole.signIn(PASSWORD);
  await porthole.api("DELETE", `/sessions/${session}`);
});

test("a token is made for a while, shown once and deleted, without scripts too", async (t) => {
  for (const javaScriptEnabled of [true, false]) {
    const page = await signIn(await open(t, { javaScriptEnabled }), porthole);
    await page.goto(`${porthole.url}/settings`);
    await page.getByText("None. A program sends one").waitFor();
    await page.getByLabel("What it is for").fill("backup");
    await page.getByLabel("It lasts").selectOption({ label: "30 days" });
    await page.getByRole("button", { name: "New token" }).click();
    const secret = (await page.locator("#fresh").textContent()).trim();
    const ask = () => fetch(`${porthole.url}/api/v1/account`, { headers: { Authorization: `Bearer ${secret}` } });
    assert.equal((await ask()).status, 200, "the control");
    const row = page.locator("#tokens tbody tr");
    const ends = await row.locator("td[data-label=Ends] time").getAttribute("datetime");
    const days = (Date.parse(ends) - Date.now()) / 86_400_000;
    assert.ok(days > 29 && days < 31, `${days} days`);
    await page.goto(`${porthole.url}/settings`);
    assert.equal(await page.locator("#fresh").count(), 0, "it is shown this once");
    await row.getByRole("button", { name: /Delete/ }).click();
    if (javaScriptEnabled) await page.getByRole("button", { name: "Delete it" }).click();
    await page.getByText("None. A program sends one").waitFor();
    assert.equal((await ask()).status, 401);
  }
});

test("the settings without scripts: an account is made, changed and deleted", async (t) => {
  const page = await signIn(await open(t, { javaScriptEnabled: false }), porthole);
  await page.goto(`${porthole.url}/settings/users`);
  await page.getByLabel("Name", { exact: true }).fill("UPPER name");
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await page.getByLabel("Role").selectOption("viewer");
  await page.getByRole("button", { name: "Make it" }).click();
  await page.getByRole("alert").first().waitFor();
  assert.equal(await page.getByLabel("Name", { exact: true }).inputValue(), "UPPER name", "what was typed stays");
  assert.equal(await page.getByLabel("Role").inputValue(), "viewer");
  await page.getByLabel("Name", { exact: true }).fill("zoe");
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await page.getByRole("button", { name: "Make it" }).click();
  await page.getByText("The account zoe is made.").waitFor();
  await page.getByRole("link", { name: "zoe", exact: true }).click();
  await page.getByLabel("Cores of all containers").fill("lots");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByText("Write a number of cores").waitFor();
  assert.equal(await page.getByLabel("Cores of all containers").inputValue(), "lots");
  await page.getByLabel("Cores of all containers").fill("1.5");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByText("It is changed.").waitFor();
  assert.deepEqual((await porthole.api("GET", "/users/zoe")).limits, { cpus: 1.5 });
  await page.goto(`${porthole.url}/settings/users?q=zo`);
  await page.getByText("1 of 2 accounts").waitFor();
  await page.getByRole("link", { name: "Delete zoe" }).click();
  await page.getByRole("button", { name: "Delete it" }).click();
  await page.getByText("The account zoe is deleted.").waitFor();
  await page.goto(`${porthole.url}/settings/users?q=nobody`);
  await page.getByRole("heading", { name: "No account is called so" }).waitFor();
});

test("every page of the settings at a desk's and a phone's width, in both themes", { timeout: 120_000 }, async (t) => {
  await porthole.api("POST", "/users", { user: `long-${"name-".repeat(11)}end`, password: PASSWORD, role: "viewer" });
  await porthole.api("POST", "/users", { user: "ann", password: PASSWORD, role: "user" });
  await porthole.api("PATCH", "/users/ann", { disabled: true, limits: { containers: 3, memory: 2 ** 31 } });
  await porthole.api("POST", "/tokens", { name: `a very long name ${"x".repeat(60)}`, expires_in: 86_400 });
  for (const theme of ["dark", "light"]) {
    for (const width of [1280, 390]) {
      const window = await open(t, { colorScheme: theme, viewport: { width, height: 800 } });
      const page = await signIn(window, porthole);
      for (const [name, path] of [
        ["settings", "/settings"],
        ["settings-users", "/settings/users"],
        ["settings-user", "/settings/users/ann"],
        ["settings-delete", "/settings/users/ann/delete"],
        ["settings-audit", "/settings/audit"],
        ["settings-audit-none", "/settings/audit?who=nobody&since=2020-01-01"],
      ]) {
        await page.goto(porthole.url + path);
        await page.screenshot({ path: results(`${name}-${theme}-${width}`), fullPage: true });
        const wider = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(wider <= 0, `${name} scrolls ${wider} px sideways at ${width}`);
        assert.deepEqual(await new AxeBuilder(page).violations(), [], `${name} ${theme} ${width}`);
        assert.deepEqual(window.errors, [], name);
      }
    }
  }
});
