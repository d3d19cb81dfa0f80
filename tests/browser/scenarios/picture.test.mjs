// The README's picture: one container with a few programs and a shell, seen from both sides. It
// lands in results/; `npm run picture` renews docs/screenshot.png.

import { copyFileSync, mkdirSync } from "node:fs";
import test from "node:test";
import { openBrowser, openWindow, until } from "../harness/browser.mjs";
import { signIn, Terminal } from "../harness/person.mjs";
import { Porthole } from "../harness/porthole.mjs";

const picture = new URL("../results/readme.png", import.meta.url).pathname;

/**
 * A strip of a page. What the machine that took the picture is called, and what it was started by,
 * is not Porthole's; a live change would bring it back, so it is taken out in the last moment.
 */
async function part(page, y, height) {
  await page.evaluate(() => {
    document.querySelector("#live")?.remove();
    document.querySelector("#host").textContent = "lab-host · 2 containers";
    for (const row of document.querySelectorAll(".map .side:not(.inside) li")) {
      if (row.querySelector(".p").textContent === "1") row.querySelector(".c").textContent = "init";
    }
  });
  return page.screenshot({ clip: { x: 0, y, width: 1280, height } });
}

test("the picture for the README", async (t) => {
  // With a scale that is only emulated the other renderer draws too large.
  const browser = await openBrowser({ webgl: false });
  t.after(() => browser.close());
  const porthole = await Porthole.start();
  t.after(() => porthole.stop());
  const web = await porthole.create({
    name: "web",
    image: "busybox",
    command: ["sh", "-c", "mkdir -p /var/log; httpd -p 80; exec syslogd -n"],
  });
  await porthole.create({ name: "sidecar", image: "busybox", command: ["sleep", "86400"], namespaces: { net: "container:web" } });
  const window = await openWindow(browser, { colorScheme: "dark", viewport: { width: 1280, height: 640 }, deviceScaleFactor: 1.5 });
  const page = await signIn(window, porthole);
  await page.setViewportSize({ width: 1280, height: 500 });
  const terminal = await Terminal.open(page, porthole, "web");
  await terminal.type("ps -o pid,user,args; hostname; readlink /proc/self/ns/pid");
  await until("the answer", () => /pid:\[\d+\]/.test(terminal.recorder.text));
  const overview = await window.newPage();
  await overview.setViewportSize({ width: 1280, height: 1000 });
  await overview.goto(`${porthole.url}/containers/${web.name}`);
  await until("all of it is on the map", async () => (await overview.locator(".map .inside li[data-pair]").count()) >= 4);
  // What it uses has no history yet.
  await overview.locator("#usage").waitFor();
  await until("what it uses is drawn", async () => (await overview.locator("#usage").innerHTML()) !== "");
  const box = (selector) => overview.locator(selector).boundingBox();
  const [use, map] = [await box(".usage-section"), await box("section:has(> #map)")];
  const head = await part(overview, 0, use.y);
  const middle = await part(overview, map.y, map.height + 8);
  const pane = await page.locator("#terminal").boundingBox();
  const lower = await part(page, pane.y - 8, pane.height + 11);
  const sheet = await window.newPage();
  const image = (bytes) => `<img style="display:block;width:1280px" src="data:image/png;base64,${bytes.toString("base64")}">`;
  await sheet.setContent(`<body style="margin:0;background:#0f1216">${[head, middle, lower].map(image).join("")}</body>`);
  mkdirSync(new URL("../results", import.meta.url), { recursive: true });
  await sheet.screenshot({ path: picture, fullPage: true });
  if (process.env.README_PICTURE) copyFileSync(picture, new URL("../../../docs/screenshot.png", import.meta.url));
});
