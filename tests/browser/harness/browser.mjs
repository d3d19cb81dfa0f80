// A browser for one test file: Debian's Chromium with a fresh profile, headless.

import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

export const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** Opens a browser, with more flags where a test needs them; the test file closes it. */
export async function openBrowser({ webgl = true, flags = [] } = {}) {
  if (!existsSync(CHROMIUM)) {
    throw new Error(`${CHROMIUM} is missing: install Debian's package chromium, or run \`make setup-test\``);
  }
  return chromium.launch({ executablePath: CHROMIUM, args: [...FLAGS, ...(webgl ? [] : ["--disable-webgl", "--disable-3d-apis"]), ...flags] });
}

/**
 * A window with a profile of its own. Whatever its pages say in the console as an error, or throw,
 * is gathered in `errors`.
 */
export async function openWindow(browser, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  const errors = [];
  context.on("page", (page) => {
    page.on("console", (message) => {
      if (message.type() === "error") errors.push(`${message.text()} (${message.location().url})`);
    });
    page.on("pageerror", (error) => errors.push(String(error)));
  });
  return Object.assign(context, { errors });
}

/** Waits until this is true, and says what was waited for when it is not in time. */
export async function until(what, condition, { within = 10_000, every = 25 } = {}) {
  const end = Date.now() + within;
  let last;
  for (;;) {
    last = await condition();
    if (last) return last;
    if (Date.now() > end) throw new Error(`waited ${within} ms in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, every));
  }
}

/** What a terminal shows, line by line, from its buffer's last screens. */
export async function terminalText(page) {
  return page.evaluate(() => {
    const rows = document.querySelectorAll(".t-panel:not([hidden]) .xterm-accessibility-tree > div, .t-panel:not([hidden]) .xterm-rows > div");
    return [...rows].map((row) => (row.textContent ?? "").replaceAll("\u00a0", " ").trimEnd()).join("\n");
  });
}
