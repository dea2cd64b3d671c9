import type { HostPort } from "../../model/host-port.ts";
import type { Hostname } from "../../model/hostname.ts";

/** The words behind the path of resolvectl. */
export type Words = readonly string[];

export interface Wanted {
  readonly server: HostPort;
  /** Sorted, so that two wishes can be compared. */
  readonly zones: readonly Hostname[];
}

/**
 * Pure: the commands that make systemd-resolved ask our server for the zones,
 * and for nothing else (resolvectl(1)). `~` makes a domain one of routing only:
 * it is not appended to short names.
 *
 * The domains come last: before that, no name is asked for on this link. The
 * other settings would end questions that are under way, and such a name would
 * have addresses of one family only. The link must not be a default route when
 * it gets its server either, since it would then be asked for all names.
 */
export function resolvedCommands(link: string, { server, zones }: Wanted): Words[] {
  const { host, port } = server;
  const v6 = host.includes(":");
  const at = port === 53 ? host : v6 ? `[${host}]:${port}` : `${host}:${port}`;
  return [
    ["default-route", link, "no"],
    ["llmnr", link, "no"],
    ["mdns", link, "no"],
    ["dnssec", link, "no"],
    ["dnsovertls", link, "no"],
    ["dns", link, at],
    ["domain", link, ...zones.map((zone) => `~${zone}`)],
  ];
}

/** Pure: the command that takes all of it back. */
export const revertCommand = (link: string): Words => ["revert", link];

/**
 * Pure: whether the outputs of `resolvectl dns LINK` and of `resolvectl domain
 * LINK` say what is wanted: `Link 3 (ngrokd0): 10.107.0.1`.
 */
export function saysWanted(dns: string, domain: string, { server, zones }: Wanted): boolean {
  const { host, port } = server;
  const servers = wordsOf(dns);
  const ours = [host, `${host}:${port}`, `[${host}]:${port}`];
  const said = wordsOf(domain).map((word) => word.replace(/\.$/, ""));
  return (
    servers.length === 1 &&
    ours.includes(servers[0] ?? "") &&
    said.length === zones.length &&
    zones.every((zone) => said.includes(`~${zone}`))
  );
}

/**
 * Pure: the other links that `resolvectl domain` says take names of this zone,
 * or all names (`~.`), such as a VPN's: `Link 5 (tun0): ~.`.
 */
export function rivalsIn(domain: string, zone: string, link: string): string[] {
  return [...domain.matchAll(/^Link \d+ \(([^)]+)\):[ \t]*(.*)$/gm)].flatMap(
    ([, name = "", words = ""]) => {
      const takes = words.split(/\s+/).some((word) => {
        const routed = word.replace(/^~/, "").replace(/\.$/, "");
        return word.startsWith("~") && (routed === zone || routed.endsWith(`.${zone}`));
      });
      return takes && name !== link ? [name] : [];
    },
  );
}

const wordsOf = (output: string): string[] =>
  output
    .slice(output.indexOf(":") + 1)
    .trim()
    .split(/\s+/)
    .filter((word) => word !== "");
