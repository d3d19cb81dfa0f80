// A Docker daemon of a test file's own: its data, its socket and its control group are its own, and
// gone when it is stopped. No registry is reachable, so its one image is made here, from busybox.

import { execFileSync, spawn } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "./browser.mjs";
import * as host from "./host.mjs";

export const IMAGE = "porthole-test";
const APPLETS = ["sh", "sleep", "cat", "id", "ps", "ls", "echo", "env", "hostname", "readlink", "true", "date"];

export class Docker {
  #daemon;

  constructor(directory, group) {
    this.directory = directory;
    this.group = group;
    this.socket = join(directory, "docker.sock");
  }

  /** Starts one and waits until it answers; `null`, with the cause, where this machine has none. */
  static async start() {
    if (!existsSync("/usr/sbin/dockerd") || !existsSync("/usr/bin/docker")) {
      console.error("SKIPPED: this machine has no Docker; `make setup-test` installs it");
      return null;
    }
    const directory = mkdtempSync(join(tmpdir(), "engine-"));
    const docker = new Docker(directory, `porthole-test-docker-${process.pid}`);
    docker.#run();
    await docker.ready();
    docker.#image();
    return docker;
  }

  #run() {
    const log = openSync(join(this.directory, "log"), "a");
    const place = (name) => join(this.directory, name);
    this.#daemon = spawn(
      "unshare",
      // It mounts its directory over itself: where nobody else sees it, and for as long as it runs.
      ["--mount", "--propagation", "private", "/usr/sbin/dockerd",
        "--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver", "vfs",
        "--data-root", place("data"), "--exec-root", place("exec"), "--pidfile", place("pid"),
        "--host", `unix://${this.socket}`, "--cgroup-parent", `/${this.group}`],
      { stdio: ["ignore", log, log] },
    );
  }

  ready() {
    return until("Docker answers", () => this.#tries("version"), { within: 30_000, every: 100 });
  }

  #tries(...words) {
    try {
      return this.docker(...words);
    } catch {
      return null;
    }
  }

  #image() {
    const root = join(this.directory, "image");
    for (const name of ["bin", "etc", "proc", "sys", "dev", "tmp", "root"]) mkdirSync(join(root, name), { recursive: true });
    copyFileSync("/bin/busybox", join(root, "bin/busybox"));
    for (const applet of APPLETS) symlinkSync("busybox", join(root, "bin", applet));
    writeFileSync(join(root, "etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n");
    writeFileSync(join(root, "etc/group"), "root:x:0:\n");
    const tar = join(this.directory, "image.tar");
    execFileSync("tar", ["-C", root, "-cf", tar, "."]);
    this.docker("import", tar, IMAGE);
    execFileSync("tar", ["-C", root, "-cf", tar, "bin/sleep", "bin/busybox"]);
    this.docker("import", tar, `${IMAGE}-bare`);
  }

  /** What `docker` answers. */
  docker(...words) {
    const env = { PATH: process.env.PATH, DOCKER_CONFIG: join(this.directory, "config") };
    return execFileSync("/usr/bin/docker", ["--host", `unix://${this.socket}`, ...words], { encoding: "utf8", env, stdio: ["ignore", "pipe", "pipe"] }).trim();
  }

  /** Starts a container in the background: its id. */
  run(options, command, image = IMAGE) {
    return this.docker("run", "--detach", "--network", "none", ...options, image, ...command);
  }

  /** Stops the daemon's process where it is, or lets it go on. */
  freeze(yes) {
    this.#daemon.kill(yes ? "SIGSTOP" : "SIGCONT");
  }

  /** Ends it with what runs in its containers. */
  async stop() {
    this.freeze(false);
    for (const id of (this.#tries("ps", "--all", "--quiet") ?? "").split("\n").filter(Boolean)) this.#tries("rm", "--force", id);
    const ended = this.#daemon.exitCode === null && new Promise((end) => this.#daemon.once("exit", end));
    this.#daemon.kill("SIGTERM");
    await ended;
    const left = host.mountsBelow(this.directory);
    for (const group of host.cgroups(this.group)) remove(group);
    rmSync(this.directory, { recursive: true, force: true });
    if (left.length > 0) throw new Error(`Docker left behind:\n${left.join("\n")}`);
  }
}

/** A control group with those below it. */
function remove(group) {
  for (const entry of readdirSync(group, { withFileTypes: true })) if (entry.isDirectory()) remove(join(group, entry.name));
  for (const pid of (readFileSync(join(group, "cgroup.procs"), "utf8") ?? "").split("\n").filter(Boolean)) host.kill(Number(pid));
  try {
    rmdirSync(group);
  } catch {
    // Something in it has not ended yet.
  }
}
