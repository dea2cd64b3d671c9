import { join } from "node:path";
import { atEnd } from "./story.ts";

/** What a load has seen: load.child.ts. */
export interface LoadReport {
  /** Short connections that were opened, in so many seconds. */
  begun: number;
  seconds: number;
  /** Those that were due, and too many were open already. */
  leftOut: number;
  mostOpen: number;
  /** Short connections whose bytes all came back. */
  complete: number;
  refused: number;
  reset: number;
  /** Short connections that ended early. */
  cut: number;
  /** Short connections that brought other bytes. */
  wrong: number;
  longBytes: number;
  /** Long connections that broke, or with another hash. */
  longBroken: number;
  /** The longest life of a short connection. */
  longestMs: number;
  /** Names that the hosts file did not have at some time. */
  missingNames: string[];
  errors: string[];
}

/**
 * A load on endpoints that echo, from a process of its own. It goes on after
 * `end` until `least` short connections are complete, so that a slow machine
 * has some as well.
 */
export function startLoad(
  { rate, long, least }: { rate: number; long: number; least: number },
  targets: readonly { name: string; ip: string; port: number }[],
): { end(): Promise<LoadReport> } {
  const script = join(import.meta.dirname, "load.child.ts");
  const words = targets.map(({ name, ip, port }) => `${name}=${ip}:${port}`);
  const numbers = [rate, long, least].map(String);
  const child = Bun.spawn([process.execPath, script, ...numbers, ...words], {
    stdin: "pipe",
    stdout: "pipe",
    stderr: "inherit",
  });
  atEnd(() => child.kill("SIGKILL"));
  return {
    async end() {
      child.stdin.end();
      return JSON.parse(await child.stdout.text());
    },
  };
}

/** For people: what the load was, apart from what went wrong. */
export const loadText = ({ begun, seconds, leftOut, mostOpen, longestMs }: LoadReport): string =>
  `${begun} connections in ${seconds.toFixed(1)} s: ${Math.round(begun / seconds)}/s, ` +
  `up to ${mostOpen} at once, the longest ${longestMs} ms` +
  (leftOut === 0 ? "" : `; ${leftOut} more were left out, since this machine is too slow for them`);

/** The report of a load that nothing has disturbed. */
export const undisturbed = {
  refused: 0,
  reset: 0,
  cut: 0,
  wrong: 0,
  longBroken: 0,
  missingNames: [],
  errors: [],
};
