import { lstat, rmdir, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import process from "node:process";
import { absent, namesIn } from "../files/sweep.ts";
import type { Net } from "../net/types.ts";
import { isAlive } from "./alive.ts";

/**
 * Between bind() and listen() a socket refuses connections. That takes
 * microseconds; this is more than enough.
 */
const youngMs = 5000;

/**
 * Removes the files that daemons left beside the control socket when they were
 * killed during their start: dead sockets under their first name (`.ngrokd-<8
 * hex digits>`) and the folders of their turns (`….turn`). A socket with a
 * listener stays, and so does a file with another name, kind or owner, or one
 * younger than 5 s. Returns the number of files removed. Only the daemon that
 * has the control socket may call this.
 */
export async function sweepSockets(net: Net, path: string, now = Date.now()): Promise<number> {
  const folder = dirname(path);
  let removed = 0;
  for (const name of await namesIn(folder)) {
    const [, id, turn] = /^\.ngrokd-([0-9a-f]{8})(\.turn)?$/.exec(name) ?? [];
    if (id === undefined) continue;
    const there = join(folder, name);
    const info = await lstat(there).catch(absent);
    if (info === undefined || info.uid !== process.getuid?.() || now - info.mtimeMs < youngMs)
      continue;
    const socket = turn === undefined ? there : join(there, id);
    if (turn === undefined ? !info.isSocket() : !info.isDirectory()) continue;
    if (await isAlive(net, socket)) continue;
    await unlink(socket).catch(absent);
    // Never recursively: other files in the folder are not ours.
    if (turn !== undefined && (await namesIn(there)).length > 0) continue;
    if (turn !== undefined) await rmdir(there);
    removed += 1;
  }
  return removed;
}
