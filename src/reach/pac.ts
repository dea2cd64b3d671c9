import type { Bindings } from "../model/binding.ts";

/** Where the proxies of this run listen, as `host:port`. */
export interface ProxyPlaces {
  readonly http?: string | undefined;
  readonly socks?: string | undefined;
}

/**
 * Pure: a proxy auto-configuration for browsers. The endpoints' hosts go
 * through our proxies, and everything else goes as before.
 */
export function pacText({ bindings, wildcards }: Bindings, { http, socks }: ProxyPlaces): string {
  const hosts = [...new Set(bindings.map(({ host }) => host))].sort();
  const zones = [...new Set(wildcards.map(({ zone }) => `.${zone}`))].sort();
  const ways = [
    ...(http === undefined ? [] : [`PROXY ${http}`]),
    ...(socks === undefined ? [] : [`SOCKS5 ${socks}`]),
  ];
  return [
    `var hosts = ${JSON.stringify(hosts)};`,
    `var zones = ${JSON.stringify(zones)};`,
    "function FindProxyForURL(url, host) {",
    "  host = host.toLowerCase();",
    `  var ours = ${JSON.stringify(ways.join("; "))};`,
    "  for (var i = 0; i < hosts.length; i++) if (host === hosts[i]) return ours;",
    "  for (var j = 0; j < zones.length; j++)",
    "    if (host.slice(-zones[j].length) === zones[j]) return ours;",
    '  return "DIRECT";',
    "}",
    "",
  ].join("\n");
}
