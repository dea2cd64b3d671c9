import { isAbsolute } from "node:path";
import { parseApiKey } from "../model/api-key.ts";
import { hostPortText, parseHostPort } from "../model/host-port.ts";
import { parseHostname } from "../model/hostname.ts";
import {
  isIpv6,
  parseIp,
  parseIp6,
  parsePrefix6,
  parseSubnet,
  prefix6Text,
  subnetText,
} from "../model/ip.ts";
import { isLoopback, parseProxyUrl, proxyText, proxyUrl as proxyUrlText } from "../model/proxy.ts";

// The rules for texts in the configuration. A rule returns the text in the
// program's own spelling, or undefined if the text is not allowed. The words
// for allowed values are beside each setting in schema.ts.

export type Rule = (text: string) => string | undefined;

/** The same rule, but an empty text is allowed too. */
export const optional =
  (rule: Rule): Rule =>
  (text) =>
    text === "" ? text : rule(text);

export const apiUrl: Rule = (text) => {
  if (!URL.canParse(text)) return undefined;
  const { protocol, hostname, username, password, search, hash, href } = new URL(text);
  const local =
    hostname === "localhost" || hostname === "[::1]" || /^127(?:\.\d+){3}$/.test(hostname);
  const safe = protocol === "https:" || (protocol === "http:" && local);
  return safe && `${username}${password}${search}${hash}` === ""
    ? href.replace(/\/+$/, "")
    : undefined;
};

export const apiKey: Rule = (text) => {
  const key = parseApiKey(text);
  return key.ok ? key.value : undefined;
};

export const ingress: Rule = (text) => {
  const address = parseHostPort(text, 443);
  return address.ok ? hostPortText(address.value) : undefined;
};

export const proxyUrl: Rule = (text) => {
  const proxy = parseProxyUrl(text);
  return proxy.ok ? proxyUrlText(proxy.value) : undefined;
};

/** The URL of a proxy, without its password. */
export const withoutPassword = (url: string): string => {
  const proxy = parseProxyUrl(url);
  return proxy.ok ? proxyText(proxy.value) : url;
};

export const path: Rule = (text) =>
  isAbsolute(text) && !/[\x00-\x1f\x7f]/.test(text) ? text : undefined;

/**
 * sun_path has 108 bytes on Linux and 104 on macOS and the BSDs, including the
 * zero at the end.
 */
export const socketPath: Rule = (text) =>
  new TextEncoder().encode(text).length <= (process.platform === "linux" ? 107 : 103)
    ? path(text)
    : undefined;

export const listenHost: Rule = (text) => (text === "localhost" || isIp(text) ? text : undefined);

/** An IPv4 subnet of /8 to /30, with its host bits cleared. */
export const range: Rule = (text) => {
  const subnet = parseSubnet(text);
  return subnet.ok && subnet.value.bits >= 8 && subnet.value.bits <= 30
    ? subnetText(subnet.value)
    : undefined;
};

/** The same, or `auto`. */
export const rangeOrAuto: Rule = (text) => (text === "auto" ? text : range(text));

/** `auto`, `off`, or a unique local prefix of IPv6. */
export const prefixOrWord: Rule = (text) => {
  const prefix = parsePrefix6(text);
  if (prefix.ok) return prefix6Text(prefix.value);
  return text === "auto" || text === "off" ? text : undefined;
};

/** As dev_valid_name of Linux; 15 bytes are IFNAMSIZ without the zero. */
export const interfaceName: Rule = (text) =>
  /^(?!\.{1,2}$)[^\s/:]{1,15}$/.test(text) ? text : undefined;

/** A wrong IPv4 address is no name: no interface would ever have it. */
export const listenInterface: Rule = (text) => {
  if (isIp(text)) return text;
  return /^\d+(\.\d+)+$/.test(text) ? undefined : interfaceName(text);
};

export const host: Rule = (text) => {
  const name = parseHostname(text);
  return name.ok ? name.value : undefined;
};

/** A host name, or a wildcard such as `*.example.com`. */
export const hostPattern: Rule = (text) => {
  const [, wildcard = "", name = ""] = /^(\*\.)?(.*)$/s.exec(text) ?? [];
  const found = host(name);
  return found === undefined ? undefined : `${wildcard}${found}`;
};

