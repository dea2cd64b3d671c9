/**
 * handover/ passes the open sockets of a daemon to the next one, so that no
 * client is refused: from the running daemon at an upgrade or a restart, and
 * from systemd after a crash. protocol.ts has what the two daemons say, as
 * plain data; leaving.ts is the old side of it, succeeding.ts the new one.
 * estate.ts knows which sockets are open, store.ts keeps them with systemd, and
 * inherited.ts reads those that a start gets.
 */
import type { Address } from "../net/types.ts";

/**
 * A name of an open socket that both daemons understand: `tcp 127.0.0.2:80`
 * with the requested port, `udp 127.0.0.55:53`, `tun ngrokd0`, `control`, or
 * `activated`, which is a control socket of systemd.
 */
export type Key = string;

/** An open descriptor that another process can go on with. */
export interface Held {
  readonly key: Key;
  readonly fd: number;
}

export const tcpKey = ({ host, port }: { host: string; port: number }): Key =>
  `tcp ${host.includes(":") ? `[${host}]` : host}:${port}`;
export const udpKey = (address: { host: string; port: number }): Key =>
  tcpKey(address).replace("tcp", "udp");
export const tunKey = (name: string): Key => `tun ${name}`;
export const controlKey: Key = "control";
/** Its path belongs to systemd, and stays there. */
export const activatedKey: Key = "activated";

/** The key of a listener that systemd has opened for us. */
export const activatedKeyOf = (address: Address): Key =>
  "path" in address ? activatedKey : tcpKey(address);

/** Whether clients of endpoints, or of the health server, come there. */
export const isDoor = (key: Key): boolean => key.startsWith("tcp ");
