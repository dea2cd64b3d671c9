import type { Binding } from "../model/binding.ts";
import type { Ip } from "../model/ip.ts";

/** A binding and the address that its host name has. */
export interface Placed {
  readonly binding: Binding;
  readonly ip: Ip;
}

/**
 * What a pass has to do. A moved binding is in both lists: the new place is
 * raised before the old one is retired.
 */
export interface Plan {
  readonly raise: readonly Placed[];
  /** Places (see {@link placeOf}) whose listener goes. */
  readonly retire: readonly string[];
}

/** `ip:port`, what one listener occupies, and the host name it stands for. */
export const placeOf = ({ binding, ip }: Placed): string => `${ip}:${binding.port} ${binding.host}`;

/**
 * Pure: what is wanted against what listens now. Empty lists mean that nothing
 * has to be done.
 */
export function plan(wanted: readonly Placed[], present: ReadonlySet<string>): Plan {
  const places = new Set(wanted.map(placeOf));
  return {
    raise: wanted.filter((placed) => !present.has(placeOf(placed))),
    retire: [...present].filter((place) => !places.has(place)),
  };
}

/**
 * Whether a list lacks so much of what runs that it must be seen twice before
 * anything is retired: one glitch of the API must not cut every service. True
 * for a list that is suddenly empty, and for one that lacks at least three and
 * more than half of them. Both by {@link Binding.key}.
 */
export function isSuspiciouslyShort(runs: readonly string[], listed: ReadonlySet<string>): boolean {
  if (runs.length === 0) return false;
  const lost = runs.filter((key) => !listed.has(key)).length;
  return listed.size === 0 || (lost >= 3 && lost * 2 > runs.length);
}
