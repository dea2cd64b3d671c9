import type { Hostname } from "../model/hostname.ts";
import { quote } from "../model/parsed.ts";

export interface OwnNames {
  /**
   * The host name and the FQDN of this machine, in any case. The short form and
   * the `.local` name are derived from them.
   */
  readonly hostnames: readonly string[];
  /** The search list of the resolver, which completes short names. */
  readonly searched?: readonly string[];
  /** The addresses that lines of the hosts file outside our section give. */
  readonly pinned?: ReadonlyMap<string, readonly string[]>;
  /** The addresses of this machine's interfaces. */
  readonly addresses?: readonly string[];
  /**
   * Hosts that the daemon itself must reach, such as the API and the ingress,
   * without ports.
   */
  readonly hosts: readonly string[];
  /**
   * Whether a zone is a whole public domain, such as `com` or `co.uk`. Default:
   * none is.
   */
  readonly isPublicDomain?: (zone: string) => boolean;
}

/**
 * Why a name may never be written into the hosts file; undefined if it may.
 * Names come from a remote API. A name such as `localhost`, the machine's own
 * name or one of ngrok's hosts would cut off the machine or the daemon. A name
 * in a line of the administrator would overrule that line. Single labels are
 * allowed.
 */
export function forbiddenName(name: Hostname, own: OwnNames): string | undefined {
  if (isLocalhostKin(name)) return `${quote(name)} always means the local machine or network`;
  if (own.hostnames.some((hostname) => formsOf(hostname, own.searched ?? []).includes(name)))
    return `${quote(name)} is this machine's own name`;
  const pins = own.pinned?.get(name) ?? [];
  if (pins.some((pin) => isLoopbackAddress(pin) || isOwnAddress(pin, own)))
    return `${quote(name)} is one of this machine's own names in its hosts file`;
  if (pins.length > 0)
    return `another line of the hosts file gives ${quote(name)} an address of its own, ${pins.join(", ")}, and that line counts`;
  if (own.hosts.some((host) => plain(host) === name))
    return `${quote(name)} is a host that ngrokd itself must reach`;
  return undefined;
}

/**
 * Why a wildcard of this zone may never be served; undefined if it may. All
 * names below the zone are then this machine's, so none of them may be one that
 * the machine or the daemon needs. The zone of a wildcard comes from a remote
 * API, as a name does.
 */
export function forbiddenZone(zone: Hostname, own: OwnNames): string | undefined {
  const pattern = quote(`*.${zone}`);
  const covers = (host: string): boolean => `.${plain(host)}`.endsWith(`.${zone}`);
  if (isLocalhostKin(zone) || /(?:^|\.)(?:local|arpa)$/.test(zone))
    return `names below ${quote(zone)} always mean the local machine or network`;
  if (own.isPublicDomain?.(zone) === true)
    return `${pattern} would take over a whole public domain`;
  const host = own.hosts.find(covers);
  if (host !== undefined)
    return `${pattern} covers ${quote(plain(host))}, a host that ngrokd itself must reach`;
  if ([...own.hostnames, ...(own.searched ?? [])].some(covers))
    return `${pattern} covers the domain of this machine's own name`;
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

function formsOf(hostname: string, searched: readonly string[]): string[] {
  const full = plain(hostname);
  const short = full.split(".")[0] ?? full;
  return [
    full,
    ...["", ".local", ...searched.map((domain) => `.${plain(domain)}`)].map((end) => short + end),
  ];
}

/** 127.0.0.1, 127.0.1.1 and ::1, which hosts files give to the machine. */
const isLoopbackAddress = (text: string): boolean =>
  ["127.0.0.1", "127.0.1.1", "::1", "::ffff:7f00:1"].includes(canonicalAddress(text));

const isOwnAddress = (text: string, { addresses = [] }: OwnNames): boolean =>
  addresses.map(canonicalAddress).includes(canonicalAddress(text));

/** An IPv6 address has many spellings, and a URL one. */
function canonicalAddress(text: string): string {
  const [address = ""] = text.toLowerCase().split("%");
  const url = address.includes(":") ? URL.parse(`http://[${address}]`) : null;
  return url === null ? address : url.hostname.slice(1, -1);
}

const plain = (host: string): string => host.toLowerCase().replace(/\.$/, "");
