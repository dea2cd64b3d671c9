import { lstat, realpath } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { errnoOf } from "../model/errno.ts";

/**
 * The file behind the symbolic links, or the path itself if no file exists.
 * Undefined for a link to a file that does not exist. Rejects with the system's
 * error.
 */
export async function realFile(path: string): Promise<string | undefined> {
  try {
    return await realpath(path);
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") throw error;
  }
  const link = await lstat(path).catch(() => undefined);
  return link === undefined ? join(await realpath(dirname(path)), basename(path)) : undefined;
}
