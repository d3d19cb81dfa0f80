// axe-core in a page, past the page's own rules: it is run by the debugger, not loaded.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const source = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export class AxeBuilder {
  constructor(page) {
    this.page = page;
  }

  /** What is wrong with the page, in lines that say where. */
  async violations() {
    await this.page.evaluate(source);
    // Colours on their way from one theme to the other are nobody's.
    await this.page.evaluate(() => Promise.allSettled(document.getAnimations().map((one) => one.finished)));
    const { violations } = await this.page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
    return violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ target }) => target.join(" ")).join(", ")}`);
  }
}
