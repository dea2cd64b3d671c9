/**
 * The path of a unix socket: its mode is right from the first moment on, and
 * its removal takes no other file.
 */
import { closeSync, lstatSync, renameSync, unlinkSync } from "node:fs";
import process from "node:process";

/**
 * Runs `listen`, which must bind before it returns, since umask is that of the
 * whole process. The socket's file has mode 0600 at once.
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
 * The file at a path (device and inode); undefined if there is none. A bound
 * socket keeps its inode from being used again.
 */
export function fileAt(path: string): string | undefined {
  const stat = lstatSync(path, { throwIfNoEntry: false, bigint: true });
  return stat === undefined ? undefined : `${stat.dev}:${stat.ino}`;
}

/**
 * Runs `stop`. After that the path is free if it was still `ours`, and
 * untouched if another file has taken its place. Bun and Node.js unlink the
 * path in their stop() in both cases, so the other file is moved aside for that
 * long.
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

/** {@link Net.closeDescriptor}. */
export function closeDescriptor(fd: number): void {
  try {
    closeSync(fd);
  } catch {
    // It is closed already.
  }
}
