import { quote } from "../../model/parsed.ts";
import { serversIn } from "../../model/resolv-conf.ts";

/** What the way to the DNS server depends on. */
export interface ResolverFacts {
  /** The folder of macOS with a file for each zone. */
  readonly zoneFolder: string | undefined;
  /** The text of /etc/resolv.conf; empty without one. */
  readonly resolvConf: string;
  /** The value of `hosts:` in /etc/nsswitch.conf; empty without one. */
  readonly order: string;
  /** The path of resolvectl; undefined without one. */
  readonly resolvectl: string | undefined;
  /** Whether the interface exists that systemd-resolved can be told about. */
  readonly link: boolean;
  readonly linkName: string;
  /** The folder of the dnsmasq that NetworkManager runs, if it runs one. */
  readonly dnsmasqFolder: string | undefined;
  /** dns.manage_resolv_conf */
  readonly mayEdit: boolean;
}

/** The way in which this machine's resolver learns of the DNS server. */
export type Way =
  | { readonly kind: "resolved"; readonly text: string }
  | { readonly kind: "dnsmasq"; readonly text: string; readonly folder: string }
  | { readonly kind: "folder"; readonly text: string; readonly folder: string }
  | { readonly kind: "resolv-conf"; readonly text: string }
  /** The user has to do it; `text` is the instruction. */
  | { readonly kind: "by-hand"; readonly text: string };

export const resolvConfPath = "/etc/resolv.conf";

/** Pure: the way for these facts. */
export function wayFor(facts: ResolverFacts, server: string): Way {
  const { zoneFolder, resolvectl, link, linkName, dnsmasqFolder, mayEdit } = facts;
  if (zoneFolder !== undefined) return { kind: "folder", text: zoneFolder, folder: zoneFolder };
  if (resolvectl !== undefined && asksResolved(facts)) {
    if (link) return { kind: "resolved", text: `systemd-resolved, on ${linkName}` };
    const text =
      `there is no interface ${quote(linkName)}, for which systemd-resolved could take a name ` +
      "server: set net.subnet to 10.107.0.0/16";
    return { kind: "by-hand", text };
  }
  if (dnsmasqFolder !== undefined)
    return { kind: "dnsmasq", text: "NetworkManager's dnsmasq", folder: dnsmasqFolder };
  if (mayEdit) return { kind: "resolv-conf", text: resolvConfPath };
  const text =
    `put "nameserver ${server}" first into ${resolvConfPath}, or set ` +
    "dns.manage_resolv_conf to true, or list the names in names.expand";
  return { kind: "by-hand", text };
}

/** The stub of systemd-resolved, by its address or by its nsswitch module. */
export const asksResolved = ({ resolvConf, order }: ResolverFacts): boolean =>
  serversIn(resolvConf).some((server) => /^127\.0\.0\.5[34]$/.test(server)) ||
  servicesIn(order).includes("resolve");

/** Pure: the value of `hosts:` in the text of nsswitch.conf. */
export const hostsOrder = (nsswitch: string): string | undefined =>
  /^\s*hosts:[ \t]*([^#\n]*)/m.exec(nsswitch)?.[1]?.trim();

/** Pure: the services in the value of `hosts:`, without their conditions. */
export const servicesIn = (order: string): string[] =>
  order
    .replaceAll(/\[[^\]]*\]/g, "")
    .split(/\s+/)
    .filter((word) => word !== "");

/** Pure: whether texts of NetworkManager's configuration choose its dnsmasq. */
export const choosesDnsmasq = (texts: readonly string[]): boolean =>
  texts
    .flatMap((text) => [...text.matchAll(/^\s*dns\s*=\s*(\S+)/gm)])
    .at(-1)?.[1]
    ?.trim() === "dnsmasq";
