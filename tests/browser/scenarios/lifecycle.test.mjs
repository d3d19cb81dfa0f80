// What a container does after it was made: paused, renamed, its limits changed, its use watched,
// started again by its policy, out of memory; and several at once.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import { AxeBuilder } from "../harness/axe.mjs";
import { openWindow, until } from "../harness/browser.mjs";
import { signIn } from "../harness/person.mjs";
import { browser, porthole, results, stage } from "../harness/stage.mjs";

// A loaded machine takes its time.
const patient = { within: 20_000 };

stage();

async function visit(t, options = {}) {
  const window = await openWindow(browser, options);
  t.after(() => window.close());
  return { window, page: await signIn(window, porthole) };
}

const sleeper = (name, more = {}) => porthole.create({ name, image: "busybox", command: ["sleep", "infinity"], ...more });
const textOf = (page, selector) => page.locator(selector).first().textContent();
const says = (page, selector, wanted) => until(`${selector}: ${wanted}`, async () => wanted.test(await textOf(page, selector)), patient);
const isFine = async (page) => {
  assert.deepEqual(await new AxeBuilder(page).violations(), []);
  assert.ok((await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)) <= 0, "it scrolls sideways");
};

test("it is paused and goes on, and the page says so by itself", async (t) => {
  const { page } = await visit(t);
  await sleeper("pause-me");
  await page.goto(`${porthole.url}/containers/pause-me`);
  await page.getByRole("button", { name: "Pause pause-me" }).click();
  await says(page, "#head .state", /paused/);
  assert.equal(await page.getByRole("button", { name: "Pause pause-me", exact: true }).count(), 0);
  await page.getByRole("button", { name: "Unpause pause-me" }).click();
  await says(page, "#head .state", /running/);
});

test("what it uses is drawn while somebody looks", async (t) => {
  const { page } = await visit(t);
  await porthole.create({ name: "busy", image: "busybox", command: ["sh", "-c", "while :; do :; done"], limits: { cpus: 0.2, memory: 67_108_864, pids: 17 } });
  await page.goto(`${porthole.url}/containers/busy`);
  await says(page, "#usage", /may use 0\.2 cores/);
  await says(page, "#usage", /of 64 MiB/);
  await says(page, "#usage", /of 17/);
  await until("a line", async () => /L/.test(await page.locator("#usage .spark.cpu .line").getAttribute("d")), patient);
  for (const colorScheme of ["dark", "light"]) {
    await page.emulateMedia({ colorScheme });
    await isFine(page);
    await page.screenshot({ path: results(`lifecycle-overview-${colorScheme}`), fullPage: true });
  }
  await page.goto(`${porthole.url}/containers?q=busy`);
  const id = await page.locator("[data-row]").first().getAttribute("id");
  await says(page, `#u-${id.slice(2)}`, /%.*(KiB|MiB)/s);
});

test("its name, its limits and its policy are changed on its page", async (t) => {
  const { page } = await visit(t);
  const made = await sleeper("first-name");
  const list = await visit(t);
  await list.page.goto(`${porthole.url}/containers?q=name`);
  await page.goto(`${porthole.url}/containers/first-name`);
  await page.locator("details.change summary").click();
  await page.getByRole("textbox", { name: "Name", exact: true }).fill("second-name");
  await page.getByRole("textbox", { name: "Memory" }).fill("64 MiB");
  await page.getByLabel("When it ends").selectOption("on-failure");
  await page.getByLabel("Tries after failures").fill("3");
  await page.getByRole("button", { name: "Change first-name" }).click();
  await page.waitForURL(`${porthole.url}/containers/second-name`);
  await says(page, "#facts", /64 MiB of memory/);
  await says(page, "#facts", /when it fails, at most 3 times/);
  await says(list.page, `#c-${made.id}`, /second-name/);
  // What cannot be is said, and what was typed stays.
  await page.locator("details.change summary").click();
  await page.getByRole("textbox", { name: "Memory" }).fill("1 KiB");
  await page.getByRole("button", { name: "Change second-name" }).click();
  await says(page, "#toasts", /4 MiB/);
  assert.equal(await page.getByRole("textbox", { name: "Memory" }).inputValue(), "1 KiB");
});

test("one that fails is started again until somebody stops it", async (t) => {
  const { page } = await visit(t);
  await porthole.create({ name: "fails", image: "busybox", command: ["false"], restart: "always" });
  await page.goto(`${porthole.url}/containers/fails`);
  await says(page, "#head .state", /exited \(1\), starts again soon/);
  await says(page, "#facts", /starts it again whenever it ends; [0-9]+ times? so far/);
  await page.getByRole("button", { name: "Stop fails" }).click();
  await until("it is given up", async () => {
    const state = await textOf(page, "#head .state");
    return /exited/.test(state) && !/again/.test(state);
  }, patient);
});

