import { readdir } from "node:fs/promises";
import type { Family } from "./exposition.ts";

/** What Prometheus's own clients tell of a process; `maxFds` is its limit of open files, Infinity where that is unknown. */
export async function processFamilies(maxFds: number): Promise<Family[]> {
  const { user, system } = process.cpuUsage();
  // Linux only. The folder itself is open while it is read.
  const openFds = await readdir("/proc/self/fd").then(
    ({ length }) => length - 1,
    () => undefined,
  );
  return [
    one("process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds.", (user + system) / 1e6),
    one("process_resident_memory_bytes", "gauge", "Resident memory size in bytes.", process.memoryUsage.rss()),
    one("process_start_time_seconds", "gauge", "Start time of the process since unix epoch in seconds.", startedAt),
    ...(openFds === undefined ? [] : [one("process_open_fds", "gauge", "Number of open file descriptors.", openFds)]),
    ...(maxFds === Number.POSITIVE_INFINITY ? [] : [one("process_max_fds", "gauge", "Maximum number of open file descriptors.", maxFds)]),
  ];
}

const startedAt = Math.round(Date.now() - process.uptime() * 1000) / 1000;

/** A metric that is one number. */
export function one(name: string, type: "counter" | "gauge", help: string, value: number): Family {
  return { name, type, help, samples: () => [{ value }] };
}
