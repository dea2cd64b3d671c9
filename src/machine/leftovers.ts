import { realpath } from "node:fs/promises";
import { dirname } from "node:path";
import { sweepTemporaries } from "../files/sweep.ts";
import { reasonOf } from "../model/error.ts";
import type { Log } from "../model/log.ts";

export interface Leftovers {
  /**
   * Files that are replaced whole, such as the configuration. A crash leaves
   * temporary files beside them.
   */
  readonly files: readonly string[];
  /** Removes dead sockets, and returns their number. */
  readonly sweepSockets: () => Promise<number>;
}

/** A younger file may still be in use by another process. */
const idleMs = 5000;

/**
 * Removes the leftovers of a killed run: temporary files, and sockets on which
 * no program listens. Logs how many; never rejects.
 */
export async function sweepLeftovers({ files, sweepSockets }: Leftovers, log: Log): Promise<void> {
  try {
    // The temporary file is beside the real file, not beside a symbolic link.
    const folders = await Promise.all(
      files.map(async (file) => dirname(await realpath(file).catch(() => file))),
    );
    let removed = await sweepSockets();
    for (const folder of new Set(folders)) removed += await sweepTemporaries(folder, idleMs);
    if (removed === 0) return;
    const what = removed === 1 ? "a temporary file" : `${removed} temporary files`;
    log.info(`Removed ${what} that an interrupted run had left`);
  } catch (error) {
    log.warn(`Cannot remove the leftovers of an interrupted run: ${reasonOf(error)}`);
  }
}
