import type { Hostname } from "../model/hostname.ts";
import {
  type Ip,
  ipFromNumber,
  ipToNumber,
  isLoopbackSubnet,
  type Subnet,
  subnetHas,
  subnetSize,
  subnetText,
} from "../model/ip.ts";
import { ownHost } from "./ground.ts";

/**
 * The address of each name; no two names share one. The order shows how recent
 * a name is: absent names come first, the longest absent at the top, then the
 * present names, sorted. So the file needs no times, and an unchanged pass
 * gives an equal map.
 */
export type Assignment = ReadonlyMap<Hostname, Ip>;

export interface Allocation {
  /**
   * All wanted names but the failed ones, and the absent names that keep their
   * address.
   */
  readonly assignment: Assignment;
  /** Wanted names that have no address, with the reason. */
  readonly failed: ReadonlyMap<Hostname, string>;
}

/**
 * How many absent names keep their address. Beyond it the longest absent names
 * are forgotten, so the file stays small.
 */
export const remembered = 100_000;

/**
 * Gives every wanted name one address of `range`. A name keeps its saved
 * address, even through an absence. The address of an absent name is given away
 * only if the range is used up. The longest absent name loses its address
 * first. An address of `pins` is for its name alone, whoever had it before.
 *
 * A saved address does not count if it is reserved, or also of an earlier name
 * (the Go program wrote such files). If it is outside `range`, the name keeps
 * its host part of 16 bits if it can: another subnet changes as little as
 * possible. `avoid` has addresses with another listener. It concerns only names
 * without an address. The order of `wanted` does not matter. Linear in the
 * names, apart from the sorting.
 */
export function allocate(input: {
  wanted: readonly Hostname[];
  saved: Assignment;
  range: Subnet;
  avoid: ReadonlySet<Ip>;
  pins?: ReadonlyMap<Hostname, Ip>;
}): Allocation {
  const { range, avoid, pins = new Map<Hostname, Ip>() } = input;
  const wanted = new Set(input.wanted.toSorted());
  const { fixed, failed } = pinned(wanted, pins, range);
  const others = [...input.saved].filter(([name, ip]) => !pins.has(name) && !fixed.has(ip));
  const kept = firstHolders(new Map(others), range, avoid);
  const gone = [...kept].filter(([name]) => !wanted.has(name)).slice(-remembered);
  const held = new Set([...kept.values(), ...pins.values()]);
  const free = freeAddresses(range, held, gone, avoid);
  const present = new Map<Hostname, Ip>();
  for (const name of wanted) {
    if (failed.has(name)) continue;
    const pin = pins.get(name);
    const ip = pin ?? kept.get(name) ?? free.next().value;
    if (ip === undefined)
      failed.set(name, `no address is left in ${subnetText(range)}; a wider net.subnet makes room`);
    else present.set(name, ip);
  }
  const given = new Set(present.values());
  return { assignment: new Map([...gone.filter(([, ip]) => !given.has(ip)), ...present]), failed };
}

/** Gives addresses to single names after an {@link allocate}. */
export interface Supply {
  /**
   * The address of a name: the one that it had, or a new one. `isUsable` is
   * asked for each address. Undefined if none is left.
   */
  take(name: Hostname, isUsable: (ip: Ip) => boolean): Ip | undefined;
  /** The addresses of all names now. */
  readonly assignment: Assignment;
}

/**
 * The supply of addresses that an allocation leaves. Each name without a pin
 * costs the same, however many there are. `present` has the names that must
 * keep theirs; the address of another name is given away last, the longest
 * absent name first. An address of `pins` is for its name alone.
 */
