import { readdir } from "node:fs/promises";
import { counter, type Family, gauge } from "./exposition.ts";

/**
 * The process metrics of Prometheus's own client libraries. `maxFds` is the
 * limit of open files, Infinity if it is unknown.
 */
export async function processFamilies(maxFds: number): Promise<Family[]> {
  const { user, system } = process.cpuUsage();
  // Linux only. The folder itself is open while it is read.
  const openFds = await readdir("/proc/self/fd").then(
    ({ length }) => length - 1,
    () => undefined,
  );
  return [
    counter(
      "process_cpu_seconds_total",
      "Total user and system CPU time spent in seconds.",
      (user + system) / 1e6,
    ),
    gauge(
      "process_resident_memory_bytes",
      "Resident memory size in bytes.",
      process.memoryUsage.rss(),
    ),
    gauge(
      "process_start_time_seconds",
      "Start time of the process since unix epoch in seconds.",
      startedAt,
    ),
    ...(openFds === undefined
      ? []
      : [gauge("process_open_fds", "Number of open file descriptors.", openFds)]),
    ...(maxFds === Number.POSITIVE_INFINITY
      ? []
      : [gauge("process_max_fds", "Maximum number of open file descriptors.", maxFds)]),
  ];
}

const startedAt = Math.round(Date.now() - process.uptime() * 1000) / 1000;
