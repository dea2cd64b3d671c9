import { lstat, readdir, unlink } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { errnoOf } from "./atomic.ts";

/**
 * Removes what a crash in the middle of writeFileAtomic has left in a folder,
 * and answers how many files that were: plain files of our own user with the
 * name of a temporary file that nobody has written to for `idleMs`. A write
 * takes milliseconds; should another program's write of ours still be under way
 * after that long, it fails, and its file is as it was. A folder that is not
 * there, or that we may not read, has nothing for us. Rejects with the system's
 * error where a leftover cannot be removed.
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

/** The names in a folder; none where it is not there or may not be read. */
export async function namesIn(folder: string): Promise<string[]> {
  return await readdir(folder).catch((error: unknown) => {
    if (["ENOENT", "ENOTDIR", "EACCES", "EPERM"].includes(errnoOf(error) ?? "")) return [];
    throw error;
  });
}

/** For `catch`: a file that is gone is no error. */
export function absent(error: unknown): undefined {
  if (errnoOf(error) !== "ENOENT") throw error;
}
