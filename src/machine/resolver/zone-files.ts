import { join } from "node:path";
import type { Hostname } from "../../model/hostname.ts";
import type { Wanted } from "./resolved.ts";

/** The first line of a file that is ours, and may be changed and removed. */
export const fileMarker = "# Written by ngrokd: changes are lost. `ngrokd undo` removes it.";

/** Pure: the files of macOS, one for each zone (resolver(5)), by their path. */
export const resolverFiles = (folder: string, { server, zones }: Wanted): Map<string, string> =>
  new Map(
    zones.map((zone) => [
      join(folder, zone),
      `${fileMarker}\nnameserver ${server.host}\nport ${server.port}\n`,
    ]),
  );

/** Pure: the one file for dnsmasq, which NetworkManager's includes. */
export function dnsmasqFiles(folder: string, { server, zones }: Wanted): Map<string, string> {
  const line = (zone: Hostname): string => `server=/${zone}/${server.host}#${server.port}\n`;
  return new Map([[join(folder, dnsmasqFile), `${fileMarker}\n${zones.map(line).join("")}`]]);
}

export const dnsmasqFile = "ngrokd.conf";
