import { readSync } from "node:fs";
import { appendFile, type FileHandle } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

/**
 * The time for a program that has opened the old file to append its line to it.
 * Milliseconds between the checks.
 */
const waitsMs = [0, 10, 40, 150];

/**
 * Appends to `path` the text that other programs append to the replaced file. A
 * program that has opened the old file before writes to it even later. `length`
 * bytes of the old file are known.
 */
export async function carryTail(old: FileHandle, length: number, path: string): Promise<void> {
  let known = length;
  for (const ms of waitsMs) {
    if (ms > 0) await sleep(ms);
    const tail = tailOf(old.fd, known);
    if (tail.length === 0) continue;
    known += tail.length;
    await appendFile(path, tail);
  }
}

/** The bytes of an open file from `from` to its end. */
export function tailOf(fd: number, from: number): Buffer {
  const parts: Buffer[] = [];
  for (let at = from; ; ) {
    const part = Buffer.alloc(4096);
    const size = readSync(fd, part, 0, part.length, at);
    if (size === 0) return Buffer.concat(parts);
    parts.push(part.subarray(0, size));
    at += size;
  }
}
