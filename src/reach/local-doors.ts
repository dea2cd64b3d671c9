import { isIP } from "node:net";
import type { Binding } from "../model/binding.ts";
import { isNgrokdError } from "../model/error.ts";
import { type HostPort, hostPortText, parseHostPort } from "../model/host-port.ts";
import { type Parsed, parsed, quote, unparsed } from "../model/parsed.ts";
import type { Conn, Listener, Net } from "../net/types.ts";
import type { Carrier } from "./carrier.ts";
import { isForThisUser } from "./carrier.ts";
import type { Way } from "./reach.ts";

/**
 * Pure: parses `ip:port`, `localhost:port` or a port alone, which is of
 * 127.0.0.1. Port 0 is any free one.
 */
export function parseListen(text: string): Parsed<HostPort> {
  const full = /^\d{1,5}$/.test(text) ? `127.0.0.1:${text}` : text;
  // parseHostPort() takes no port 0.
  const isAny = /:0$/.test(full);
  const place = parseHostPort(isAny ? full.replace(/:0$/, ":1") : full);
  if (!place.ok) return place;
  const host = place.value.host === "localhost" ? "127.0.0.1" : place.value.host;
  if (isIP(host) === 0)
    return unparsed(`${quote(text)} is not an address of this machine and a port`);
  return parsed({ host, port: isAny ? 0 : place.value.port });
}

/** Opens a door for the programs of this user. */
export async function openDoor(
  net: Net,
  at: HostPort,
  receive: (conn: Conn) => void,
): Promise<Listener> {
  return await net.listen(at, async (conn) => {
    if (await isForThisUser(net, conn)) receive(conn);
    else conn.abort();
  });
}

/** Receives the clients of one endpoint. */
export const endpointReceiver =
  (binding: Binding, { way, carrier }: { way: Way; carrier: Carrier }) =>
  (conn: Conn): void =>
    carrier.carry(conn, binding, way.open);

/**
 * Opens a door for an endpoint. Without `at` it has the endpoint's port, if
 * that is free and open to every user, and any free one otherwise.
 */
export async function openEndpointDoor(
  net: Net,
  binding: Binding,
  at: HostPort | undefined,
  receive: (conn: Conn) => void,
): Promise<Listener> {
  if (at !== undefined) return await openDoor(net, at, receive);
  const host = "127.0.0.1";
  if (binding.port >= firstUserPort) {
    try {
      return await openDoor(net, { host, port: binding.port }, receive);
    } catch (error) {
      if (!isNgrokdError(error, "address-in-use")) throw error;
    }
  }
  return await openDoor(net, { host, port: 0 }, receive);
}

const firstUserPort = 1024;

/** `ip:port` of a door. */
export const doorText = ({ address }: Listener): string =>
  "host" in address ? hostPortText(address) : address.path;
