import type { Binding } from "../model/binding.ts";
import type { AnyIp } from "../model/ip.ts";
import { type DoorId, doorId, type Target } from "./exposure.ts";

/**
 * The port of each binding for other machines, by its key `host:port`: those
 * that had to be given one, and those of TCP. A binding keeps it, also while
 * it is absent.
 */
export type Ports = ReadonlyMap<string, number>;

/** A port on which other machines reach a binding. */
export interface NetworkPort {
  readonly port: number;
  /** Whether it is shared, so that the first bytes name the host. */
  readonly named: boolean;
}

export interface PortsInput {
  readonly served: readonly { readonly target: Target; readonly ips: readonly AnyIp[] }[];
  readonly saved: Ports;
  readonly startPort: number;
  /** Places that other programs have. */
  readonly taken: ReadonlySet<DoorId>;
}

/**
 * Pure: the ports of the bindings. A saved port counts first, also one that the
 * Go program gave. TLS and HTTP share the port of their URL. TCP has the port
 * of its URL if it is free, and otherwise the first free one from `startPort`.
 */
export function portsFor({ served, saved, startPort, taken }: PortsInput): {
  readonly ports: Ports;
  readonly numbers: ReadonlyMap<string, readonly NetworkPort[]>;
} {
  const ports = new Map(saved);
  const used = new Set(saved.values());
  const byKey = served.toSorted(({ target: a }, { target: b }) =>
    a.binding.key < b.binding.key ? -1 : 1,
  );
  const isTaken = (ips: readonly AnyIp[], port: number): boolean =>
    ips.some((ip) => taken.has(doorId(ip, port)));
  const shared = byKey.filter(
    ({ target: { binding }, ips }) =>
      namesItsHost(binding) && !used.has(binding.port) && !isTaken(ips, binding.port),
  );
  const sharedPorts = new Set(shared.map(({ target }) => target.binding.port));
  const sharing = new Set(shared.map(({ target }) => target.binding.key));
  const isFree = (ips: readonly AnyIp[], port: number): boolean =>
    !used.has(port) && !sharedPorts.has(port) && !isTaken(ips, port);
  const numbers = new Map<string, readonly NetworkPort[]>();
  let next = startPort;
  for (const { target, ips } of byKey) {
    const { key, port } = target.binding;
    const own = ports.get(key) ?? (sharing.has(key) ? undefined : freePort(port, ips));
    if (own !== undefined) {
      ports.set(key, own);
      used.add(own);
    }
    numbers.set(key, [
      ...(own === undefined ? [] : [{ port: own, named: false }]),
      ...(sharing.has(key) ? [{ port, named: true }] : []),
    ]);
  }
  return { ports, numbers };

  /** Undefined if none is left. */
  function freePort(wish: number, ips: readonly AnyIp[]): number | undefined {
    if (isFree(ips, wish)) return wish;
    while (next < 65_536 && !isFree(ips, next)) next += 1;
    return next < 65_536 ? next : undefined;
  }
}

/** The first bytes of its clients name the host. */
const namesItsHost = ({ proto }: Binding): boolean => proto !== "tcp";
