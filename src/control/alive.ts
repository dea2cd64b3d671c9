import { isNgrokdError } from "../model/error.ts";
import type { Net } from "../net/types.ts";

/**
 * Whether a process listens on this socket. It counts as alive also if its
 * queue of connections is full (EAGAIN).
 */
export async function isAlive(net: Net, path: string): Promise<boolean> {
  try {
    const conn = await net.dial({ path }, { signal: AbortSignal.timeout(2000) });
    conn.close();
    return true;
  } catch (error) {
    // Only a refusal or a missing path proves that no process listens.
    return !(
      isNgrokdError(error, "network") &&
      ["ECONNREFUSED", "ENOENT"].includes(String(error.details.errno))
    );
  }
}
