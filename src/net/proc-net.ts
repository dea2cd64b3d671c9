import { open } from "node:fs/promises";

/**
 * The IPv4 sockets of this machine that listen, as {@link listeningKey} names
 * them, or undefined where the system does not tell (not Linux). A listening
 * socket can be taken from a program without a word (`ss -K`, Android's netd):
 * it then accepts nothing, and Bun's event loop spins on it with a whole core.
 * The kernel lists those that listen first, so that reading stops where the
 * connections begin. The list is asked of this process, since a service may see
 * nothing else of /proc (`ProcSubset=pid`).
 */
export async function listeningPlaces(
  path = "/proc/self/net/tcp",
): Promise<ReadonlySet<string> | undefined> {
  const file = await open(path, "r").catch(() => undefined);
  if (file === undefined) return undefined;
  const found = new Set<string>();
  const buffer = Buffer.alloc(64 * 1024);
  let rest = "";
  try {
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, buffer.length, null);
      const text = rest + buffer.toString("latin1", 0, bytesRead);
      const end = text.lastIndexOf("\n") + 1;
      const { keys, done } = listeningKeys(text.slice(0, end));
      for (const key of keys) found.add(key);
      if (done || bytesRead === 0) return found;
      rest = text.slice(end);
    }
  } catch {
    return undefined; // Memory that the kernel lacks for a moment is no reason to end.
  } finally {
    await file.close();
  }
}

/**
 * Pure: the listening sockets in whole lines of /proc/net/tcp; `done` once a
 * line is of another kind.
 */
export function listeningKeys(lines: string): { keys: string[]; done: boolean } {
  const keys: string[] = [];
  for (const [, key = "", state] of lines.matchAll(
    /^ *\d+: ([0-9A-F]{8}:[0-9A-F]{4}) [0-9A-F]{8}:[0-9A-F]{4} ([0-9A-F]{2})/gm,
  )) {
    if (state !== "0A") return { keys, done: true };
    keys.push(key);
  }
  return { keys, done: false };
}

/**
 * As the kernel writes it: the address as a number of this machine's byte
 * order, so that 127.0.0.2:80 is `0200007F:0050` on small ends.
 */
export function listeningKey(ip: string, port: number): string {
  const bytes = ip.split(".").map((part) => Number(part).toString(16).padStart(2, "0"));
  const address = littleEndian ? bytes.reverse() : bytes;
  return `${address.join("")}:${port.toString(16).padStart(4, "0")}`.toUpperCase();
}

const littleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;
