import { lstat, readlink, realpath, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import process from "node:process";
import { errnoOf } from "../model/errno.ts";
import { self, wayTo, writerOf } from "./writers.ts";

/**
 * The target of a chain of symbolic links, also if no file exists there yet. It
 * is for a file that is replaced while its link stays. Returns `path` itself if
 * other users can change a link or a folder on the way to the target. A write
 * there replaces the link.
 */
export async function linkedFile(path: string): Promise<string> {
  const link = await lstat(path).catch(() => undefined);
  if (!link?.isSymbolicLink() || !isTrusted(link.uid)) return path;
  const target = await realpath(path).catch(async (error: unknown) =>
    errnoOf(error) === "ENOENT" ? resolve(dirname(path), await readlink(path)) : undefined,
  );
  const folder = target && (await stat(dirname(target)).catch(() => undefined));
  const isSafe = folder && isTrusted(folder.uid) && (folder.mode & 0o022) === 0;
  return target !== undefined && isSafe && (await isOursBeyond(path)) ? target : path;
}

/** Of the way behind the link; that to the link itself is its own anyway. */
async function isOursBeyond(link: string): Promise<boolean> {
  const before = new Set((await wayTo(dirname(link))).map(({ path }) => path));
  const way = await wayTo(link);
  const beyond = way.filter(({ kind, path }) => kind !== "file" && !before.has(path));
  return writerOf(beyond, self()) === undefined;
}

const isTrusted = (uid: number): boolean => uid === 0 || uid === process.getuid?.();