/** A host name in which `*` stands for any characters. */
export const nameGlob: Rule = (text) =>
  host(text.replaceAll("*", "x")) === undefined ? undefined : text.toLowerCase().replace(/\.$/, "");

export const pinnedIp: Rule = (text) => {
  const ip = parseIp(text);
  return ip.ok ? ip.value : undefined;
};

/** {@link nameGlob}, and perhaps a port. */
export const endpointGlob: Rule = (text) => {
  const [, name = "", port] = /^(.*?)(?::(\d{1,5}))?$/s.exec(text) ?? [];
  const glob = nameGlob(name);
  if (glob === undefined || port === undefined) return glob;
  return Number(port) >= 1 && Number(port) <= 65_535 ? `${glob}:${Number(port)}` : undefined;
};

/** The name of a header field, in lower case. `*` stands for any characters. */
export const fieldGlob: Rule = (text) =>
  /^[!#$%&'*+\-.^_`|~\w]{1,100}$/.test(text) ? text.toLowerCase() : undefined;

/** A SHA-256, `AB:CD:…`; its colons may be missing. */
export const fingerprint: Rule = (text) => {
  const pairs = /^(?:[0-9a-f]{2}:?){32}$/i.test(text)
    ? text.replaceAll(":", "").toUpperCase().match(/../g)
    : null;
  return pairs?.join(":");
};

/** The name or the number of a user or of a group. */
export const accountName: Rule = (text) =>
  /^[^\s:,\x00-\x1f\x7f]{1,256}$/.test(text) ? text : undefined;

/** `*.team.internal`. */
export const wildcardPattern: Rule = (text) =>
  text.startsWith("*.") ? hostPattern(text) : undefined;

/** A subnet such as `192.168.0.0/24` or `fd00::/64`. */
export const network: Rule = (text) => {
  const subnet = parseSubnet(text);
  if (subnet.ok) return subnetText(subnet.value);
  const [first = "", bits = "", ...rest] = text.split("/");
  const address = parseIp6(first);
  const isRange = rest.length === 0 && /^\d{1,3}$/.test(bits) && Number(bits) <= 128;
  // IPv4 has its own spelling alone, so this one would fit no address.
  const fits = address.ok && !address.value.startsWith("::ffff:");
  return fits && isRange ? `${address.value}/${Number(bits)}` : undefined;
};

/** A {@link network}, or one address. */
export const anyRange: Rule = (text) =>
  network(text.includes("/") ? text : `${text}/${isIpv6(text) ? 128 : 32}`);

export const dnsAddress: Rule = (text) => {
  const address = parseHostPort(isIpv6(text) ? `[${text}]` : text, 53);
  return address.ok && isIp(address.value.host) ? hostPortText(address.value) : undefined;
};

/** The address of this machine alone, with a port. */
export const loopbackPort: Rule = (text) => {
  const address = parseHostPort(text);
  if (!address.ok || !isLoopback(address.value.host)) return undefined;
  const { host, port } = address.value;
  return hostPortText({ host: isIp(host) ? host : "127.0.0.1", port });
};

/** Also maps other loggers' level names, which the Go program accepts. */
export function logLevel(value: unknown): unknown {
  if (typeof value !== "string") return value;
  const level = value.toLowerCase();
  return otherLevels.get(level) ?? level;
}

/** 0 is the default, as in the Go program. */
export const healthPort = (value: unknown): unknown => (value === 0 ? 8081 : value);

const otherLevels: ReadonlyMap<string, string> = new Map([
  ["trace", "debug"],
  ["verbose", "debug"],
  ["warning", "warn"],
  ["fatal", "error"],
  ["panic", "error"],
]);

const isIp = (text: string): boolean => parseIp(text).ok || isIpv6(text);

/** As for Kubernetes, with the prefix of ngrok. The user is no setting. */
export const annotationName: Rule = (text) =>
  /^ngrok\.com\/[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/.test(text) &&
  text !== "ngrok.com/user"
    ? text
    : undefined;

export const annotationValue: Rule = (text) =>
  text.length <= 256 && !/\p{Cc}/u.test(text) ? text : undefined;

/** A name of a folder, and never a number, whose place in a map is another. */
export const profileName: Rule = (text) =>
  /^[a-z][a-z0-9_-]{0,31}$/.test(text) && text !== "default" ? text : undefined;
