import { lstat, readlink, realpath, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import process from "node:process";
import { errnoOf } from "./atomic.ts";

/**
 * The path at the end of a chain of symbolic links, for a file that is replaced
 * and whose link stays; there may be no file yet. Links of somebody else, and
 * places that others may write, are not followed: the path itself comes back,
 * and what is written there takes the place of the link.
 */
export async function linkedFile(path: string): Promise<string> {
  const link = await lstat(path).catch(() => undefined);
  if (!link?.isSymbolicLink() || !isTrusted(link.uid)) return path;
  const target = await realpath(path).catch(async (error: unknown) =>
    errnoOf(error) === "ENOENT" ? resolve(dirname(path), await readlink(path)) : undefined,
  );
  const folder = target && (await stat(dirname(target)).catch(() => undefined));
  const isSafe = folder && isTrusted(folder.uid) && (folder.mode & 0o022) === 0;
  return target !== undefined && isSafe ? target : path;
}

const isTrusted = (uid: number): boolean => uid === 0 || uid === process.getuid?.();
