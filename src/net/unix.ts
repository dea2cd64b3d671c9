/**
 * What a unix socket's path needs beyond the socket: a mode from the first
 * moment on, and a removal that takes nobody else's file.
 */
import { lstatSync, renameSync, unlinkSync } from "node:fs";
import process from "node:process";

/**
 * Runs `listen`, which must bind before it returns (umask is the whole
 * process's): the socket's file has mode 0600 at once.
 */
export function privately<T>(listen: () => T): T {
  const before = process.umask(0o177);
  try {
    return listen();
  } finally {
    process.umask(before);
  }
}

/**
 * Which file a path names (device and inode), undefined where there is none. A
 * bound socket keeps its inode from being used again.
 */
export function fileAt(path: string): string | undefined {
  const stat = lstatSync(path, { throwIfNoEntry: false, bigint: true });
  return stat === undefined ? undefined : `${stat.dev}:${stat.ino}`;
}

/**
 * Runs `stop`, after which the path is free if it was still `ours` and
 * untouched if another file has taken its place meanwhile. Bun and Node.js
 * unlink the path in their stop(), whatever lies there by then: a foreign file
 * steps aside for that long.
 */
export function stopAt(path: string, ours: string | undefined, stop: () => void): void {
  const there = fileAt(path);
  const foreign = there !== undefined && there !== ours;
  const aside = `${path}.${process.pid}.aside`;
  if (foreign) renameSync(path, aside);
  try {
    stop();
  } finally {
    if (foreign) renameSync(aside, path);
  }
  if (!foreign && fileAt(path) === ours && ours !== undefined) unlinkSync(path);
}
