import { isNgrokdError } from "../model/error.ts";
import type { Net } from "../net/types.ts";

/**
 * Whether anything listens on this socket, also where it takes no connection
 * because more of them wait already than fit (EAGAIN).
 */
export async function isAlive(net: Net, path: string): Promise<boolean> {
  try {
    const conn = await net.dial({ path }, { signal: AbortSignal.timeout(2000) });
    conn.close();
    return true;
  } catch (error) {
    // Only a refusal, or a path that is gone, proves that nobody is there.
    return !(
      isNgrokdError(error, "network") &&
      ["ECONNREFUSED", "ENOENT"].includes(String(error.details.errno))
    );
  }
}
