// Images by page: a real archive becomes one, a container of it runs and has a terminal, what is used
// is not removed, what nothing uses goes. With scripts and without, for those who may and who may not.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before } from "node:test";
import { AxeBuilder } from "../harness/axe.mjs";
import { openBrowser, openWindow, until } from "../harness/browser.mjs";
import { createContainer, signIn, Terminal } from "../harness/person.mjs";
import { PASSWORD, Porthole } from "../harness/porthole.mjs";
import { story } from "../harness/story.mjs";

const scenario = story();
let browser;
let porthole;
let directory;

/** A root file system of busybox as a tar, with a file that says which it is. */
function archive(name, options = [], size = 0) {
  const root = join(directory, `${name}-root`);
  for (const path of ["bin", "etc", "root", "tmp"]) mkdirSync(join(root, path), { recursive: true });
  copyFileSync("/bin/busybox", join(root, "bin/busybox"));
  for (const tool of ["sh", "cat", "ls", "sleep", "echo"]) symlinkSync("busybox", join(root, "bin", tool));
  writeFileSync(join(root, "etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n");
  writeFileSync(join(root, "etc/which"), `the root of ${name}\n`);
  if (size > 0) writeFileSync(join(root, "root/filler"), Buffer.alloc(size, name));
  const file = join(directory, `${name}.tar`);
  execFileSync("tar", [...options, "-cf", file, "-C", root, "."]);
  return file;
}

before(async () => {
  mkdirSync(new URL("../results", import.meta.url), { recursive: true });
  directory = mkdtempSync(join(tmpdir(), "porthole-images-"));
  browser = await openBrowser({ webgl: false });
  porthole = await Porthole.start();
});

after(async () => {
  await browser?.close();
  await porthole?.stop();
  rmSync(directory, { recursive: true, force: true });
});

async function open(t, options) {
  const window = await openWindow(browser, options);
  t.after(() => window.close());
  return window;
}

const list = (page) => page.goto(`${porthole.url}/images`);
const row = (page, name) => page.locator("#rows tr", { has: page.getByRole("link", { name, exact: true }) });

/** Sends so slowly that an archive is still on its way when somebody looks. */
async function slow(page) {
  const client = await page.context().newCDPSession(page);
  await client.send("Network.enable");
  await client.send("Network.emulateNetworkConditions", { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: 2 << 20 });
}

async function importing(page, file, name) {
  await page.getByLabel("Archive").setInputFiles(file);
  await page.getByLabel("Name", { exact: true }).fill(name);
  await page.getByRole("button", { name: "Import" }).click();
}

scenario("nothing was imported yet, and the page says what to do", async (t) => {
  const window = await open(t);
  const page = await signIn(window, porthole);
  await page.getByRole("link", { name: "Images" }).click();
  await page.getByRole("heading", { name: "No image was imported yet" }).waitFor();
  await row(page, "busybox").getByText("Porthole's own").waitFor();
  assert.equal(await row(page, "busybox").getByRole("link", { name: /^Remove/ }).count(), 0);
  for (const [width, theme] of [[1280, "dark"], [1280, "light"], [390, "dark"], [390, "light"]]) {
    await page.emulateMedia({ colorScheme: theme, reducedMotion: "reduce" });
    await page.setViewportSize({ width, height: 800 });
    await page.screenshot({ path: new URL(`../results/images-first-${theme}-${width}.png`, import.meta.url).pathname, fullPage: true });
    assert.deepEqual(await new AxeBuilder(page).violations(), [], `${theme} ${width}`);
  }
  await page.getByRole("button", { name: "Import" }).click();
  await page.getByText("Choose the file that is to become an image.").waitFor();
  assert.deepEqual(window.errors, []);
});

scenario("a file that is no archive is refused in words, and the name that was typed stays", async (t) => {
  const page = await signIn(await open(t), porthole);
  await list(page);
  const wrong = join(directory, "wrong.tar");
  writeFileSync(wrong, "this is a letter and no archive\n".repeat(400));
  await importing(page, wrong, "letter:1");
  const alert = page.locator("#import .form-error, #import .field .error").filter({ visible: true });
  await alert.waitFor();
  assert.match(await alert.textContent(), /archive|tar/);
  assert.equal(await page.getByLabel("Name", { exact: true }).inputValue(), "letter:1");
  assert.ok(await page.getByRole("button", { name: "Import" }).isEnabled());
  const { items } = await porthole.api("GET", "/images");
  assert.ok(items.every(({ id }) => id === null), "nothing half there");
  await importing(page, archive("small"), "No Such Name!");
  await page.locator("#import .form-error, #import .field .error").filter({ visible: true, hasText: "name" }).waitFor();
  assert.equal(await page.getByLabel("Name", { exact: true }).inputValue(), "No Such Name!");
});

scenario("an import that is stopped half way leaves nothing, and says so to others too", { timeout: 60_000 }, async (t) => {
  const page = await signIn(await open(t), porthole);
  const other = await signIn(await open(t), porthole);
  await list(page);
  await list(other);
  await slow(page);
  await importing(page, archive("large", [], 40 << 20), "large:1");
  await page.getByText(/^Sending: .* of 4\d/).waitFor();
  await other.locator("#imports").getByText(/large:1 is being sent/).waitFor();
  await page.getByRole("button", { name: "Cancel" }).click();
  await page.getByText("You stopped it: nothing was imported.").waitFor();
  assert.equal(await page.getByLabel("Name", { exact: true }).inputValue(), "large:1");
  await until("others see it end", async () => (await other.locator("#imports .importing").count()) === 0);
  assert.equal(await row(other, "large:1").count(), 0);
});

scenario("an import is stopped from the list by whoever may, though somebody else sends it", { timeout: 60_000 }, async (t) => {
  const page = await signIn(await open(t), porthole);
  const other = await signIn(await open(t), porthole);
  await list(page);
  await list(other);
  await slow(page);
  await importing(page, archive("larger", [], 40 << 20), "larger:1");
  await other.getByRole("button", { name: "Stop the import of larger:1" }).click();
  await other.waitForURL(`${porthole.url}/images`);
  await until("the list has none that goes on", async () => (await other.locator("#imports .importing").count()) === 0);
  await page.locator("#import .form-error").filter({ visible: true }).waitFor();
  assert.equal(await page.getByLabel("Name", { exact: true }).inputValue(), "larger:1");
  assert.equal(await row(other, "larger:1").count(), 0);
});

scenario("an archive becomes an image, and appears to who looks at the list", { timeout: 60_000 }, async (t) => {
  const window = await open(t);
  const page = await signIn(window, porthole);
  const other = await signIn(await open(t), porthole);
  await list(other);
  await list(page);
  await importing(page, archive("tools", ["-z"]), "tools");
  await page.locator("#import [data-done]").getByText("tools:latest is imported.").waitFor({ timeout: 30_000 });
  await row(other, "tools:latest").waitFor();
  await page.getByText(/ of disk in all/).waitFor();
  assert.equal(await page.getByRole("heading", { name: "No image was imported yet" }).count(), 0);
  assert.deepEqual(window.errors, []);
});

scenario("a container of it is made from its row, and a terminal in it reads its files", { timeout: 60_000 }, async (t) => {
  const page = await signIn(await open(t), porthole);
  await list(page);
  await row(page, "tools:latest").getByRole("link", { name: /^New container/ }).click();
  assert.ok(await page.locator('input[name=image][value="tools:latest"]').isChecked());
  await createContainer(page, porthole, { name: "workshop", image: "tools:latest", command: "/bin/sleep 1000000" });
  const terminal = await Terminal.open(page, porthole, "workshop");
  assert.deepEqual(await terminal.run("cat /etc/which"), ["the root of tools"]);
  await porthole.api("DELETE", `/sessions/${terminal.session}`);
});

scenario("its page says what it is; a second name is given, and a bad one comes back", async (t) => {
  const page = await signIn(await open(t), porthole);
  await list(page);
  await row(page, "tools:latest").getByRole("link", { name: "tools:latest", exact: true }).click();
  await page.locator("#used-by").getByRole("link", { name: "workshop" }).waitFor();
  await page.getByText("Imported from a root file system").waitFor();
  assert.equal(await page.locator("#layers tbody tr").count(), 1);
  await page.getByLabel("Name", { exact: true }).fill("not a name");
  await page.getByRole("button", { name: "Give it" }).click();
  await page.locator("#new-name-error").waitFor();
  assert.equal(await page.getByLabel("Name", { exact: true }).inputValue(), "not a name");
  await page.getByLabel("Name", { exact: true }).fill("tools:second");
  await page.getByRole("button", { name: "Give it" }).click();
  await page.getByRole("heading", { name: /tools:second/ }).waitFor();
  await page.getByRole("link", { name: "The same from a command line" }).click();
  await page.getByRole("dialog").getByText(/-X DELETE .*images\/tools%3Asecond/).waitFor();
  await page.getByRole("dialog").getByRole("button", { name: "Close" }).click();
  await page.getByRole("link", { name: "Remove…" }).click();
  await page.getByText("Only the name goes. The image stays as tools:latest.").waitFor();
  await page.getByRole("button", { name: "Remove the name" }).click();
  await page.getByText("Removed: tools:second.").waitFor();
  await row(page, "tools:latest").waitFor();
});

scenario("what a container is made of is not removed; by nobody who goes around the page either", async (t) => {
  const page = await signIn(await open(t), porthole);
  await page.goto(`${porthole.url}/images/tools%3Alatest/remove`);
  await page.getByText("A container is made of it").waitFor();
  await page.getByRole("main").getByRole("link", { name: "workshop" }).waitFor();
  assert.equal(await page.getByRole("button", { name: "Remove it" }).count(), 0);
  await assert.rejects(porthole.api("DELETE", "/images/tools%3Alatest"), /409/);
  // The question stands open while somebody makes a container.
  await porthole.api("DELETE", "/containers/workshop?force=true");
  await page.reload();
  await page.getByRole("button", { name: "Remove it" }).waitFor();
  await porthole.create({ name: "late", image: "tools:latest", command: ["/bin/sleep", "1000000"] });
  await page.getByRole("button", { name: "Remove it" }).click();
  await page.getByRole("alert").filter({ hasText: "is used by the container late" }).waitFor();
  await porthole.api("DELETE", "/containers/late?force=true");
});

scenario("who may only look sees the list without what changes it", async (t) => {
  await porthole.api("POST", "/users", { user: "vera", password: PASSWORD, role: "viewer" });
  const page = await (await open(t)).newPage();
  await page.goto(`${porthole.url}/login`);
  await page.getByLabel("Account name").fill("vera");
  await page.getByLabel("Password").fill(PASSWORD);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.waitForURL(`${porthole.url}/containers**`);
  await list(page);
  await row(page, "tools:latest").waitFor();
  assert.equal(await page.locator("main a.btn, main button").filter({ visible: true }).count(), 0);
  await page.goto(`${porthole.url}/images/tools%3Alatest`);
  await page.getByText("What it runs").waitFor();
  assert.equal(await page.locator("main a.btn, main button").count(), 0);
  assert.equal((await page.goto(`${porthole.url}/images/tools%3Alatest/remove`)).status(), 403);
  assert.equal((await page.goto(`${porthole.url}/images/prune`)).status(), 403);
  const sent = await page.evaluate(() => fetch("/images/tools%3Alatest/remove", { method: "POST" }).then(({ status }) => status));
  assert.equal(sent, 403);
  assert.ok(await porthole.api("GET", "/images/tools%3Alatest"), "the control: it is still there");
});

scenario("every page at a desk's and a phone's width, in both themes", { timeout: 180_000 }, async (t) => {
  const page = await signIn(await open(t), porthole);
  await list(page);
  await importing(page, archive("other"), `registry.example.org/a-team/${"long-name-".repeat(6)}end:2026.11`);
  await page.locator("#import [data-done]").getByText("is imported.").waitFor({ timeout: 30_000 });
  // The name goes to another image: the first one has none any more.
  await importing(page, archive("another"), `registry.example.org/a-team/${"long-name-".repeat(6)}end:2026.11`);
  await page.locator("#rows").getByText("without a name").waitFor({ timeout: 30_000 });
  await porthole.create({ name: "user-of-tools", image: "tools:latest", command: ["/bin/sleep", "1000000"] });
  for (const theme of ["dark", "light"]) {
    for (const width of [1280, 390]) {
      const window = await open(t, { colorScheme: theme, viewport: { width, height: 800 } });
      const shown = await signIn(window, porthole);
      for (const [name, path] of [
        ["images", "/images"],
        ["images-none", "/images?q=nothing"],
        ["image", "/images/tools%3Alatest"],
        ["image-own", "/images/busybox"],
        ["image-remove-used", "/images/tools%3Alatest/remove"],
        ["images-prune", "/images/prune"],
        ["images-create", "/containers/new?image=tools%3Alatest"],
      ]) {
        await shown.goto(porthole.url + path);
        const file = new URL(`../results/${name}-${theme}-${width}.png`, import.meta.url).pathname;
        await shown.screenshot({ path: file, fullPage: true });
        const wider = await shown.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(wider <= 0, `${name} scrolls ${wider} px sideways at ${width}`);
        assert.deepEqual(await new AxeBuilder(shown).violations(), [], `${name} ${theme} ${width}`);
        assert.deepEqual(window.errors, [], name);
      }
    }
  }
  await porthole.api("DELETE", "/containers/user-of-tools?force=true");
});

scenario("without scripts what nothing uses is shown, removed, and the rest says how to import", async (t) => {
  const page = await signIn(await open(t, { javaScriptEnabled: false }), porthole);
  await list(page);
  const without = page.locator("noscript .notice");
  await without.waitFor();
  assert.match(await without.textContent(), /needs scripts.*-T archive\.tar/);
  assert.ok(!(await page.locator("#import").isVisible()), "what would not work is not offered");
  await page.getByRole("link", { name: "Remove what nothing uses…" }).click();
  await page.getByText(/Removing them frees/).first().waitFor();
  await page.getByRole("button", { name: "Remove those without a name" }).click();
  await page.getByText(/Removed: [0-9a-f]{12}\. .* of disk are free again\./).waitFor();
  await row(page, "tools:latest").getByRole("link", { name: /^Remove/ }).click();
  await page.getByText("No container is made of it. It is deleted").waitFor();
  await page.getByRole("button", { name: "Remove it" }).click();
  await page.getByText("Removed: tools:latest.").waitFor();
  assert.equal(await row(page, "tools:latest").count(), 0);
  await assert.rejects(porthole.api("GET", "/images/tools%3Alatest"), /404/);
  // What has changed since the question is asked again.
  await page.getByRole("link", { name: "Remove what nothing uses…" }).click();
  await page.getByRole("button", { name: "Remove all of these" }).waitFor();
  const { items } = await porthole.api("GET", "/images");
  for (const { name } of items.filter(({ id }) => id !== null)) await porthole.api("DELETE", `/images/${encodeURIComponent(name)}`);
  await page.getByRole("button", { name: "Remove all of these" }).click();
  await page.getByRole("alert").filter({ hasText: "not the same as when this was asked" }).waitFor();
  await page.getByRole("heading", { name: "Everything is in use" }).waitFor();
});