export function createSupply(
  before: Assignment,
  present: ReadonlySet<Hostname>,
  range: Subnet,
  pins: ReadonlyMap<Hostname, Ip> = new Map(),
): Supply {
  const assignment = new Map(before);
  const gone = [...before].filter(([name]) => !present.has(name));
  const absent = new Map(gone.map(([name, ip]) => [ip, name]));
  const wereAbsent = new Set(absent.keys());
  const pinned = new Set(pins.values());
  const free = freeAddresses(range, new Set([...before.values(), ...pinned]), gone, pinned);
  const give = (name: Hostname, ip: Ip): Ip => {
    absent.delete(ip);
    // At the end of the map, as the latest name.
    assignment.delete(name);
    assignment.set(name, ip);
    return ip;
  };
  return {
    assignment,
    take(name, isUsable) {
      const pin = pins.get(name);
      if (pin !== undefined) return isUsable(pin) ? takePin(name, pin) : undefined;
      const kept = assignment.get(name);
      const isKept = kept !== undefined && subnetHas(range, kept) && !isReserved(kept);
      if (isKept && !pinned.has(kept) && isUsable(kept)) return give(name, kept);
      // Not for…of, which would end the generator at the first address.
      for (let next = free.next(); !next.done; next = free.next()) {
        const ip = next.value;
        const owner = absent.get(ip);
        const isBack = owner === undefined && wereAbsent.has(ip);
        if (isBack || !isUsable(ip)) continue;
        if (owner !== undefined) assignment.delete(owner);
        return give(name, ip);
      }
      return undefined;
    },
  };

  function takePin(name: Hostname, pin: Ip): Ip | undefined {
    if (!subnetHas(range, pin) || isTaken(range, pin)) return undefined;
    for (const [owner, ip] of assignment) {
      if (ip !== pin || owner === name) continue;
      // The next allocation takes it from a name that is present.
      if (absent.get(pin) !== owner) return undefined;
      assignment.delete(owner);
    }
    return give(name, pin);
  }
}

/**
 * True for addresses that no name may have: network and broadcast addresses,
 * and those of 127.0.0.0/8 that other programs use.
 */
export function isReserved(ip: Ip): boolean {
  return others.has(ip) || ip.endsWith(".0") || ip.endsWith(".255");
}

/** Reserved, or the own address of an interface with this range. */
function isTaken(range: Subnet, ip: Ip): boolean {
  return isReserved(ip) || (!isLoopbackSubnet(range) && ipToNumber(ip) === range.first + ownHost);
}

const others: ReadonlySet<string> = new Set([
  "127.0.0.1", // localhost
  "127.0.0.11", // Docker's resolver inside containers
  "127.0.0.53", // systemd-resolved
  "127.0.0.54", // systemd-resolved, proxy only
  "127.0.1.1", // the machine's own name on Debian, dnsmasq of NetworkManager
]);

/** The pinned addresses of these names, and the pins that cannot be used. */
function pinned(
  names: Iterable<Hostname>,
  pins: ReadonlyMap<Hostname, Ip>,
  range: Subnet,
): { fixed: ReadonlyMap<Ip, Hostname>; failed: Map<Hostname, string> } {
  const fixed = new Map<Ip, Hostname>();
  const failed = new Map<Hostname, string>();
  for (const name of pins.size === 0 ? [] : names) {
    const ip = pins.get(name);
    if (ip === undefined) continue;
    const owner = fixed.get(ip);
    const obstacle = !subnetHas(range, ip)
      ? `which is outside ${subnetText(range)}`
      : isTaken(range, ip)
        ? "which other programs use"
        : owner === undefined
          ? undefined
          : `which it gives to "${owner}" too`;
    if (obstacle === undefined) fixed.set(ip, name);
    else failed.set(name, `names.pin gives it ${ip}, ${obstacle}; name another address there`);
  }
  return { fixed, failed };
}

/** In the order of `saved`. An address inside the range comes first to it. */
function firstHolders(saved: Assignment, range: Subnet, avoid: ReadonlySet<Ip>): Map<Hostname, Ip> {
  const inside = new Set([...saved.values()].filter((ip) => subnetHas(range, ip)));
  const held = new Set<Ip>();
  const kept = new Map<Hostname, Ip>();
  for (const [name, before] of saved) {
    const stays = inside.has(before);
    const ip = stays ? before : movedTo(range, before);
    const isFree = stays || !(inside.has(ip) || avoid.has(ip));
    if (!isFree || held.has(ip) || isTaken(range, ip)) continue;
    held.add(ip);
    kept.set(name, ip);
  }
  return kept;
}

/** The same host part in another range. */
function movedTo(range: Subnet, ip: Ip): Ip {
  return ipFromNumber(range.first + (ipToNumber(ip) % Math.min(subnetSize(range), 0x1_0000)));
}

/**
 * The addresses for new names: first those of no name, upwards, then those of
 * absent names, in their order.
 */
function* freeAddresses(
  range: Subnet,
  held: ReadonlySet<Ip>,
  gone: readonly (readonly [Hostname, Ip])[],
  avoid: ReadonlySet<Ip>,
): Generator<Ip, undefined> {
  const end = range.first + subnetSize(range);
  for (let n = range.first; n < end; n++) {
    const ip = ipFromNumber(n);
    if (!held.has(ip) && !avoid.has(ip) && !isTaken(range, ip)) yield ip;
  }
  for (const [, ip] of gone) if (!avoid.has(ip)) yield ip;
}
