import { readdirSync, readFileSync } from "node:fs";
import type { Daemon } from "./ngrokd.ts";
import { until } from "./story.ts";

/** A process's use of the machine. */
export interface Footprint {
  /** Open descriptors. */
  readonly files: number;
  /** Resident memory, KiB. */
  readonly rss: number;
}

export function footprint(pid: number): Footprint {
  const rss = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return { files: readdirSync(`/proc/${pid}/fd`).length, rss: Number(rss) };
}

/**
 * Waits until a process rests: its main thread sleeps in ten samples in a row.
 * A thread that spins is runnable in every sample, also on a busy machine where
 * it gets no CPU. So this needs no clock.
 */
export async function untilItRests(pid: number): Promise<void> {
  const sleeps = (): boolean => / \(.*\) S /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  let samples = 0;
  await until("the process rests", () => {
    samples = sleeps() ? samples + 1 : 0;
    return samples === 10;
  });
}

/**
 * Waits until three things hold: no connection is open, the daemon has at most
 * the descriptors of `before`, and its memory has grown by at most `growth`
 * KiB. A runtime frees memory only when it next collects garbage. Take `before`
 * after the first connection, since a runtime creates some objects only then.
 */
export async function backTo(before: Footprint, daemon: Daemon, growth = 32 * 1024): Promise<void> {
  await until("no connection is open, and descriptors and memory are back", async () => {
    const { active } = (await daemon.status()).connections;
    const { files, rss } = footprint(daemon.pid);
    if (active === 0 && files <= before.files && rss <= before.rss + growth) return true;
    throw new Error(
      `${active} connections and ${files} descriptors are open, and the daemon takes ${rss} KiB; ` +
        `it was ${before.files} descriptors and ${before.rss} KiB`,
    );
  });
}
