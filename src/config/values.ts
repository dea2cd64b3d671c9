import { isAbsolute } from "node:path";
import { parseApiKey } from "../model/api-key.ts";
import { hostPortText, isIpv6, parseHostPort } from "../model/host-port.ts";
import { parseHostname } from "../model/hostname.ts";
import { parseIp, parseSubnet, subnetText } from "../model/ip.ts";
import { parseProxyUrl, proxyText, proxyUrl as proxyUrlText } from "../model/proxy.ts";

// The rules for the texts of the configuration. Each answers the text in the
// one spelling that the program uses, or undefined where it is not allowed; the
// words for what is allowed stand beside the setting in schema.ts.

export type Rule = (text: string) => string | undefined;

/** The same rule, but empty is allowed too. */
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

/** A proxy's URL, fit to be shown. */
export const withoutPassword = (url: string): string => {
  const proxy = parseProxyUrl(url);
  return proxy.ok ? proxyText(proxy.value) : url;
};

export const path: Rule = (text) =>
  isAbsolute(text) && !/[\x00-\x1f\x7f]/.test(text) ? text : undefined;

/**
 * sun_path is 108 bytes long on Linux and 104 on macOS and the BSDs, a zero at
 * the end included.
 */
export const socketPath: Rule = (text) =>
  new TextEncoder().encode(text).length <= (process.platform === "linux" ? 107 : 103)
    ? path(text)
    : undefined;

export const listenHost: Rule = (text) => (text === "localhost" || isIp(text) ? text : undefined);

/** Host bits are cleared, as the rest of the program sees it. */
export const range: Rule = (text) => {
  const subnet = parseSubnet(text);
  return subnet.ok && subnet.value.bits >= 8 && subnet.value.bits <= 30
    ? subnetText(subnet.value)
    : undefined;
};

/**
 * Linux's own rule (dev_valid_name), with its length of IFNAMSIZ less the zero.
 */
export const interfaceName: Rule = (text) =>
  /^(?!\.{1,2}$)[^\s/:]{1,15}$/.test(text) ? text : undefined;

export const listenInterface: Rule = (text) => (isIp(text) ? text : interfaceName(text));

/** A host name, or a wildcard such as `*.example.com`. */
export const hostPattern: Rule = (text) => {
  const [, wildcard = "", name = ""] = /^(\*\.)?(.*)$/s.exec(text) ?? [];
  const host = parseHostname(name);
  return host.ok ? `${wildcard}${host.value}` : undefined;
};

export const dnsAddress: Rule = (text) => {
  const address = parseHostPort(isIpv6(text) ? `[${text}]` : text, 53);
  return address.ok && isIp(address.value.host) ? hostPortText(address.value) : undefined;
};

/**
 * Level names of other loggers, which the Go program accepted without reading
 * them.
 */
export function logLevel(value: unknown): unknown {
  if (typeof value !== "string") return value;
  const level = value.toLowerCase();
  if (level === "trace") return "debug";
  return level === "warning" ? "warn" : level;
}

const isIp = (text: string): boolean => parseIp(text).ok || isIpv6(text);
