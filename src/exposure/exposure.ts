/**
 * exposure/ decides which endpoints of all accounts this machine shows. An
 * Exposure is plain data: it can be printed, compared, sent to another process,
 * and written by hand in a test. Everything in this room is pure.
 */
import type { Binding } from "../model/binding.ts";
import type { Hostname } from "../model/hostname.ts";
import type { AnyIp, Ip, Ip6 } from "../model/ip.ts";

/** `127.0.0.2:80` or `[fd00::2]:80`. No two doors share one. */
export type DoorId = string;

/** A local address that listens. */
export interface Door {
  readonly id: DoorId;
  readonly at: { readonly ip: AnyIp; readonly port: number };
  readonly greet: Greeting;
}

/**
 * How a door finds the destination of a connection. `fixed`: nothing is read
 * from it; at most the address to which the client connected decides. `named`:
 * if that decides nothing, the host that the first bytes name does (HTTP by
 * Host, TLS by SNI).
 */
export type Greeting = "fixed" | "named";

/** Leads the matching connections of a door to one target. */
export interface Route {
  readonly door: DoorId;
  readonly match: Match;
  readonly target: Target;
  /** Whether clients on other machines may use it. */
  readonly forOthers?: true;
}

/**
 * The connections that a route takes: `any` of them, or those that `name` a
 * host, by its own name or by an alias. With `at` only those that came to this
 * address of the machine. A door on all addresses has such routes, since no
 * other door can have its port; `0.0.0.0` is every IPv4 address.
 */
export type Match = (
  | { readonly kind: "any" }
  | {
      readonly kind: "name";
      readonly host: Hostname;
      /** Absent without any. */
      readonly aliases?: readonly Hostname[];
    }
) & { readonly at?: AnyIp };

/** A binding, and the account whose identity reaches it. */
export interface Target {
  readonly account: string;
  readonly binding: Binding;
}

/** A host name and its addresses on this machine. */
export interface NameRecord {
  readonly host: Hostname;
  readonly ip: Ip;
  /** Only if the ground has IPv6 addresses. */
  readonly ip6?: Ip6;
}

/**
 * Everything that this machine should show. Lists are sorted, so two exposures
 * can be compared.
 */
export interface Exposure {
  readonly doors: readonly Door[];
  readonly routes: readonly Route[];
  /** The addresses of all doors. */
  readonly addresses: readonly AnyIp[];
  readonly names: readonly NameRecord[];
  /**
   * Requested names below wildcards. They are in the name server, and not in
   * the hosts file.
   */
  readonly asked: readonly NameRecord[];
  /** `team.internal` for `*.team.internal`: any name below may be asked. */
  readonly zones: readonly Hostname[];
}

/** A door with its routes. */
export interface Doorway {
  readonly door: Door;
  readonly routes: readonly Route[];
}

export const doorId = (ip: AnyIp, port: number): DoorId =>
  ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`;

/** The doors of an exposure with their routes, in the order of the doors. */
export function doorwaysOf({ doors, routes }: Pick<Exposure, "doors" | "routes">): Doorway[] {
  const byDoor = Map.groupBy(routes, ({ door }) => door);
  return doors.map((door) => ({ door, routes: byDoor.get(door.id) ?? [] }));
}

/** A listener on one of these takes all addresses of the machine. */
export const wideIps: readonly AnyIp[] = ["0.0.0.0", "::"] as AnyIp[];
export const isWide = (ip: AnyIp): boolean => wideIps.includes(ip);

/** Whether no two listeners can have these addresses at one port. */
export const overlap = (a: AnyIp, b: AnyIp): boolean => a === b || covers(a, b) || covers(b, a);

/** Whether a listener on `wide` takes connections to `ip` too. */
export const covers = (wide: AnyIp, ip: AnyIp): boolean =>
  wide === "::" || (wide === "0.0.0.0" && !ip.includes(":"));

/** All names that such a route leads to, the endpoint's own first. */
export const namesOf = ({ host, aliases = [] }: Match & { kind: "name" }): readonly Hostname[] => [
  host,
  ...aliases,
];

/** The addresses of a name, IPv4 first. */
export const addressesOf = ({ ip, ip6 }: Omit<NameRecord, "host">): AnyIp[] =>
  ip6 === undefined ? [ip] : [ip, ip6];
