import type { Hostname } from "../model/hostname.ts";
import { quote } from "../model/parsed.ts";

export interface OwnNames {
  /**
   * The host name and the FQDN of this machine, in any case. The short form and
   * the `.local` name are derived from them.
   */
  readonly hostnames: readonly string[];
  /**
   * The other names of this machine in the hosts file (namesOfMachine), in
   * lower case.
   */
  readonly listed?: ReadonlySet<string>;
  /**
   * Hosts that the daemon itself must reach, such as the API and the ingress,
   * without ports.
   */
  readonly hosts: readonly string[];
}

/**
 * Why a name may never be written into the hosts file; undefined if it may.
 * Names come from a remote API. A name such as `localhost`, the machine's own
 * name or one of ngrok's hosts would cut off the machine or the daemon. Single
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
 * `localhost` and all names below it (RFC 6761), and the other names in the
 * hosts files of Linux, macOS and the BSDs.
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
