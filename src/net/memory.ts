import { readFileSync } from "node:fs";
import { totalmem } from "node:os";

/**
 * The memory that this process may use, in bytes: the machine's, or less if a
 * control group of Linux allows less (a container, a unit's `MemoryMax=`).
 */
export function memoryLimit(read: (path: string) => string = textAt, all = totalmem()): number {
  const limits = limitFiles(read("/proc/self/cgroup")).map((path) => limitIn(read(path)));
  return Math.min(all, ...limits);
}

/**
 * Pure: the files with the limits of a process, by its /proc/self/cgroup. The
 * groups above its own count too. A container sees its own group at the root.
 */
export function limitFiles(cgroup: string): string[] {
  return cgroup.split("\n").flatMap((line) => {
    const [, controllers, path] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? [];
    if (controllers === undefined || path === undefined) return [];
    const groups = withParents(path);
    if (controllers === "")
      return groups.flatMap((group) =>
        ["memory.max", "memory.high"].map((file) => `/sys/fs/cgroup${group}/${file}`),
      );
    return controllers.split(",").includes("memory")
      ? groups.map((group) => `/sys/fs/cgroup/memory${group}/memory.limit_in_bytes`)
      : [];
  });
}

/** `/a/b` is the group "/a/b" in "/a" in "". */
function withParents(path: string): string[] {
  const names = path.split("/").filter((name) => name !== "" && name !== "..");
  return [...names.keys(), names.length].map((count) =>
    names.slice(0, count).reduce((whole, name) => `${whole}/${name}`, ""),
  );
}

/** Infinity for `max`, and for a file that is not there. */
const limitIn = (text: string): number =>
  /^\d+\s*$/.test(text) ? Number(text) : Number.POSITIVE_INFINITY;

function textAt(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
