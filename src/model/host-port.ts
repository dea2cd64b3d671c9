import { parseHostname } from "./hostname.ts";
import { isIpv6, parseIp } from "./ip.ts";
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
