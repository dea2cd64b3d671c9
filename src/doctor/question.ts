/** The subject of `ngrokd why` and `ngrokd wait`, and its endpoints. */
import type { ListItem } from "../desk/reply-schemas.ts";
import { hasName } from "../desk/waiting.ts";
import { hostPortText } from "../model/host-port.ts";
import { parseHostname } from "../model/hostname.ts";
import { parseIp, parseIp6 } from "../model/ip.ts";
import { type Parsed, parsed, quote, unparsed } from "../model/parsed.ts";

/** The subject of `ngrokd why`. */
export interface Question {
  /** A host name, or an address from ngrokd. */
  readonly host: string;
  /** Undefined if the text has no port. */
  readonly port: number | undefined;
}

const defaultPorts: Readonly<Record<string, number>> = { http: 80, https: 443, tls: 443 };

/**
 * Reads `host`, `host:port` or a URL with any path. Upper case and a trailing
 * dot are allowed. An IPv6 address needs no brackets if it is alone.
 */
export function parseQuestion(text: string): Parsed<Question> {
  const alone = parseIp6(text.trim());
  if (alone.ok) return parsed({ host: alone.value, port: undefined });
  const parts = partsOf(text);
  if (parts === undefined) return unparsed(`${quote(text)} is neither host[:port] nor a URL`);
  const { name, port } = parts;
  if (port !== undefined && (port < 1 || port > 65535))
    return unparsed(`the port of ${quote(text)} is not 1 to 65535`);
  const ip6 = parseIp6(/^\[(.*)\]$/.exec(name)?.[1] ?? "");
  if (ip6.ok) return parsed({ host: ip6.value, port });
  const ip = parseIp(name);
  if (ip.ok) return parsed({ host: ip.value, port });
  const host = parseHostname(name);
  return host.ok ? parsed({ host: host.value, port }) : host;
}

/** The name and the port in a text, both unchecked. */
function partsOf(text: string): { name: string; port: number | undefined } | undefined {
  const match =
    /^(?:([a-z][a-z0-9+.-]*):\/\/)?(?:[^/?#@]*@)?(\[[^\]]*\]|[^/?#:@]*)(?::(\d{1,5}))?(?:[/?#].*)?$/is.exec(
      text.trim(),
    );
  if (match === null) return undefined;
  const [, scheme = "", name = "", port] = match;
  return { name, port: port === undefined ? defaultPorts[scheme.toLowerCase()] : Number(port) };
}

/**
 * Pure: the items of the daemon's list that match the question. An endpoint
 * that is not served may have only a URL. If that is a wildcard, it matches
 * names below it that no other endpoint has.
 */
export function meantBy(question: Question, list: readonly ListItem[]): ListItem[] {
  const there = list.filter(({ state }) => state !== "draining");
  const exact = there.filter((item) => isMeant(item, question));
  return exact.length > 0
    ? exact
    : longestAtEachPort(
        there.filter((item) => item.state in unnamed && isCovered(item.url, question)),
      );
}

/** A longer wildcard goes before a shorter one. */
function longestAtEachPort(items: readonly ListItem[]): ListItem[] {
  const sizeOf = ({ url }: ListItem): number => partsOf(url)?.name.length ?? 0;
  const byPort = new Map<number | undefined, ListItem>();
  for (const item of items.toSorted((a, b) => sizeOf(b) - sizeOf(a))) {
    const port = partsOf(item.url)?.port;
    if (!byPort.has(port)) byPort.set(port, item);
  }
  return items.filter((item) => [...byPort.values()].includes(item));
}

/** Why an endpoint in such a state does not listen. */
export const unserved: Readonly<Partial<Record<ListItem["state"], string>>> = {
  unsupported: "it cannot be served",
  refused: "its name is refused",
  paused: "it is not served",
};
/** Endpoints in these states may have no host name. */
const unnamed = { ...unserved, wildcard: "" };

const isMeant = (item: ListItem, question: Question): boolean =>
  item.state in unnamed ? isNamed(item.url, question) : isAt(item, question);

export const isAt = (item: ListItem, { host, port = item.port }: Question): boolean =>
  hasName(item, host) && [item.port, item.network_port].includes(port);

/**
 * Whether a URL, which may be invalid, has this name, and this port if both
 * have one.
 */
export function isNamed(url: string, question: Question): boolean {
  const { name, port } = partsOf(url) ?? { name: "", port: undefined };
  return (
    name.toLowerCase().replace(/\.$/, "") === question.host &&
    (question.port ?? port) === (port ?? question.port)
  );
}

/** The same for a wildcard URL and a name below it, at any depth. */
function isCovered(url: string, question: Question): boolean {
  const { name = "" } = partsOf(url) ?? {};
  const zone = name.toLowerCase().replace(/\.$/, "");
  if (!zone.startsWith("*.") || !question.host.endsWith(zone.slice(1))) return false;
  const label = question.host.slice(0, -(zone.length - 1));
  return label !== "" && isNamed(url.replace("*", label), question);
}

export const subjectOf = ({ host, port }: Question): string =>
  port === undefined ? host : hostPortText({ host, port });
