import { statSync } from "node:fs";

/**
 * The stamp of a file: a text that every write by any program changes. "none"
 * if there is no file, or if its folder cannot be read. The call is synchronous
 * on purpose. It takes microseconds, and a thread woken every few seconds would
 * be most of the cost of an idle daemon.
 */
export async function stampOf(path: string): Promise<string> {
  try {
    const found = statSync(path, { bigint: true });
    return `${found.dev} ${found.ino} ${found.size} ${found.mtimeNs} ${found.ctimeNs}`;
  } catch {
    return "none";
  }
}
