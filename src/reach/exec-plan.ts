import type { Binding } from "../model/binding.ts";
import type { Hostname } from "../model/hostname.ts";
import { type Ip, ipFromNumber } from "../model/ip.ts";

/** What a program finds in a network of its own. */
export interface ExecPlan {
  readonly doors: readonly { readonly ip: Ip; readonly port: number; readonly binding: Binding }[];
  readonly names: readonly { readonly ip: Ip; readonly host: Hostname }[];
}

/** 127.1.0.0; nobody else has addresses in that network. */
const firstAddress = 0x7f010000;
export const mostNames = 0xffff;

/**
 * Pure: an address for each host, and a door for each of its ports. The name
 * `localhost` stays what it is.
 */
export function execPlan(bindings: readonly Binding[]): ExecPlan {
  const usable = bindings.filter(({ host }) => !/(?:^|\.)localhost$/.test(host));
  const hosts = [...new Set(usable.map(({ host }) => host))].sort().slice(0, mostNames);
  const addresses = new Map(hosts.map((host, i) => [host, ipFromNumber(firstAddress + 1 + i)]));
  const doors = usable.flatMap((binding) => {
    const ip = addresses.get(binding.host);
    return ip === undefined ? [] : [{ ip, port: binding.port, binding }];
  });
  return { doors, names: [...addresses].map(([host, ip]) => ({ ip, host })) };
}

/** Pure: a hosts file in which our names come first. */
export const hostsText = (before: string, { names }: Pick<ExecPlan, "names">): string =>
  `${names.map(({ ip, host }) => `${ip}\t${host}\n`).join("")}${before}`;

/**
 * Pure: the order of name sources in which the hosts file counts. Undefined if
 * it does already. A resolver outside would answer from the machine's own file.
 */
export function nsswitchText(before: string): string | undefined {
  const text = before.replace(/^(\s*hosts\s*:).*$/m, "$1 files dns");
  return text === before ? undefined : text;
}

/** No name server is in that network; lookups must fail soon. */
export const resolvConfText = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n";

/** The proxies that a program is given, as `ip:port`. */
export interface GivenProxies {
  readonly http: string;
  readonly socks: string;
}

/**
 * Pure: the variables that lead programs to the proxies, in both spellings.
 * `direct` are hosts that are reached without them.
 */
export function proxyVariables(
  { http, socks }: GivenProxies,
  direct: readonly string[],
): Record<string, string> {
  const values = {
    http_proxy: `http://${http}`,
    https_proxy: `http://${http}`,
    all_proxy: `socks5h://${socks}`,
    no_proxy: ["localhost", "127.0.0.1", "::1", ...direct].join(","),
  };
  const upper = Object.entries(values).map(([name, value]) => [name.toUpperCase(), value]);
  return { ...values, ...Object.fromEntries(upper) };
}

/** More of them would only slow programs down; the proxies know them too. */
export const mostDirect = 200;
