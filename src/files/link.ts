import { lstat, readlink, realpath, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import process from "node:process";
import { errnoOf } from "./atomic.ts";

/**
 * The target of a chain of symbolic links, also if no file exists there yet. It
 * is for a file that is replaced while its link stays. Returns `path` itself if
 * a link belongs to another user, or if other users can write in the target's
 * folder. A write there replaces the link.
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