test("want of memory is said in words", async (t) => {
  const { page } = await visit(t);
  const hog = "my $x = 'x' x (150 << 20); print length $x";
  await porthole.create({ name: "hog", image: "host", command: ["perl", "-e", hog], limits: { memory: 67_108_864 } });
  await page.goto(`${porthole.url}/containers/hog`);
  await says(page, "#head .state", /exited \(137\), out of memory/);
  await says(page, "#facts", /ended: out of memory \(limit 64 MiB\)/);
});

test("one that was to be removed and could not be says so, and Remove is there for it", async (t) => {
  const { page } = await visit(t);
  const made = await sleeper("lingers", { auto_remove: true });
  const record = join(porthole.root, "keeper/containers", made.id, "config.json");
  const immutable = (sign) => existsSync(record) && execFileSync("chattr", [`${sign}i`, record], { stdio: "ignore" });
  t.after(() => immutable("-"));
  try {
    immutable("+");
  } catch {
    console.error("SKIPPED: this file system has no immutable files");
    return t.skip("no immutable files");
  }
  await page.goto(`${porthole.url}/containers/lingers`);
  await porthole.api("POST", "/containers/lingers/kill", { signal: "SIGKILL" });
  await says(page, "#head .state", /exited \(137\), not removed yet/);
  await page.locator("#failed .notice", { hasText: "Not removed yet." }).waitFor();
  await isFine(page);
  await page.screenshot({ path: results("lifecycle-not-removed"), fullPage: true });
  await page.goto(`${porthole.url}/containers?q=lingers`);
  await says(page, `#c-${made.id} .state`, /not removed yet/);
  // It cannot be by hand either, and that is said; once nothing is in its way, it is.
  const remove = async () => {
    await page.getByRole("button", { name: "Remove lingers" }).first().click();
    await page.locator("#confirm [data-yes]").click();
  };
  await remove();
  await says(page, "#toasts", /config\.json|deleting|not permitted/i);
  immutable("-");
  await remove();
  await until("it is gone", async () => (await page.locator("[data-row]").count()) === 0, patient);
  // The control: what nothing keeps goes by itself.
  await sleeper("leaves", { auto_remove: true });
  await page.goto(`${porthole.url}/containers/leaves`);
  await porthole.api("POST", "/containers/leaves/kill", { signal: "SIGKILL" });
  await says(page, "#failed", /It was removed\./);
});

test("several are chosen, by the keyboard too, and what fails is told for each", async (t) => {
  const { page } = await visit(t);
  for (const name of ["many-a", "many-b", "many-c"]) await sleeper(name);
  await page.goto(`${porthole.url}/containers?q=many-&sort=name`);
  await page.getByRole("link", { name: "many-a", exact: true }).focus();
  await page.keyboard.press("x");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("x");
  await says(page, "[data-chosen]", /many-a, many-b/);
  await page.locator("form[data-many]").getByRole("button", { name: "Pause", exact: true }).click();
  const state = (name) => textOf(page, `[data-row]:has(a[title="${name}"]) .state`);
  await until("both are paused", async () => /paused/.test(await state("many-a")) && /paused/.test(await state("many-b")), patient);
  assert.match(await state("many-c"), /running/);
  for (const width of [1280, 390]) {
    await page.setViewportSize({ width, height: 800 });
    await page.screenshot({ path: results(`lifecycle-list-${width}`), fullPage: true });
    await isFine(page);
  }
  await page.setViewportSize({ width: 1280, height: 800 });
  // The third can be paused, the others are.
  await page.getByLabel("Choose many-c").check();
  await page.locator("form[data-many]").getByRole("button", { name: "Pause", exact: true }).click();
  await says(page, "#toasts", /Not done with 2 of 3.*many-a.*paused already/s);
  await until("the third is paused", async () => /paused/.test(await state("many-c")), patient);
  // One question, which names all of them.
  await page.locator("form[data-many]").getByRole("button", { name: "Remove", exact: true }).click();
  const question = page.locator("#confirm");
  await says(page, "#confirm", /Remove 3 containers\?.*many-a, many-b, many-c/s);
  await question.locator("[data-no]").first().click();
  assert.equal(await page.locator("[data-row]").count(), 3);
  await page.locator("form[data-many]").getByRole("button", { name: "Remove", exact: true }).click();
  await question.locator("[data-yes]").click();
  await until("they are gone", async () => (await page.locator("[data-row]").count()) === 0, patient);
});

test("the same without scripts", async (t) => {
  const { page } = await visit(t, { javaScriptEnabled: false });
  for (const name of ["plain-a", "plain-b"]) await sleeper(name);
  await page.goto(`${porthole.url}/containers?q=plain-`);
  await page.getByLabel("Choose plain-a").check();
  await page.getByLabel("Choose plain-b").check();
  await page.locator("form[data-many]").getByRole("button", { name: "Remove", exact: true }).click();
  assert.match(await page.locator("main").textContent(), /Remove these 2 containers\?.*plain-/s);
  await page.getByRole("button", { name: "Remove" }).click();
  await page.goto(`${porthole.url}/containers?q=plain-`);
  assert.equal(await page.locator("[data-row]").count(), 0);
});
