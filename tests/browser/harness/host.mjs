// The host as its /proc tells it, so that what the pages say can be compared with the kernel's word.

import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";

export const NAMESPACES = ["mnt", "uts", "ipc", "pid", "net", "user", "cgroup", "time"];

/** What this does, or nothing where the process has gone meanwhile. */
function there(read, otherwise) {
  try {
    return read();
  } catch {
    return otherwise;
  }
}

const words = (pid, file) => there(() => readFileSync(`/proc/${pid}/${file}`, "utf8").split("\0").slice(0, -1), []);

export const processes = () => readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(Number);
export const args = (pid) => words(pid, "cmdline");
export const name = (pid) => there(() => readFileSync(`/proc/${pid}/comm`, "utf8").trim(), "");
export const environment = (pid) => words(pid, "environ");

/** A process that runs, a zombie is none. */
export const alive = (pid) => there(() => !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "utf8")), false);

export function kill(pid, signal = "SIGKILL") {
  there(() => process.kill(pid, signal));
}

export function children(pid) {
  return there(() => readdirSync(`/proc/${pid}/task`), []).flatMap((task) =>
    there(() => readFileSync(`/proc/${pid}/task/${task}/children`, "utf8"), "").split(" ").filter(Boolean).map(Number),
  );
}

/** The inodes of a process's eight namespaces, `{pid: "pid:[4026532181]"}`. */
export function namespaces(pid) {
  return Object.fromEntries(NAMESPACES.map((type) => [type, readlinkSync(`/proc/${pid}/ns/${type}`)]));
}

/** A process's numbers from this namespace to its innermost. */
export function pids(pid) {
  return there(() => readFileSync(`/proc/${pid}/status`, "utf8").match(/^NSpid:\s+(.*)$/m)[1].split(/\s+/).map(Number), []);
}

/** Who is in this PID namespace, by host PID. */
export function membersOf(pidNamespace) {
  return processes().filter((pid) => there(() => readlinkSync(`/proc/${pid}/ns/pid`), "") === pidNamespace);
}

export function mountsBelow(directory) {
  return readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((line) => line.split(" ")[4])
    .filter((point) => point?.startsWith(directory))
    .map((point) => `mount ${point}`);
}

const cgroupTrees = () =>
  readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .filter((line) => / - cgroup2? /.test(line))
    .map((line) => line.split(" ")[4]);

/** Every cgroup of this name, in all trees that this process sees. */
export function cgroups(name) {
  const found = [];
  const search = (directory, depth) => {
    for (const entry of there(() => readdirSync(directory, { withFileTypes: true }), [])) {
      if (!entry.isDirectory()) continue;
      const path = join(directory, entry.name);
      if (entry.name === name) found.push(path);
      if (depth < 6) search(path, depth + 1);
    }
  };
  for (const tree of cgroupTrees()) search(tree, 0);
  return found;
}

export const processesIn = (group) =>
  there(() => readFileSync(join(group, "cgroup.procs"), "utf8"), "").split("\n").filter(Boolean).map(Number);

/** A file's text, or nothing where it is not there. */
export const readText = (path) => there(() => readFileSync(path, "utf8"), null);
