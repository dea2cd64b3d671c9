import { parseHostname } from "./hostname.ts";
import { ipToNumber, parseIp } from "./ip.ts";
import { type Parsed, parsed, quote, unparsed } from "./parsed.ts";

/**
 * A place to connect to: a host name, an IPv4 address or an IPv6 address
 * (without brackets), and a port of 1 to 65535.
 */
export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/**
 * Parses `host`, `host:port`, `[v6]` or `[v6]:port`. Without `defaultPort` the
 * port is required. Host names become lower case.
 */
export function parseHostPort(text: string, defaultPort?: number): Parsed<HostPort> {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(text.length > 300 ? "" : text);
  if (match === null) return unparsed(`${quote(text)} is not host:port`);
  const [, v6, name = "", portText] = match;
  const port = portText === undefined ? defaultPort : Number(portText);
  if (port === undefined) return unparsed(`${quote(text)} names no port`);
  if (port < 1 || port > 65535) return unparsed(`the port of ${quote(text)} is not 1 to 65535`);
  if (v6 !== undefined)
    return isIpv6(v6)
      ? parsed({ host: v6, port })
      : unparsed(`${quote(v6)} is not an IPv6 address`);
  const ip = parseIp(name);
  if (ip.ok) return parsed({ host: ip.value, port });
  const host = parseHostname(name);
  return host.ok ? parsed({ host: host.value, port }) : host;
}

/**
 * `host:port`, with an IPv6 address in brackets; the inverse of
 * {@link parseHostPort}.
 */
export const hostPortText = ({ host, port }: HostPort): string =>
  host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;

/** True for all three forms of RFC 4291 section 2.2, without a zone. */
export function isIpv6(text: string): boolean {
  const halves = text.split("::");
  const groups = halves.flatMap((half) => (half === "" ? [] : half.split(":")));
  const v4 = parseIp(groups.at(-1) ?? "").ok && !text.endsWith("::");
  const hex = v4 ? groups.slice(0, -1) : groups;
  if (!text.includes(":") || !hex.every((group) => /^[0-9a-f]{1,4}$/i.test(group))) return false;
  const count = hex.length + (v4 ? 2 : 0);
  return halves.length === 1 ? count === 8 : halves.length === 2 && count < 8;
}

/**
 * The eight 16-bit groups of an address; {@link isIpv6} must hold for it. The
 * URL class of Bun 1.4.5 refuses some spellings.
 */
export function ipv6Groups(address: string): number[] {
  const [before = [], after = []] = address.split("::").map((half) =>
    half
      .split(":")
      .filter((group) => group !== "")
      .flatMap(groupsIn),
  );
  return [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after];
}

/** One group, or two groups of an IPv4 tail. */
function groupsIn(text: string): number[] {
  const ip = parseIp(text);
  return ip.ok
    ? [Math.floor(ipToNumber(ip.value) / 65536), ipToNumber(ip.value) % 65536]
    : [Number.parseInt(text, 16)];
}
