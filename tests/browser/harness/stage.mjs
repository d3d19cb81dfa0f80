// What a test file plays on: a browser and a Porthole, there from its first test to its last.

import { mkdirSync } from "node:fs";
import { after, before } from "node:test";
import { openBrowser } from "./browser.mjs";
import { Porthole } from "./porthole.mjs";

/** Both themes, each at a desk's and a phone's width. */
export const LOOKS = ["dark", "light"].flatMap((theme) => [1280, 390].map((width) => ({ theme, width })));

const RESULTS = new URL("../results/", import.meta.url);

/** Where the picture of this name is kept. */
export const results = (name) => new URL(`${name}.png`, RESULTS).pathname;

export let browser;
export let porthole;

/** Sets it up before the first test, then does `furnish`, and takes it down after the last; `options`
 * are Porthole's. A test file has a process, and with it a stage, of its own. (Hooks of their own for
 * what comes on it would not wait for it: Node.js 20 starts those of a file at once.) */
export function stage({ webgl = true, ...options } = {}, furnish = async () => {}) {
  before(async () => {
    mkdirSync(RESULTS, { recursive: true });
    browser = await openBrowser({ webgl });
    porthole = await Porthole.start(options);
    await furnish();
  });
  after(async () => {
    await browser?.close();
    await porthole?.stop();
  });
}
