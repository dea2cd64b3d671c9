/**
 * The listeners at an address: the sockets, and the programs that hold them.
 */
import { readdir, readFile, readlink } from "node:fs/promises";
import type { ListeningSocket } from "../net/proc-net.ts";

/** The sockets that can accept a connection to this address and port. */
export const socketsAt = (
  sockets: readonly ListeningSocket[],
  ip: string,
  port: number,
): ListeningSocket[] =>
  sockets.filter((socket) => socket.port === port && (socket.host === ip || socket.host === "*"));

/**
 * The programs that hold these sockets, by inode, in the form `nginx (pid 42)`.
 * Only root sees programs of other users.
 */
export async function holdersOf(inodes: ReadonlySet<string>): Promise<ReadonlyMap<string, string>> {
  const holders = new Map<string, string>();
  if (inodes.size === 0) return holders;
  const pids = (await readdir("/proc").catch((): string[] => [])).filter((name) =>
    /^\d+$/.test(name),
  );
  for (const pid of pids) {
    // A process may end, and another user's cannot be read. Neither can be
    // named as a holder.
    for (const fd of await readdir(`/proc/${pid}/fd`).catch((): string[] => [])) {
      const target = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => "");
      const inode = /^socket:\[(\d+)\]$/.exec(target)?.[1];
      if (inode === undefined || !inodes.has(inode) || holders.has(inode)) continue;
      const name = await readFile(`/proc/${pid}/comm`, "utf8").catch(() => "a program");
      holders.set(inode, `${name.trim()} (pid ${pid})`);
    }
  }
  return holders;
}
