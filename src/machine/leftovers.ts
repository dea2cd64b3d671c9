import { realpath } from "node:fs/promises";
import { dirname } from "node:path";
import { sweepSockets } from "../control/stale-sockets.ts";
import { sweepTemporaries } from "../files/sweep.ts";
import { reasonOf } from "../model/error.ts";
import type { Log } from "../model/log.ts";
import type { Net } from "../net/types.ts";

export interface Places {
  readonly socket: string;
  /**
   * Files that are replaced whole, such as the configuration: what a crash
   * leaves lies beside them.
   */
  readonly files: readonly string[];
}

/** A file that this process and its kind are still writing is younger. */
const idleMs = 5000;

/**
 * Removes what a run that was killed has left: temporary files, and sockets on
 * which nobody listens. Tells the log; never rejects.
 */
export async function sweepLeftovers(net: Net, { socket, files }: Places, log: Log): Promise<void> {
  try {
    // Beside the real file: that is where writes go which keep a symbolic link.
    const folders = await Promise.all(
      files.map(async (file) => dirname(await realpath(file).catch(() => file))),
    );
    let removed = await sweepSockets(net, socket);
    for (const folder of new Set(folders)) removed += await sweepTemporaries(folder, idleMs);
    if (removed > 0)
      log.info(
        `Removed ${removed === 1 ? "a temporary file" : `${removed} temporary files`} that an interrupted run had left`,
      );
  } catch (error) {
    log.warn(`Cannot remove what an interrupted run has left: ${reasonOf(error)}`);
  }
}
