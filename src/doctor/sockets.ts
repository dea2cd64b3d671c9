/** The listening sockets of this machine, and the programs that hold them. */
import { readdir, readFile, readlink } from "node:fs/promises";

/** A listening TCP socket. */
export interface ListeningSocket {
  /**
   * The dotted IPv4 address; `*` means all addresses. IPv6 addresses stay in
   * the kernel's notation.
   */
  readonly host: string;
  readonly port: number;
  /** The key for {@link holdersOf}. */
  readonly inode: string;
}

/**
 * All listening sockets from the kernel's list. A trial connection would be no
 * substitute: the daemon would carry it to ngrok and count it. Undefined if the
 * system has no such list; only Linux has one.
 */
export async function listeningSockets(): Promise<ListeningSocket[] | undefined> {
  const read = async (path: string): Promise<string | undefined> =>
    await readFile(path, "latin1").catch(() => undefined);
  const [v4, v6] = await Promise.all([read("/proc/self/net/tcp"), read("/proc/self/net/tcp6")]);
  return v4 === undefined ? undefined : [...parseSocketTable(v4), ...parseSocketTable(v6 ?? "")];
}

const listenState = "0A";

/** Pure: the listening sockets in a table such as /proc/net/tcp (proc(5)). */
export function parseSocketTable(text: string): ListeningSocket[] {
  return text.split("\n").flatMap((line) => {
    const [, local = "", , state, , , , , , inode = ""] = line.trim().split(/\s+/);
    const [address = "", port = ""] = local.split(":");
    return state === listenState
      ? [{ host: hostIn(address), port: Number.parseInt(port, 16), inode }]
      : [];
  });
}

/**
 * The kernel writes 32-bit words in the byte order of the machine. All
 * platforms of ngrokd are little-endian.
 */
function hostIn(hex: string): string {
  if (/^0+$/.test(hex)) return "*";
  if (hex.length !== 8) return hex;
  return [6, 4, 2, 0].map((at) => Number.parseInt(hex.slice(at, at + 2), 16)).join(".");
}

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
