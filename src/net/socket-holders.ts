/** Which programs hold sockets. Linux only. */
import { readdir, readFile, readlink } from "node:fs/promises";
import type { HostPort } from "../model/host-port.ts";
import { boundSockets } from "./proc-net.ts";

/**
 * The programs that have this UDP or TCP port, on this address or on all, in
 * the form `dnsmasq (pid 42)`. Empty if none can be seen.
 */
export async function holdersOfPort({ host, port }: HostPort): Promise<string[]> {
  const sockets = await boundSockets();
  const there = sockets.filter((one) => one.port === port && [host, "*"].includes(one.host));
  const holders = await holdersOf(new Set(there.map(({ inode }) => inode)));
  return [...new Set(holders.values())];
}

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
    // Processes end, and those of other users cannot be read. Neither can be
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
