/**
 * Addresses and certificates of the runtimes in the terms of the seam. Pure.
 */
import { NgrokdError } from "../model/error.ts";
import type { HostPort } from "../model/host-port.ts";
import { isIP } from "./is-ip.ts";
import { type Address, addressText, type PeerCertificate, type TlsServerOptions } from "./types.ts";

/**
 * An IP and port as a socket reports them. IPv4 has its own spelling, even from
 * a dual-stack listener.
 */
export function ipAddress(host: string | undefined, port: number | undefined): HostPort {
  return { host: (host ?? "").replace(/^::ffff:(?=\d+\.)/i, ""), port: port ?? 0 };
}

/**
 * The IP address as a socket on `local` has to spell it: a dual-stack one sends
 * to IPv4 under a mapped name. Undefined for a host name.
 */
export function ipFor(local: string, host: string): string | undefined {
  const family = isIP(host);
  if (family === 0) return undefined;
  return family === 4 && local.includes(":") ? `::ffff:${host}` : host;
}

/** The local address of a dialed unix socket. */
export const unnamed: Address = { path: "" };

/**
 * The local address of all connections of a listener; undefined if it listens
 * on every address of the machine, and each connection has its own.
 */
export function sharedLocal(listening: Address): Address | undefined {
  if ("path" in listening) return listening;
  const { host, port } = ipAddress(listening.host, listening.port);
  return /^[0:.]+$/.test(host) ? undefined : { host, port };
}

/**
 * Throws `address-unavailable` for a host name, since the seam does not guess
 * which of its addresses is meant. Throws `tls` for an empty list of client
 * CAs, which Bun 1.4.5 would take for the system's roots.
 */
export function checkListenable(address: Address, tls: TlsServerOptions | undefined): void {
  const where = `Cannot listen on "${addressText(address)}"`;
  if ("host" in address && isIP(address.host) === 0) {
    throw new NgrokdError("address-unavailable", `${where}: its host is not an IP address`);
  }
  if (tls?.clientCa?.length === 0)
    throw new NgrokdError("tls", `${where}: the list of CAs for client certificates is empty`);
}

/**
 * The result of getPeerCertificate(), as far as the runtimes agree; empty or
 * null if the peer showed none.
 */
export interface RawCertificate {
  readonly subject?: object;
  readonly issuer?: object;
  readonly fingerprint256?: string;
}

export function peerCertificate(
  raw: RawCertificate | null | undefined,
): PeerCertificate | undefined {
  if (!raw?.fingerprint256) return undefined;
  return {
    subject: nameText(raw.subject),
    issuer: nameText(raw.issuer),
    fingerprint256: raw.fingerprint256,
  };
}

/**
 * `CN=x, O=y`, in the same order on every runtime. A stranger chose these
 * texts: control characters and excess are cut, so that they fit into one line
 * of a log.
 */
function nameText(name: object = {}): string {
  const rank = (key: string) =>
    (nameOrder.indexOf(key) + nameOrder.length + 1) % (nameOrder.length + 1);
  const parts = Object.entries(name).sort(([a], [b]) => rank(a) - rank(b));
  const texts = parts.flatMap(([key, value]) => [value].flat().map((one) => `${key}=${one}`));
  return texts
    .join(", ")
    .replaceAll(/\p{Cc}/gu, "?")
    .slice(0, 300);
}

const nameOrder = ["CN", "OU", "O", "L", "ST", "C"];
