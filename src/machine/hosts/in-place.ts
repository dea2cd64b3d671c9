/**
 * Writes a hosts file that cannot be replaced, in place. Copies of the text
 * before and after are kept meanwhile, so that a crash loses nothing.
 */
import { Buffer } from "node:buffer";
import { constants, ftruncateSync, readFileSync, writeSync } from "node:fs";
import { type FileHandle, open, rename, unlink } from "node:fs/promises";
import { fileError, readBytesIfThere, writeFileAtomic } from "../../files/atomic.ts";
import { stateFiles } from "../../files/state-folder.ts";
import { absent } from "../../files/sweep.ts";
import { isNgrokdError, NgrokdError } from "../../model/error.ts";
import { tailOf } from "./tail.ts";

/** The content of a hosts file. */
export interface HostsContent {
  readonly bytes: Buffer;
  readonly mode: number;
  /** As stampOf: of the file that was read. */
  readonly stamp?: string;
  /** How many names the file has. */
  readonly links?: number;
}

export type Copies = ReturnType<typeof copiesIn>;
export function copiesIn(stateFolder: string) {
  const { hostsOriginal, hostsBefore, hostsAfter } = stateFiles(stateFolder);
  return { original: hostsOriginal, before: hostsBefore, after: hostsAfter };
}

/** A full disk: there is no room for a new file, and none is needed to cut. */
export const noRoom = new Set(["ENOSPC", "EDQUOT"]);

/**
 * Writes from the first byte that differs, and then cuts the file. If the write
 * fails, the old bytes are put back. If the process or the machine stops,
 * finishInterrupted() finds both copies at the next call.
 */
export async function overwrite(
  path: string,
  old: HostsContent,
  bytes: Buffer,
  copies: Copies,
): Promise<"overwritten" | "overtaken"> {
  const file = await open(path, constants.O_RDWR | constants.O_NOFOLLOW);
  try {
    // A user who may not read the file may not read its copies either. A full
    // disk has no room for them, but the file can still become shorter.
    const isShorter = bytes.length <= old.bytes.length;
    await keepCopies(copies, old, bytes).catch(async (error: unknown) => {
      if (!isShorter || !isNgrokdError(error) || !noRoom.has(String(error.details.errno)))
        throw error;
      await dropCopies(copies);
    });
    const isDone = await putUnchanged(file, old.bytes, bytes).finally(() => dropCopies(copies));
    return isDone ? "overwritten" : "overtaken";
  } finally {
    await file.close();
  }
}

async function keepCopies(copies: Copies, old: HostsContent, bytes: Buffer): Promise<void> {
  await keepCopy(copies.before, old.bytes, old.mode);
  await keepCopy(copies.after, bytes, old.mode);
}

/**
 * Puts `bytes` in place of `old`, and returns false if the file has another
 * text by now. Without a wait in between, so that there is hardly a moment in
 * which another program's line could be lost.
 */
async function putUnchanged(file: FileHandle, old: Buffer, bytes: Buffer): Promise<boolean> {
  const { fd } = file;
  if (!readFileSync(fd).equals(old)) return false;
  const from = firstDifference(old, bytes);
  try {
    writeAllSync(fd, bytes, from);
    // Other programs may have appended after the part that was read.
    const tail = tailOf(fd, Math.max(old.length, bytes.length));
    writeAllSync(fd, Buffer.concat([bytes, tail]), bytes.length);
    ftruncateSync(fd, bytes.length + tail.length);
  } catch (error) {
    writeAllSync(fd, old, from);
    ftruncateSync(fd, old.length);
    throw error;
  }
  await file.sync();
  return true;
}

function writeAllSync(fd: number, bytes: Buffer, from: number): void {
  for (let at = from; at < bytes.length; ) at += writeSync(fd, bytes, at, bytes.length - at, at);
}

async function putFrom(file: FileHandle, bytes: Buffer, from: number): Promise<void> {
  writeAllSync(file.fd, bytes, from);
  ftruncateSync(file.fd, bytes.length);
  await file.sync();
}

/** In this order: an interrupted write is known by both copies together. */
async function dropCopies(copies: Copies): Promise<void> {
  await unlink(copies.after).catch(absent);
  await unlink(copies.before).catch(absent);
}

function firstDifference(a: Buffer, b: Buffer): number {
  const end = Math.min(a.length, b.length);
  let at = 0;
  while (at < end && a[at] === b[at]) at++;
  return at;
}

/**
 * Finishes an overwrite() that a crash interrupted. Disks may store the blocks
 * of a write in any order, so each byte may be old or new. A file with any
 * other byte was changed since then, and is left alone.
 */
export async function finishInterrupted(
  path: string,
  read: (path: string) => Promise<HostsContent | undefined>,
  copies: Copies,
): Promise<string[]> {
  const before = await readBytesIfThere(copies.before);
  const after = await readBytesIfThere(copies.after);
  if (before === undefined || after === undefined) return [];
  const now = (await read(path))?.bytes;
  if (now?.equals(before) || now?.equals(after)) {
    await dropCopies(copies);
    return [];
  }
  if (now === undefined || !isMixOf(now, before, after)) {
    const kept = `${copies.before}-${new Date().toISOString().replaceAll(/[-:]|\.\d+/g, "")}`;
    await rename(copies.before, kept);
    await unlink(copies.after);
    return [
      `a write of the hosts file was interrupted, and the file was changed since; the text from before the write is in "${kept}"`,
    ];
  }
  const file = await open(path, constants.O_RDWR | constants.O_NOFOLLOW);
  try {
    await putFrom(file, after, firstDifference(now, after));
  } finally {
    await file.close();
  }
  await dropCopies(copies);
  return ["a write of the hosts file that was interrupted has been finished"];
}

function isMixOf(now: Buffer, before: Buffer, after: Buffer): boolean {
  if (now.length < Math.min(before.length, after.length)) return false;
  return now.every((byte, at) => byte === before[at] || byte === after[at]);
}

export async function keepCopy(copy: string, bytes: Buffer, mode: number): Promise<void> {
  try {
    await writeFileAtomic(copy, bytes, { mode });
  } catch (error) {
    const { code, message, details } = fileError(`Cannot write "${copy}"`, error);
    throw new NgrokdError(code, message, {
      cause: error,
      details: { ...details },
      hint: "the hosts file is changed only if a copy of it can be kept",
    });
  }
}
