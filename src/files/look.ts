import { statSync } from "node:fs";

/**
 * How a file looks from outside: a text that every write of any program
 * changes. "none" where it is not there, or cannot be asked. Asked at once and
 * not in a thread: that takes microseconds, and waking a thread every few
 * seconds would be most of what a daemon at rest costs.
 */
export async function lookOf(path: string): Promise<string> {
  try {
    const found = statSync(path, { bigint: true });
    return `${found.dev} ${found.ino} ${found.size} ${found.mtimeNs} ${found.ctimeNs}`;
  } catch {
    return "none";
  }
}
