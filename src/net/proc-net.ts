/** The kernel's tables of TCP sockets (proc(5), /proc/net/tcp). Linux only. */
import { open, readFile } from "node:fs/promises";
import { ipv6Bytes } from "../model/ip.ts";

/** A listening TCP socket. */
export interface ListeningSocket {
  /**
   * The dotted IPv4 address; `*` means all addresses. IPv6 addresses stay in
   * the kernel's notation.
   */
  readonly host: string;
  readonly port: number;
  /** The number of the socket, as /proc/<pid>/fd names it. */
  readonly inode: string;
}

/**
 * All listening sockets of this machine. A trial connection would be no
 * substitute: the daemon would carry it to ngrok and count it. Undefined if the
 * system has no such table.
 */
export async function listeningSockets(): Promise<ListeningSocket[] | undefined> {
  const read = async (path: string): Promise<string | undefined> =>
    await readFile(path, "latin1").catch(() => undefined);
  const [v4, v6] = await Promise.all([read("/proc/self/net/tcp"), read("/proc/self/net/tcp6")]);
  return v4 === undefined ? undefined : [...parseSocketTable(v4), ...parseSocketTable(v6 ?? "")];
}

/** All sockets of this machine that listen, or that take datagrams. */
export async function boundSockets(): Promise<ListeningSocket[]> {
  const datagrams = await Promise.all(
    ["/proc/self/net/udp", "/proc/self/net/udp6"].map((path) =>
      readFile(path, "latin1").catch(() => ""),
    ),
  );
  const bound = datagrams.flatMap((text) =>
    [...rowsIn(text)].map(({ key, inode }) => ({ ...placeIn(key), inode })),
  );
  return [...((await listeningSockets()) ?? []), ...bound];
}

/** Pure: the listening sockets in a whole table. */
export function parseSocketTable(text: string): ListeningSocket[] {
  return [...rowsIn(text)].flatMap(({ key, state, inode }) =>
    state === listenState ? [{ ...placeIn(key), inode }] : [],
  );
}

/**
 * The sockets of this machine that listen, by {@link listeningKey}; undefined
 * if the system has no such table. A program can lose a listening socket
 * without notice (`ss -K`, Android's netd). The socket then accepts nothing,
 * and Bun's event loop spins on it with a whole core. The table is that of this
 * process, since a service may see nothing else of /proc (`ProcSubset=pid`).
 */
export async function listeningPlaces(
  path = "/proc/self/net/tcp",
  path6 = "/proc/self/net/tcp6",
): Promise<ReadonlySet<string> | undefined> {
  const found = await placesIn(path);
  if (found === undefined) return undefined;
  // A system without IPv6 has no second table.
  for (const key of (await placesIn(path6)) ?? []) found.add(key);
  return found;
}

/**
 * The kernel lists listening sockets first, so reading stops at the first
 * connection.
 */
async function placesIn(path: string): Promise<Set<string> | undefined> {
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
    // The kernel may lack memory for a moment: then the table is unknown.
    return undefined;
  } finally {
    await file.close();
  }
}

/**
 * Pure: the listening sockets in whole lines of a table. `done` is true after a
 * socket of another state.
 */
export function listeningKeys(lines: string): { keys: string[]; done: boolean } {
  const keys: string[] = [];
  for (const { key, state } of rowsIn(lines)) {
    if (state !== listenState) return { keys, done: true };
    keys.push(key);
  }
  return { keys, done: false };
}

/**
 * As the kernel writes it: the address is a number in the byte order of this
 * machine, so 127.0.0.2:80 is `0200007F:0050` on little-endian ones. An IPv6
 * address is four of them.
 */
export function listeningKey(ip: string, port: number): string {
  const bytes = ip.includes(":") ? ipv6Bytes(ip) : ip.split(".").map(Number);
  const words = [];
  for (let at = 0; at < bytes.length; at += 4)
    words.push(...inHostOrder(bytes.slice(at, at + 4).map((byte) => hex(byte, 2))));
  return `${words.join("")}:${hex(port, 4)}`;
}

/** The inverse of {@link listeningKey}. */
function placeIn(key: string): { host: string; port: number } {
  const [address = "", port = ""] = key.split(":");
  return { host: hostIn(address), port: Number.parseInt(port, 16) };
}

function hostIn(address: string): string {
  if (/^0+$/.test(address)) return "*";
  if (address.length !== 8) return address;
  const bytes = inHostOrder(address.match(/../g) ?? []);
  return bytes.map((byte) => Number.parseInt(byte, 16)).join(".");
}

function* rowsIn(text: string): Generator<{ key: string; state: string; inode: string }> {
  for (const [, key = "", state = "", inode = ""] of text.matchAll(row))
    yield { key, state, inode };
}

/** Number, local address, remote address, state; the inode is the tenth. */
const row =
  /^ *\d+: ([0-9A-F]+:[0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} ([0-9A-F]{2})(?: +\S+){5} +(\d+)/gm;
const listenState = "0A";

const hex = (n: number, digits: number): string =>
  n.toString(16).padStart(digits, "0").toUpperCase();

const inHostOrder = (bytes: readonly string[]): string[] =>
  littleEndian ? bytes.toReversed() : [...bytes];

const littleEndian = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;
