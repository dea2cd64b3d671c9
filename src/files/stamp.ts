import { type BigIntStats, statSync } from "node:fs";

/**
 * The stamp of a file: a text that every write by any program changes. "none"
 * if there is no file, or if its folder cannot be read. The call is synchronous
 * on purpose. It takes microseconds, and a thread woken every few seconds would
 * be most of the cost of an idle daemon.
 */
export async function stampOf(path: string): Promise<string> {
  try {
    return stampIn(statSync(path, { bigint: true }));
  } catch {
    return "none";
  }
}

/** Pure: the stamp of a file that has these stats. */
export const stampIn = ({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string =>
  [dev, ino, size, mtimeNs, ctimeNs].join(" ");
