import { join } from "node:path";
import { outputOf, start } from "./processes.ts";

/** The measurements of apart.child.ts. */
export type Apart = "anyip" | "fresh" | "questions";

/** Values by their metrics. */
export type Metrics = Readonly<Record<string, number>>;

/**
 * Runs a measurement in Linux namespaces of its own, where a daemon may make an
 * interface, and no resolver of this machine is told anything. Returns nothing
 * where that is not allowed: it needs root.
 */
export async function measuredApart(
  folder: string,
  binary: string,
  what: Apart,
  scale: number,
): Promise<Metrics> {
  if (outputOf([...namespaces, "true"]) === undefined) return {};
  const child = [process.execPath, join(import.meta.dirname, "apart.child.ts")];
  const running = start(folder, what, [
    ...namespaces,
    ...child,
    folder,
    binary,
    what,
    String(scale),
  ]);
  const metrics: Metrics = JSON.parse(await running.line());
  await running.stop();
  return metrics;
}

const namespaces = [
  ...["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"],
  ...["sh", "-c", 'ip link set lo up && mount -t tmpfs tmpfs /run && exec "$@"', "sh"],
];
