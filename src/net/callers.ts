/**
 * The program at the other end of an accepted connection ({@link Caller}). The
 * kernel is asked, and its tables are read if it cannot be asked. Without both,
 * the addresses alone count.
 */
import { readFile } from "node:fs/promises";
import process from "node:process";
import {
  addressBytes,
  type DiagReply,
  type Ends,
  ownerOf,
  type SocketOwner,
} from "../linux/sock-diag.ts";
import { isLoopback } from "../model/proxy.ts";
import { listeningKey } from "./proc-net.ts";
import type { Address, Caller, Conn, Net } from "./types.ts";

/** Asks the kernel about a socket. */
type Ask = (ends: Ends) => DiagReply;

/** `open` prepares the questions; undefined if they are impossible. */
export function createCallers(open?: () => Promise<Ask | undefined>): Net["callerOf"] {
  const tables = createTables();
  let ask: Ask | undefined;
  let opening: Promise<void> | "never" | "done" = open === undefined ? "done" : "never";
  const opened = async (): Promise<void> => {
    ask = await open?.();
    opening = "done";
  };
  const asked = (ends: Ends): Caller | Promise<Caller> => {
    const reply = ask?.(ends);
    if (reply?.kind === "found") return { isHere: true, uid: reply.uid };
    if (reply?.kind === "none") return byAddress(ends);
    return tables.callerOf(ends);
  };
  return (conn) => {
    const ends = endsOf(conn);
    if (ends === undefined) return nobody;
    if (opening === "done") return asked(ends);
    if (opening === "never") opening = opened();
    return opening.then(() => asked(ends));
  };
}

const nobody: Caller = { isHere: false, uid: undefined };

/** The connection as its other end sees it. */
function endsOf({ local, remote }: Conn): Ends | undefined {
  return isPlace(local) && isPlace(remote) ? { own: remote, other: local } : undefined;
}

const isPlace = (address: Address): address is Ends["own"] => "host" in address;

/**
 * A client of this machine that chose no address has that of the listener. The
 * kernel lets no packet in that comes from outside with such an address.
 */
const byAddress = ({ own, other }: Ends): Caller => ({
  isHere: isLoopback(own.host) || own.host === other.host,
  uid: undefined,
});

/** The kernel's tables of TCP sockets, which take milliseconds to read. */
function createTables() {
  const read = (path: string): Promise<string> => readFile(path, "latin1").catch(() => "");
  const both = async (): Promise<string> =>
    (await Promise.all([read("/proc/self/net/tcp"), read("/proc/self/net/tcp6")])).join("");
  let current: Promise<unknown> = Promise.resolve();
  let next: Promise<string> | undefined;
  // All that ask during one reading share the next one.
  const fresh = (): Promise<string> => {
    next ??= current.then(() => {
      next = undefined;
      const reading = both();
      current = reading;
      return reading;
    });
    return next;
  };
  return {
    async callerOf(ends: Ends): Promise<Caller> {
      const owner = process.platform === "linux" ? ownerIn(await fresh(), ends) : undefined;
      return owner === undefined ? byAddress(ends) : { isHere: true, uid: owner.uid };
    },
  };
}

/** Pure: the owner of a socket in whole tables; undefined if it is missing. */
export function ownerIn(tables: string, { own, other }: Ends): SocketOwner | undefined {
  for (const mapped of [false, true]) {
    const [from, to] = [tableKey(own, mapped), tableKey(other, mapped)];
    const at = from === undefined || to === undefined ? -1 : tables.indexOf(` ${from} ${to} `);
    if (at < 0) continue;
    const row = tables.slice(at, tables.indexOf("\n", at)).trim().split(/ +/);
    const [, , , , , , uid = "", , inode = ""] = row;
    if (/^\d+$/.test(uid) && /^\d+$/.test(inode))
      return { uid: ownerOf(Number(uid), Number(inode)) };
  }
  return undefined;
}

/** `mapped`: as a socket of IPv6 spells IPv4. */
function tableKey({ host, port }: Ends["own"], mapped: boolean): string | undefined {
  const bytes = addressBytes(host);
  if (bytes === undefined || (mapped && bytes.length !== 4)) return undefined;
  const text = bytes.length === 4 ? bytes.join(".") : host.replace(/%.*$/, "");
  return listeningKey(mapped ? `::ffff:${text}` : text, port);
}
