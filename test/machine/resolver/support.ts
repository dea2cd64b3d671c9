import type { ResolverFacts } from "../../../src/machine/resolver/way.ts";

/** A machine with resolv.conf alone. */
export const bareFacts: ResolverFacts = {
  zoneFolder: undefined,
  resolvConf: "nameserver 192.0.2.1\n",
  order: "files dns",
  resolvectl: undefined,
  link: false,
  linkName: "ngrokd0",
  dnsmasqFolder: undefined,
  mayEdit: false,
};
