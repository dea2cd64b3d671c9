import { type Hostname, parseHostname } from "../model/hostname.ts";
import { type Ip, parseIp } from "../model/ip.ts";
import type { Aliases } from "./expose.ts";
import type { NameRules, Subject } from "./verdict.ts";

/** The group `names` of the configuration. */
export interface NameSettings {
  readonly allow: readonly string[];
  readonly deny: readonly string[];
  readonly only: readonly string[];
  readonly alias: Readonly<Record<string, readonly string[]>>;
  readonly pin: Readonly<Record<string, string>>;
}

/** Pure: the user's word about names. */
export function nameRules(names: NameSettings, paused: ReadonlySet<Subject>): NameRules {
  const { allow, deny, only, alias, pin } = names;
  const named = new Set([...Object.keys(pin), ...Object.values(alias).flat()]);
  return { allow, deny, only, named, paused };
}

/** Pure: the host of each alias. The first host that has an alias keeps it. */
export function aliasesOf({ alias }: NameSettings): Aliases {
  const hosts = new Map<Hostname, Hostname>();
  for (const [text, names] of Object.entries(alias)) {
    const host = parseHostname(text);
    for (const name of names.map(parseHostname)) {
      if (!host.ok || !name.ok || name.value === host.value || hosts.has(name.value)) continue;
      hosts.set(name.value, host.value);
    }
  }
  return hosts;
}

/** Pure: the addresses that the configuration gives to names. */
export function pinsOf({ pin }: NameSettings): ReadonlyMap<Hostname, Ip> {
  const pairs = Object.entries(pin).flatMap(([text, address]): [Hostname, Ip][] => {
    const [host, ip] = [parseHostname(text), parseIp(address)];
    return host.ok && ip.ok ? [[host.value, ip.value]] : [];
  });
  return new Map(pairs);
}
