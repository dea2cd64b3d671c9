import { lstat, rmdir, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import process from "node:process";
import { absent, namesIn } from "../files/sweep.ts";
import type { Net } from "../net/types.ts";
import { isAlive } from "./alive.ts";

/**
 * A socket refuses between its birth and its first listen(); that takes
 * microseconds, and this is more than enough.
 */
const youngMs = 5000;

/**
 * Removes what daemons have left beside the control socket that were killed
 * while they started: sockets under their first name (`.ngrokd-<8 hex digits>`)
 * on which nobody listens, and the folders (`….turn`) of their turns. What
 * somebody answers on, what is not ours by name, kind and owner, and what is
 * younger than 5 s stays. Answers how many were removed. For the daemon that
 * has the socket.
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
    // Never recursively: what else is in such a folder is not ours.
    if (turn !== undefined && (await namesIn(there)).length > 0) continue;
    if (turn !== undefined) await rmdir(there);
    removed += 1;
  }
  return removed;
}
