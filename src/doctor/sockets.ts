import { readdir, readFile, readlink } from "node:fs/promises";

/** A TCP socket that listens on this machine. */
export interface ListeningSocket {
  /**
   * The IPv4 address in decimals; `*` for one on all addresses. IPv6 addresses
   * stay as the kernel writes them.
   */
  readonly host: string;
  readonly port: number;
  /** Which socket it is, for {@link holdersOf}. */
  readonly inode: string;
}

/**
 * All of them, as the kernel lists them: asking it costs no connection, unlike
 * trying one, which the daemon would carry to ngrok and count. Undefined where
 * the system keeps no such list (it is Linux's).
 */
export async function listeningSockets(): Promise<ListeningSocket[] | undefined> {
  const read = async (path: string): Promise<string | undefined> =>
    await readFile(path, "latin1").catch(() => undefined);
  const [v4, v6] = await Promise.all([read("/proc/self/net/tcp"), read("/proc/self/net/tcp6")]);
  return v4 === undefined ? undefined : [...parseSocketTable(v4), ...parseSocketTable(v6 ?? "")];
}

const listenState = "0A";

/**
 * Pure: the listening ones of a table such as /proc/net/tcp (Linux, proc(5)).
 */
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
 * The kernel writes each 32-bit word in this machine's byte order, which is
 * little-endian wherever ngrokd runs.
 */
function hostIn(hex: string): string {
  if (/^0+$/.test(hex)) return "*";
  if (hex.length !== 8) return hex;
  return [6, 4, 2, 0].map((at) => Number.parseInt(hex.slice(at, at + 2), 16)).join(".");
}

/** Those that a connection to this address and port may meet. */
export const socketsAt = (
  sockets: readonly ListeningSocket[],
  ip: string,
  port: number,
): ListeningSocket[] =>
  sockets.filter((socket) => socket.port === port && (socket.host === ip || socket.host === "*"));

/**
 * The programs that hold these sockets, by inode, as `nginx (pid 42)`; those of
 * other users are seen by root alone.
 */
export async function holdersOf(inodes: ReadonlySet<string>): Promise<ReadonlyMap<string, string>> {
  const holders = new Map<string, string>();
  if (inodes.size === 0) return holders;
  const pids = (await readdir("/proc").catch((): string[] => [])).filter((name) =>
    /^\d+$/.test(name),
  );
  for (const pid of pids) {
    // Processes end, and those of others are closed to us: what cannot be read
    // holds nothing that we could name.
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
