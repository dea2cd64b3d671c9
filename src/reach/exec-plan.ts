import type { Binding, Wildcard } from "../model/binding.ts";
import type { Hostname } from "../model/hostname.ts";
import { type Ip, ipFromNumber } from "../model/ip.ts";

/** What a program finds in a network of its own. */
export interface ExecPlan {
  readonly doors: readonly { readonly ip: Ip; readonly port: number; readonly binding: Binding }[];
  readonly names: readonly { readonly ip: Ip; readonly host: Hostname }[];
  /** Addresses for names below wildcards that the program asks for. */
  readonly spares: readonly Ip[];
  /** The ports of the wildcards, at which each spare address listens. */
  readonly sparePorts: readonly number[];
  /** The zones of the wildcards. */
  readonly zones: readonly Hostname[];
}

/** 127.1.0.0: no other program has addresses in that network. */
const firstAddress = 0x7f010000;
export const mostNames = 0xffff;

/** 127.2.0.0. */
const firstSpare = 0x7f020000;
export const spareCount = 64;

/**
 * Pure: an address for each host, and a door for each of its ports. The name
 * `localhost` stays what it is.
 */
export function execPlan(
  bindings: readonly Binding[],
  wildcards: readonly Wildcard[] = [],
): ExecPlan {
  const usable = bindings.filter(({ host }) => !/(?:^|\.)localhost$/.test(host));
  const hosts = [...new Set(usable.map(({ host }) => host))].sort().slice(0, mostNames);
  const addresses = new Map(hosts.map((host, i) => [host, ipFromNumber(firstAddress + 1 + i)]));
  const doors = usable.flatMap((binding) => {
    const ip = addresses.get(binding.host);
    return ip === undefined ? [] : [{ ip, port: binding.port, binding }];
  });
  const spares = wildcards.length === 0 ? 0 : spareCount;
  return {
    doors,
    names: [...addresses].map(([host, ip]) => ({ ip, host })),
    spares: Array.from({ length: spares }, (_, i) => ipFromNumber(firstSpare + 1 + i)),
    sparePorts: [...new Set(wildcards.map(({ port }) => port))],
    zones: [...new Set(wildcards.map(({ zone }) => zone))],
  };
}

/** Pure: what needs no proxy; `.zone` stands for the names below a wildcard. */
export function directHosts({ names, zones }: ExecPlan): string[] {
  const direct = [...names.map(({ host }) => host), ...zones.map((zone) => `.${zone}`)];
  return direct.length > mostDirect ? [] : direct;
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

/** No other name server is in that network; lookups must fail soon. */
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
const mostDirect = 200;
