import { type Hostname, parseHostname } from "./hostname.ts";
import { type Parsed, parsed, quote, unparsed } from "./parsed.ts";

export type Proto = "http" | "https" | "tls" | "tcp";

/**
 * One endpoint as ngrok's API describes it. Unknown fields are ignored. Source:
 * docs/protocol.md, "ngrok's API".
 */
export interface ApiEndpoint {
  /** `ep_…`; empty if the API sent none. */
  readonly id: string;
  /** `url`, or the older `public_url`; empty if the API sent neither. */
  readonly url: string;
  /** `proto` or `scheme`; empty if unknown. */
  readonly proto: string;
}

/**
 * Pure: the bound endpoints whose ids are still among `all` of the account. The
 * list of bound endpoints still contains deleted ones for a while
 * (docs/protocol.md, "ngrok's API"). An endpoint without an id stays.
 */
export function living(
  bound: readonly ApiEndpoint[],
  all: readonly string[],
): readonly ApiEndpoint[] {
  const alive = new Set(all);
  return bound.filter(({ id }) => id === "" || alive.has(id));
}

/** The parsed URL of an endpoint. */
export interface Target {
  readonly proto: Proto;
  readonly host: Hostname;
  /** 1 to 65535. */
  readonly port: number;
}

/** A URL whose host may be a wildcard; `host` is then the zone below `*.`. */
export interface EndpointUrl extends Target {
  readonly wildcard?: true;
}

const defaultPorts: Readonly<Record<Proto, number | undefined>> = {
  http: 80,
  https: 443,
  tls: 443,
  tcp: undefined,
};

/**
 * Parses `[scheme://]host[:port]` (docs/protocol.md, "ngrok's API"). Without a
 * scheme, `fallbackProto` counts, and then tcp. A path, a user or a query is
 * refused. A wildcard has `*.` before its host, and tcp has none.
 */
export function parseEndpointUrl(url: string, fallbackProto = ""): Parsed<EndpointUrl> {
  if (url === "") return unparsed("the endpoint has no URL");
  const match = /^(?:([a-z][a-z0-9+.-]*):\/\/)?([^/?#@]*?)(?::(\d{0,6}))?\/?$/is.exec(
    url.length > 2000 ? "/?" : url,
  );
  if (match === null) return unparsed(`the URL ${quote(url)} is not [scheme://]host[:port]`);
  const proto = (match[1] ?? (fallbackProto === "" ? "tcp" : fallbackProto)).toLowerCase();
  if (!isProto(proto))
    return unparsed(
      `the URL ${quote(url)} has the scheme ${quote(proto)}; http, https, tls and tcp are supported`,
    );
  const [, star, hostText = ""] = /^(\*\.)?(.*)$/s.exec(match[2] ?? "") ?? [];
  if (hostText.includes("*"))
    return unparsed(`the URL ${quote(url)} has a "*" that is not the whole first label`);
  if (star !== undefined && proto === "tcp")
    return unparsed(`the URL ${quote(url)} is a wildcard, which http, https and tls have, not tcp`);
  const host = parseHostname(hostText);
  if (!host.ok) return host;
  const port = match[3] === undefined ? defaultPorts[proto] : Number(match[3]);
  if (port === undefined)
    return unparsed(`the URL ${quote(url)} names no port, and ${proto} has no default port`);
  if (!Number.isInteger(port) || port < 1 || port > 65535)
    return unparsed(`the port of ${quote(url)} is not 1 to 65535`);
  const target = { proto, host: host.value, port };
  return parsed(star === undefined ? target : { ...target, wildcard: true });
}

/**
 * Pure: the part after the `*.` of a wildcard URL, in lower case. Undefined if
 * the URL is not a wildcard.
 */
export function wildcardSuffix(url: string): string | undefined {
  const [whole, suffix = ""] =
    /^(?:[a-z][a-z0-9+.-]*:\/\/)?\*(?:\.([^/?#@:*]*))?(?::\d*)?\/?$/i.exec(url) ?? [];
  return whole === undefined ? undefined : suffix.toLowerCase();
}

/**
 * Pure: the URL of an endpoint as people should see it. A name below a wildcard
 * stands in the place of the `*`.
 */
export const urlOf = ({ url, hostname }: { url: string; hostname: string }): string =>
  url.replace(/\*(\.[^/?#@:*]+)/, (wildcard: string, zone: string) =>
    hostname.endsWith(zone.toLowerCase()) ? hostname : wildcard,
  );

function isProto(text: string): text is Proto {
  return Object.hasOwn(defaultPorts, text);
}
