import type { Hostname } from "../model/hostname.ts";
import { quote } from "../model/parsed.ts";

export interface OwnNames {
  /**
   * What this machine calls itself (host name, FQDN), in any case; the short
   * form and its `.local` name follow from these.
   */
  readonly hostnames: readonly string[];
  /**
   * What the hosts file calls it beside that (hosts-text.ts, namesOfMachine);
   * lower case.
   */
  readonly listed?: ReadonlySet<string>;
  /**
   * Hosts that the daemon itself must reach, the API's and the ingress's,
   * without ports.
   */
  readonly hosts: readonly string[];
}

/**
 * Why a name may never be written into the hosts file, or undefined where it
 * may. Names come from a remote API: one that took `localhost`, the machine's
 * own name or ngrok's own hosts would cut off the machine or the daemon. Single
 * labels are allowed.
 */
export function forbiddenName(name: Hostname, own: OwnNames): string | undefined {
  if (isLocalhostKin(name)) return `${quote(name)} always means the local machine or network`;
  if (own.hostnames.some((hostname) => formsOf(hostname).includes(name)))
    return `${quote(name)} is this machine's own name`;
  if (own.listed?.has(name))
    return `${quote(name)} is one of this machine's own names in its hosts file`;
  if (own.hosts.some((host) => plain(host) === name))
    return `${quote(name)} is a host that ngrokd itself has to reach`;
  return undefined;
}

/**
 * `localhost` (RFC 6761: and all below it) and the names beside it in the hosts
 * files that Linux, macOS and the BSDs ship.
 */
export function isLocalhostKin(name: Hostname): boolean {
  return /^localhost[46]$|(?:^|\.)localhost$|(?:^|\.)localdomain[46]?$|^ipv?6-[^.]+$|^broadcasthost$|^loopback$/.test(
    name,
  );
}

function formsOf(hostname: string): string[] {
  const full = plain(hostname);
  const short = full.split(".")[0] ?? full;
  return [full, short, `${short}.local`];
}

const plain = (host: string): string => host.toLowerCase().replace(/\.$/, "");
