import { lstat, readdir, unlink } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { errnoOf } from "../model/errno.ts";

/**
 * Removes the temporary files that a crash during writeFileAtomic left in a
 * folder. Returns the number of removed files. Only regular files of our own
 * user count, with the name of a temporary file and without a write for
 * `idleMs` milliseconds. A write takes milliseconds. If another ngrokd process
 * is slower than `idleMs`, its write fails and its target stays unchanged.
 *
 * A missing or unreadable folder contains no such files. Rejects with the
 * system's error if a file cannot be removed.
 */
export async function sweepTemporaries(
  folder: string,
  idleMs: number,
  now = Date.now(),
): Promise<number> {
  let removed = 0;
  for (const name of await namesIn(folder)) {
    if (!/^\.[0-9a-f]{12}\.ngrokd\.tmp$/.test(name)) continue;
    const path = join(folder, name);
    const info = await lstat(path).catch(absent);
    if (!info?.isFile() || info.uid !== process.getuid?.() || now - info.mtimeMs < idleMs) continue;
    await unlink(path).catch(absent);
    removed += 1;
  }
  return removed;
}

/** The names in a folder; none if it is missing or not readable. */
export async function namesIn(folder: string): Promise<string[]> {
  return await readdir(folder).catch((error: unknown) => {
    if (["ENOENT", "ENOTDIR", "EACCES", "EPERM"].includes(errnoOf(error) ?? "")) return [];
    throw error;
  });
}

/** For `catch`: a missing file is not an error. */
export function absent(error: unknown): undefined {
  if (errnoOf(error) !== "ENOENT") throw error;
}
