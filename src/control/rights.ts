import process from "node:process";
import type { Conn, Net, PeerUser } from "../net/types.ts";

/** `read`: only the operations that change nothing. */
export type Rights = "all" | "read";

/** The user and the group that the socket belongs to. */
export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** Pure: the rights of a client, for a socket that is open to every user. */
export function rightsOf(user: PeerUser | undefined, { uid, gid }: Owner): Rights {
  if (user === undefined) return "read";
  return user.uid === 0 || user.uid === uid || user.groups.includes(gid) ? "all" : "read";
}

/** The most clients at the same time that may only read. */
const mostReaders = 16;

/** Admits clients of the socket with their rights. */
export interface Gate {
  /**
   * From now on the socket may be open to every user. Returns false if the
   * system does not report the user of a connection. Then the socket's mode
   * alone must decide. `path` is the socket, which listens.
   */
  open(path: string, gid: number | undefined): Promise<boolean>;
  /** Runs `work` for a client; `turned away` if there are too many readers. */
  admit(conn: Conn, work: (rights: Rights | "turned away") => Promise<void>): Promise<void>;
}

export function createGate(net: Net): Gate {
  let owner: Owner | undefined;
  let readers = 0;
  return {
    async open(path, gid = process.getgid?.() ?? 0) {
      const conn = await net.dial({ path });
      const known = (await net.userOf(conn)) !== undefined;
      conn.close();
      if (known) owner = { uid: process.getuid?.() ?? 0, gid };
      return known;
    },
    async admit(conn, work) {
      const rights = owner === undefined ? "all" : rightsOf(await net.userOf(conn), owner);
      if (rights === "all") return await work(rights);
      readers += 1;
      try {
        await work(readers > mostReaders ? "turned away" : rights);
      } finally {
        readers -= 1;
      }
    },
  };
}
