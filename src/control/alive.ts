import { isNgrokdError } from "../model/error.ts";
import type { Net } from "../net/types.ts";

/**
 * Whether a process listens on this socket. It counts as alive also if its
 * queue of connections is full (EAGAIN).
 */
export async function isAlive(net: Net, path: string): Promise<boolean> {
  return (await look(net, path)) ?? (await look(net, path)) ?? true;
}

/**
 * Undefined if the time is over. The system answers at once, so it was probably
 * this process that stood still.
 */
async function look(net: Net, path: string): Promise<boolean | undefined> {
  const signal = AbortSignal.timeout(2000);
  try {
    const conn = await net.dial({ path }, { signal });
    conn.close();
    return true;
  } catch (error) {
    if (signal.aborted) return undefined;
    // Only a refusal or a missing path proves that no process listens.
    return !(
      isNgrokdError(error, "network") &&
      ["ECONNREFUSED", "ENOENT"].includes(String(error.details.errno))
    );
  }
}
