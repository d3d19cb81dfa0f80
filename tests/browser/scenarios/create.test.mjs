// The form that makes a container, for what is said of its end and its labels: what is wrong is said at
// its field and nothing typed is lost; what is made is what was typed, and its page shows it.

import assert from "node:assert/strict";
import test from "node:test";
import { AxeBuilder } from "../harness/axe.mjs";
import { openWindow, until } from "../harness/browser.mjs";
import { signIn } from "../harness/person.mjs";
import { browser, porthole, results, stage } from "../harness/stage.mjs";

// A loaded machine takes its time.
const patient = { within: 20_000 };

stage();

/** The form; where it has no scripts, what a test evaluates runs all the same. */
async function form(t, scripts = true) {
  const window = await openWindow(browser);
  t.after(() => window.close());
  const page = await signIn(window, porthole);
  if (!scripts) await page.route("**/*.js", (route) => route.abort());
  await page.goto(`${porthole.url}/containers/new`);
  await page.locator('input[name=image][value="busybox"]').check();
  return page;
}

const field = (page, name) => page.locator(`[name="${name}"]`);
const create = (page) => page.getByRole("button", { name: "Create and start" }).click();
const LABELS = "tier=web\nmade by=hand = careful\nalone";

/** Fills what this is about; what is hidden without the rest can be filled after it. */
async function fill(page, { name, times, signal, seconds, labels }) {
  await field(page, "name").fill(name);
  await field(page, "command").fill("sleep infinity");
  await field(page, "restart").selectOption("on-failure");
  await field(page, "times").fill(times);
  await field(page, "stop_signal").fill(signal);
  await field(page, "stop_timeout").fill(seconds);
  await page.locator("details.more", { has: field(page, "labels") }).evaluate((more) => (more.open = true));
  await field(page, "labels").fill(labels);
}

const typed = async (page) => Object.fromEntries(await Promise.all(["name", "command", "restart", "times", "stop_signal", "stop_timeout", "labels"].map(async (name) => [name, await field(page, name).inputValue()])));

for (const scripts of [true, false]) {
  test(`what is wrong is said at its field, and what was typed stays${scripts ? "" : ", without scripts too"}`, { timeout: 120_000 }, async (t) => {
    const page = await form(t, scripts);
    const name = scripts ? "ending" : "ending-plain";
    await fill(page, { name, times: "often", signal: "SIGNOTHING", seconds: "3601", labels: `${LABELS}\n=nameless` });
    const before = await typed(page);
    await create(page);
    const wrong = {
      times: /whole number/,
      stop_signal: /SIGHUP/,
      stop_timeout: /0 to 3600/,
      labels: /Line 4 /,
    };
    await page.locator("#times-error").waitFor();
    for (const [of, words] of Object.entries(wrong)) {
      const said = await field(page, of).evaluate((at) => document.getElementById(at.getAttribute("aria-describedby"))?.textContent ?? "");
      assert.match(said, words, `the error of ${of}`);
      assert.equal(await field(page, of).getAttribute("aria-invalid"), "true");
      assert.ok(await field(page, of).isVisible(), `${of} is seen`);
    }
    assert.match(await page.locator(".form-error").textContent(), /4 fields need another value/);
    assert.equal(await page.locator("[aria-invalid]").count(), 4, "what is right is not marked");
    assert.deepEqual(await typed(page), before);
    if (scripts) {
      assert.equal(await page.evaluate(() => document.activeElement?.getAttribute("name")), "times", "one is at the first that is wrong");
      for (const width of [1280, 390]) {
        await page.setViewportSize({ width, height: 900 });
        assert.deepEqual(await new AxeBuilder(page).violations(), []);
        assert.ok((await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)) <= 0, "it scrolls sideways");
        await page.screenshot({ path: results(`create-wrong-${width}`), fullPage: true });
      }
      await page.setViewportSize({ width: 1280, height: 800 });
    }
    // Mended, it is made as it says.
    await fill(page, { name, times: "3", signal: "int", seconds: "2.5", labels: LABELS });
    await create(page);
    await page.waitForURL(`${porthole.url}/containers/${name}`);
    const made = await porthole.api("GET", `/containers/${name}`);
    assert.deepEqual(
      [made.restart, made.stop_signal, made.stop_timeout, made.labels],
      ["on-failure:3", "SIGINT", 2.5, { tier: "web", "made by": "hand = careful", alone: "" }],
    );
    const facts = page.locator("#facts");
    const says = (words) => until(String(words), async () => words.test(await facts.textContent()), patient);
    await says(/when it fails, at most 3 times/);
    await says(/SIGINT, and SIGKILL after 2\.5 s/);
    await says(/Labels \(3\)/);
    await facts.locator(".labels summary").click();
    for (const label of ["tier", "web", "made by", "hand = careful", "alone"]) {
      await facts.locator(".labels").getByText(label, { exact: true }).waitFor();
    }
  });
}

test("how often is asked where it counts, and what excludes one another is said", async (t) => {
  const page = await form(t);
  assert.equal(await field(page, "times").isVisible(), false);
  await field(page, "restart").selectOption("on-failure");
  assert.equal(await field(page, "times").isVisible(), true);
  await field(page, "times").fill("7");
  await page.locator("#curl", { hasText: "on-failure:7" }).waitFor();
  // Hidden again it counts for nothing.
  await field(page, "restart").selectOption("always");
  await page.locator("#curl", { hasText: '"restart":"always"' }).waitFor();
  await field(page, "auto_remove").check();
  await create(page);
  await page.locator("#restart-error", { hasText: "cannot be started again" }).waitFor();
  assert.equal(await field(page, "times").inputValue(), "7");
});
