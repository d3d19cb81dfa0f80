// A running Porthole of a test file's own: state, sockets and port are its own, and when it is
// stopped, nothing of it may be left.

import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, openSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { chmod } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { until } from "./browser.mjs";
import * as host from "./host.mjs";

export const ADMIN = "admin";
export const PASSWORD = "correct horse battery staple";

const PROGRAM = resolve(
  process.env.PORTHOLE_BIN ?? fileURLToPath(new URL("../../../target/product/debug/porthole", import.meta.url)),
);

export const freePort = () =>
  new Promise((free, refuse) => {
    const server = createServer();
    server.once("error", refuse);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => free(port));
    });
  });

export class Porthole {
  #serve = null;
  #cookie = "";
  #groups = new Set();
  #foreign = new Set();

  constructor(directory, port, account, env) {
    this.directory = directory;
    this.root = join(directory, "root");
    this.run = join(directory, "run");
    this.listen = `127.0.0.1:${port}`;
    this.url = env.PORTHOLE_TLS_CERT === undefined ? `http://${this.listen}` : `https://localhost:${port}`;
    this.account = account;
    this.env = env;
  }

  /** Starts one; without an account it is as after an installation. `env` sets more of it, `policy`
   * is what root allows. */
  static async start({ account = true, env = {}, policy = "", port = null } = {}) {
    if (process.getuid() !== 0) throw new Error("these tests start Porthole, which needs root: run them as root");
    if (!existsSync(PROGRAM)) throw new Error(`${PROGRAM} is not there: run \`make build-debug\` first, as \`make test\` does`);
    const directory = mkdtempSync(join(tmpdir(), "porthole-"));
    // The server's own account must get through to its part of the state.
    await chmod(directory, 0o755);
    if (policy !== "") writeFileSync(join(directory, "policy.toml"), policy, { mode: 0o644 });
    const porthole = new Porthole(directory, port ?? (await freePort()), account, env);
    await porthole.serve();
    if (account) await porthole.signIn(PASSWORD);
    return porthole;
  }

