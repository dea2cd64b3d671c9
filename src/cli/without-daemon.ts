import { startControlServer } from "../control/server.ts";
import { isNgrokdError, NgrokdError, reasonOf } from "../model/error.ts";
import { silentLog } from "../model/log.ts";
import type { Net } from "../net/types.ts";

/**
 * Runs work during which no daemon may run. Until the work ends, it holds the
 * control socket, which is the daemons' lock. If a daemon runs, it rejects with
 * `already-running`, and `hint` is the advice. It also rejects with the errors
 * of {@link startControlServer} or of the work.
 */
export async function withoutDaemon<T>(
  net: Net,
  socket: string,
  hint: string,
  work: () => Promise<T>,
): Promise<T> {
  const lock = await startControlServer({
    net,
    path: socket,
    group: "",
    log: silentLog,
    handle: busy,
  }).catch((error: unknown) => {
    if (isNgrokdError(error, "permission"))
      throw new NgrokdError("permission", `This needs root: ${reasonOf(error)}`, {
        cause: error,
        hint: "run this as root (sudo)",
      });
    if (!isNgrokdError(error, "already-running")) throw error;
    throw new NgrokdError(
      "already-running",
      `A daemon is running on the control socket "${socket}", and nothing was changed`,
      { hint },
    );
  });
  try {
    return await work();
  } finally {
    await lock.close();
  }
}

function busy(): never {
  throw new NgrokdError(
    "refused",
    "No daemon is running: another command is changing this machine's registration " +
      "or ngrokd's changes",
    {
      hint: "try again in a moment",
    },
  );
}
