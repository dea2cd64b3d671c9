import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { startControlServer } from "../control/server.ts";
import { isNgrokdError, NgrokdError } from "../model/error.ts";
import { silentLog } from "../model/log.ts";
import type { Net } from "../net/types.ts";

/** A registration takes seconds; ngrok may be slow. */
const patienceMs = 60_000;

/**
 * Runs work while no other process does so for the same folder. The lock is a
 * socket, as the daemons' is, so a crash releases it. Rejects with
 * `already-running` after a minute.
 */
export async function alone<T>(net: Net, folder: string, work: () => Promise<T>): Promise<T> {
  const path = join(folder, "lock.sock");
  const deadline = performance.now() + patienceMs;
  for (;;) {
    const lock = await startControlServer({ net, path, group: "", log: silentLog, handle }).catch(
      (error: unknown) => {
        if (!isNgrokdError(error, "already-running") || performance.now() > deadline) throw error;
      },
    );
    if (lock === undefined) {
      await sleep(50 + 50 * Math.random());
      continue;
    }
    try {
      return await work();
    } finally {
      await lock.close();
    }
  }
}

function handle(): never {
  throw new NgrokdError("refused", "Another ngrokd is registering this user");
}
