// Every page at a desk's and a phone's width, in both themes: nothing that a screen reader or a
// keyboard stumbles over, nothing that scrolls sideways, no error in the console; and a picture of
// each in results/.

import assert from "node:assert/strict";
import test from "node:test";
import { AxeBuilder } from "../harness/axe.mjs";
import { openWindow, until } from "../harness/browser.mjs";
import { signIn } from "../harness/person.mjs";
import { LOOKS, browser, porthole, results, stage } from "../harness/stage.mjs";

let session;

stage();

async function inspect(page, name, { theme, width }, errors) {
  await page.screenshot({ path: results(`${name}-${theme}-${width}`), fullPage: !name.startsWith("terminal") });
  const wider = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(wider <= 0, `${name} scrolls ${wider} px sideways`);
  assert.deepEqual(await new AxeBuilder(page).violations(), [], name);
  assert.deepEqual(errors, [], name);
}

const look = ({ theme, width }) => openWindow(browser, { colorScheme: theme, viewport: { width, height: 800 } });

test("what is wrong with a page is found", async (t) => {
  const window = await openWindow(browser);
  t.after(() => window.close());
  const page = await window.newPage();
  await page.goto(`${porthole.url}/login`);
  await page.evaluate(() => document.querySelector("label[for=user]").remove());
  assert.match((await new AxeBuilder(page).violations()).join(), /label/);
});

for (const at of LOOKS) {
  test(`before there is anything: ${at.theme}, ${at.width} px`, async (t) => {
    const window = await look(at);
    t.after(() => window.close());
    const page = await window.newPage();
    for (const [name, path] of [["setup", "/setup"], ["login", "/login"]]) {
      await page.goto(porthole.url + path);
      await inspect(page, name, at, window.errors);
    }
    const inside = await signIn(window, porthole);
    for (const [name, path] of [["containers-empty", "/containers"], ["sessions-empty", "/sessions"], ["not-found", "/containers/nothing-of-this-name"]]) {
      await inside.goto(porthole.url + path);
      const errors = window.errors.splice(0).filter((text) => !text.includes("404"));
      await inspect(inside, name, at, errors);
    }
  });
}

test("containers of several kinds are there", async () => {
  const web = await porthole.create({
    name: "web",
    image: "host",
    command: ["sh", "-c", "echo serving; sleep 100000 & sleep 100001 & exec sleep 100002"],
  });
  await porthole.create({ name: "sidecar", image: "busybox", command: ["sleep", "100000"], namespaces: { net: "container:web" } });
  const done = await porthole.create({ name: "done", image: "busybox", command: ["sh", "-c", "echo bye; exit 3"] });
  await porthole.create({ name: "waits", image: "busybox", command: ["sleep", "1"], start: false });
  await porthole.create({ name: `long-${"name-".repeat(11)}end`, image: "busybox", command: ["sleep", "100000"] });
  await porthole.api("POST", "/containers", { name: "broken", image: "busybox", command: ["/no/such/program"] }).catch(() => undefined);
  await until("one has ended", async () => (await porthole.api("GET", `/containers/${done.id}`)).state === "exited");
  session = await porthole.api("POST", `/containers/${web.id}/sessions`, { tty: true, cols: 80, rows: 24 });
});

for (const at of LOOKS) {
  test(`with containers: ${at.theme}, ${at.width} px`, { timeout: 120_000 }, async (t) => {
    const window = await look(at);
    t.after(() => window.close());
    const page = await signIn(window, porthole);
    const pages = [
      ["containers", "/containers"],
      ["create", "/containers/new"],
      ["overview", "/containers/web"],
      ["processes", "/containers/web/processes"],
      ["namespaces", "/containers/web/namespaces"],
      ["logs", "/containers/web/logs"],
      ["inspect", "/containers/web/inspect"],
      ["overview-exited", "/containers/done"],
      ["overview-shared", "/containers/sidecar"],
      ["overview-broken", "/containers/broken"],
      ["sessions", "/sessions"],
      ["commands", "/commands?at=/containers/web"],
      ["settings", "/settings"],
    ];
    for (const [name, path] of pages) {
      await page.goto(porthole.url + path);
      await inspect(page, name, at, window.errors);
    }
    await page.goto(`${porthole.url}/containers/web/terminal?session=${session.id}`);
    await until("the terminal is live", async () => (await page.locator(".t-state").textContent()) === "live");
    await page.keyboard.type("ps -e -o pid,tty,comm | head\r");
    await inspect(page, "terminal", at, window.errors);
  });
}
