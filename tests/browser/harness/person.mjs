// What a person does on the pages, in their words.

import { Recorder } from "./recorder.mjs";
import { until } from "./browser.mjs";
import { ADMIN, PASSWORD } from "./porthole.mjs";

/** Signs in on a new page of this window. */
export async function signIn(window, porthole) {
  const page = await window.newPage();
  await page.goto(`${porthole.url}/login`);
  await page.getByLabel("Account name").fill(ADMIN);
  await page.getByLabel("Password").fill(PASSWORD);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.waitForURL(`${porthole.url}/containers**`);
  return page;
}

/** Fills the form and is on the container's page when it runs. */
export async function createContainer(page, porthole, { name, image, command = "" }) {
  await page.goto(`${porthole.url}/containers`);
  await page.getByRole("link", { name: "New container" }).first().click();
  await page.locator("label", { has: page.locator(`input[name=image][value="${image}"]`) }).click();
  await page.getByLabel("Name", { exact: true }).fill(name);
  if (command !== "") await page.getByLabel("Command", { exact: true }).fill(command);
  await page.getByRole("button", { name: "Create and start" }).click();
  await page.waitForURL(`${porthole.url}/containers/${name}`);
  await page.locator("#head .state.running").waitFor();
}

/** A terminal that is open on a page, for a person who types and reads. */
export class Terminal {
  #marks = 0;

  constructor(page) {
    this.page = page;
    this.recorder = new Recorder(page);
  }

  /** Opens a new session of this container and waits for its prompt. */
  static async open(page, porthole, name) {
    const terminal = new Terminal(page);
    await page.goto(`${porthole.url}/containers/${name}/terminal`);
    await terminal.live();
    await until("a prompt", () => /[#$]/.test(terminal.recorder.text));
    return terminal;
  }

  get session() {
    return new URL(this.page.url()).searchParams.get("session");
  }

  state() {
    return this.page.locator(".t-state").textContent();
  }

  async live({ within = 15_000 } = {}) {
    await until("the terminal is live", async () => (await this.state()) === "live", { within });
  }

  /** Waits until this was written or drawn; says how it stands where it is not in time. */
  async sees(text, { within = 10_000, every = 10 } = {}) {
    await until(`"${text}"`, () => this.recorder.text.includes(text), { within, every }).catch(async (error) => {
      const { sockets, closed, end, snapshots } = this.recorder;
      const stand = { state: await this.state(), sockets, closed, end, snapshots, last: this.recorder.text.slice(-200) };
      throw new Error(`${error.message}: ${JSON.stringify(stand)}`);
    });
  }

  async type(text) {
    await this.page.keyboard.type(text);
    await this.page.keyboard.press("Enter");
  }

  /** Types a command and gives what it wrote, line by line. */
  async run(command, { within = 15_000 } = {}) {
    this.#marks += 1;
    const mark = this.#marks;
    const from = this.recorder.text.length;
    // The sums keep what is typed from looking like what is printed.
    await this.type(`echo ${mark}''begin; ${command}; echo ${mark}''end`);
    const written = new RegExp(`[\\r\\n]${mark}begin\\r*\\n([^]*?)\\r*\\n?${mark}end\\r*\\n`);
    const found = await until(`the end of: ${command}`, () => this.recorder.text.slice(from).match(written), { within });
    return found[1].split(/\r*\n/);
  }
}
