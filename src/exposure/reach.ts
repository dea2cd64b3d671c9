import { isBelow } from "../model/binding.ts";
import type { Hostname } from "../model/hostname.ts";
import { type AnyIp, parseIp, parseIp6 } from "../model/ip.ts";

/** From where a host is reachable beside its own address on this machine. */
export type Reach =
  /** From nowhere. */
  | { readonly kind: "virtual" }
  /** From other machines, at these addresses. `text` is that of the setting. */
  | { readonly kind: "network"; readonly text: string; readonly ips: readonly AnyIp[] }
  /** The setting names an interface without addresses. */
  | { readonly kind: "missing"; readonly text: string; readonly reason: string };

/** `net.listen_interface` and `net.overrides`. */
export interface ReachSettings {
  readonly listen_interface: string;
  /** By host name, or by a pattern such as `*.team.demo`. */
  readonly overrides: Readonly<Record<string, string>>;
}

/** The addresses of an interface, without those of its link alone. */
export type AddressesOf = (name: string) => readonly AnyIp[];

/** Pure: the reach of each host by the settings. */
export function reachOf(
  settings: ReachSettings,
  addressesOf: AddressesOf,
): (host: Hostname) => Reach {
  const known = new Map<string, Reach>();
  return (host) => {
    const text = settingFor(host, settings);
    const reach = known.get(text) ?? parseReach(text, addressesOf);
    known.set(text, reach);
    return reach;
  };
}

/** Pure: whether any host could be reachable from other machines. */
export const mayBeReached = ({ listen_interface, overrides }: ReachSettings): boolean =>
  [listen_interface, ...Object.values(overrides)].some((text) => text !== "virtual");

/** The exact name counts first, then the longest pattern. */
function settingFor(host: Hostname, { listen_interface, overrides }: ReachSettings): string {
  const exact = Object.hasOwn(overrides, host) ? overrides[host] : undefined;
  if (exact !== undefined) return exact;
  const [longest] = Object.keys(overrides)
    .filter((pattern) => pattern.startsWith("*.") && isBelow(host, pattern.slice(2)))
    .sort((a, b) => b.length - a.length);
  return (longest === undefined ? undefined : overrides[longest]) ?? listen_interface;
}

function parseReach(text: string, addressesOf: AddressesOf): Reach {
  if (text === "virtual") return { kind: "virtual" };
  const [v4, v6] = [parseIp(text), parseIp6(text)];
  if (v4.ok) return { kind: "network", text, ips: [v4.value] };
  if (v6.ok) return { kind: "network", text, ips: [v6.value] };
  const ips = addressesOf(text);
  return ips.length > 0
    ? { kind: "network", text, ips }
    : { kind: "missing", text, reason: `the interface "${text}" has no address now` };
}