  /** Runs `porthole serve`, the first time or again, until it is ready. */
  async serve() {
    const log = openSync(join(this.directory, "log"), "a");
    this.#serve = spawn(PROGRAM, ["serve"], {
      stdio: ["ignore", log, log],
      env: {
        PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
        PORTHOLE_LISTEN: this.listen,
        PORTHOLE_ROOT: this.root,
        PORTHOLE_RUN: this.run,
        PORTHOLE_SOCKET: join(this.run, "porthole.sock"),
        PORTHOLE_CONFIG: join(this.directory, "config.toml"),
        PORTHOLE_POLICY: join(this.directory, "policy.toml"),
        ...this.env,
        ...(this.account ? { PORTHOLE_ADMIN_PASSWORD: PASSWORD } : {}),
      },
    });
    await this.ready();
  }

  /** Waits until it answers that it is ready. */
  async ready() {
    await until(
      "readiness",
      async () => {
        if (this.#serve.exitCode !== null) throw new Error(`porthole serve ended with ${this.#serve.exitCode}:\n${this.log()}`);
        const answer = await fetch(`${this.url}/readyz`).catch(() => null);
        return answer?.ok === true;
      },
      { within: 20_000 },
    );
  }

  log() {
    return readFileSync(join(this.directory, "log"), "utf8");
  }

  /** The code of the first start, as root finds it. */
  async setupCode() {
    const path = join(this.run, "setup-code");
    await until("the setup code", () => existsSync(path));
    return readFileSync(path, "utf8").trim();
  }

  async signIn(password) {
    const answer = await this.#send("POST", "/api/v1/login", { user: ADMIN, password });
    if (answer.status !== 204) throw new Error(`signing in: ${answer.status} ${await answer.text()}`);
    this.#cookie = answer.headers.getSetCookie().map((cookie) => cookie.split(";")[0]).join("; ");
  }

  #send(method, path, body) {
    return fetch(this.url + path, {
      method,
      headers: {
        Cookie: this.#cookie,
        Accept: "application/json",
        ...(method === "GET" ? {} : { Origin: this.url }),
        ...(body === undefined ? {} : { "Content-Type": "application/json" }),
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  }

  /** What the interface answers; anything but success is an error. */
  async api(method, path, body) {
    const answer = await this.#send(method, `/api/v1${path}`, body);
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return text === "" ? null : JSON.parse(text);
  }

  /** A session's output from its beginning, as the journal has it. */
  async journal(session) {
    const answer = await this.#send("GET", `/api/v1/sessions/${session}/journal?format=raw`);
    if (!answer.ok) throw new Error(`the journal: ${answer.status} ${await answer.text()}`);
    return Buffer.from(await answer.arrayBuffer());
  }

  async create(spec) {
    const container = await this.api("POST", "/containers", spec);
    this.#remember(container);
    return container;
  }

  #remember({ id, cgroup }) {
    this.#groups.add(id);
    for (const part of (cgroup ?? "").split("/")) if (part.startsWith("porthole-")) this.#groups.add(part);
  }

  get servePid() {
    return this.#serve.pid;
  }

  #parts(role) {
    // What a killed keeper had forked becomes a child of `porthole serve` too. An observer keeps the
    // command line of its keeper, and a monitor has it for its first moments; their names are their own.
    const forked = (pid) => /^porthole-(monito|watch)/.test(host.name(pid));
    return host.children(this.servePid).filter((pid) => host.args(pid)[1] === role && !forked(pid));
  }

  /** The process that plays this part, `keeper` or `server`; waits until there is one. */
  part(role) {
    return until(`a ${role}`, () => this.#parts(role)[0]);
  }

  /** Kills the process that plays this part, and waits until another stands in for it. */
  async kill(role) {
    const victim = await this.part(role);
    host.kill(victim);
    await until(`another ${role}`, () => this.#parts(role).some((pid) => pid !== victim));
  }

  /** Kills everything of it but its monitors, as if the dashboard were uninstalled in mid-flight. */
  async killServe() {
    const parts = [this.servePid, ...this.#parts("keeper"), ...this.#parts("server")];
    const ended = this.#serve.exitCode === null && new Promise((end) => this.#serve.once("exit", end));
    for (const pid of parts) host.kill(pid);
    await ended;
    await until("the parts are gone", () => parts.every((pid) => !host.alive(pid)));
  }

  /** Removes what it made, ends it, and says what is left of it, which is to be nothing. */
  async stop() {
    const wrong = [];
    try {
      const { items } = await this.api("GET", "/containers?own=true&limit=1000");
      for (const container of items) {
        this.#remember(container);
        await this.api("DELETE", `/containers/${container.id}?force=true`);
      }
      await this.#endForeign();
      await until("everything of it is gone", () => this.#leftovers(true).length === 0).catch(() => wrong.push(...this.#leftovers(true)));
    } catch (error) {
      wrong.push(String(error));
    }
    await this.#end(wrong);
    wrong.push(...this.#leftovers(false));
    const log = this.log();
    this.#sweep();
    if (/panicked at/.test(log)) wrong.push("a part of it panicked");
    if (wrong.length > 0) throw new Error(`left behind, or wrong at the end:\n${wrong.join("\n")}\n${log.slice(-4000)}`);
  }

  /** Ends the sessions of containers that it did not make, whose records stay. */
  async #endForeign() {
    const { items } = await this.api("GET", "/sessions?limit=1000");
    for (const session of items.filter(({ container }) => !this.#groups.has(container))) {
      await this.api("DELETE", `/sessions/${session.id}`).catch(() => undefined);
      this.#foreign.add(session.id);
    }
  }

  async #end(wrong) {
    if (this.#serve.exitCode !== null || this.#serve.signalCode !== null) return;
    const ended = new Promise((end) => this.#serve.once("exit", (code, signal) => end(code ?? signal)));
    this.#serve.kill("SIGTERM");
    const late = new Promise((end) => setTimeout(() => end("not within 15 s"), 15_000).unref());
    const how = await Promise.race([ended, late]);
    if (how !== 0) wrong.push(`porthole serve ended: ${how}`);
  }

  #leftovers(running) {
    const left = host.mountsBelow(this.directory);
    for (const kept of ["root/keeper/containers", "root/keeper/sessions", "root/server/journals", "run/m"]) {
      const path = join(this.directory, kept);
      if (existsSync(path)) left.push(...readdirSync(path).filter((name) => kept === "run/m" || !this.#foreign.has(name)).map((name) => join(kept, name)));
    }
    const groups = [...this.#groups].flatMap((name) => (running && name.startsWith("porthole-") ? [] : host.cgroups(name)));
    left.push(...groups);
    if (!running) left.push(...this.#processes().map((pid) => `process ${pid}: ${host.args(pid).join(" ")}`));
    return left;
  }

  #processes() {
    const mark = `PORTHOLE_RUN=${this.run}`;
    const own = host.processes().filter((pid) => host.environment(pid).includes(mark));
    const inside = [...this.#groups].flatMap((name) => host.cgroups(name)).flatMap(host.processesIn);
    return [...new Set([...own, ...inside])];
  }

  /** What no test should need: whatever is left goes. */
  #sweep() {
    for (let round = 0; round < 5; round += 1) for (const pid of this.#processes()) host.kill(pid);
    for (const group of [...this.#groups].flatMap((name) => host.cgroups(name)).reverse()) {
      try {
        rmdirSync(group);
      } catch {
        // Something in it has not ended yet.
      }
    }
    rmSync(this.directory, { recursive: true, force: true });
  }
}
