import type { AnyIp } from "../model/ip.ts";
import {
  type Door,
  type DoorId,
  type Doorway,
  doorwaysOf,
  type Exposure,
  isWide,
  overlap,
  type Route,
  wideIps,
} from "./exposure.ts";

/**
 * The steps from the present doors to the wanted ones. The order keeps clients
 * safe: doors open and change their routes before names are written, and close
 * after names are removed.
 */
export interface Steps {
  readonly open: readonly Doorway[];
  /** Doors that stay and get other routes; live connections go on. */
  readonly reroute: readonly Doorway[];
  readonly close: readonly DoorId[];
  /**
   * Doors that open after others have closed: their address now belongs to
   * another host name, or a door of all addresses has or had their port. They
   * open after the old name is removed.
   */
  readonly reopen: readonly Doorway[];
}

/** Pure: the steps from the present doors to the wanted exposure. */
export function plan(
  wanted: Pick<Exposure, "doors" | "routes">,
  present: ReadonlyMap<DoorId, Doorway>,
): Steps {
  const open: Doorway[] = [];
  const reroute: Doorway[] = [];
  const reopen: Doorway[] = [];
  const unwanted = new Set(present.keys());
  for (const doorway of doorwaysOf(wanted)) {
    const { id } = doorway.door;
    const known = present.get(id);
    if (known === undefined) open.push(doorway);
    else if (sameRoutes(known, doorway)) unwanted.delete(id);
    else if (hasHeir(known, doorway)) reopen.push(doorway);
    else {
      unwanted.delete(id);
      reroute.push(doorway);
    }
  }
  const leaving = new Map<number, Set<AnyIp>>();
  for (const { door } of present.values()) {
    if (!unwanted.has(door.id)) continue;
    const { ip, port } = door.at;
    leaving.set(port, (leaving.get(port) ?? new Set()).add(ip));
  }
  const blocked = new Set(open.filter(({ door }) => isBlocked(door, leaving)));
  return {
    open: open.filter((doorway) => !blocked.has(doorway)),
    reroute,
    close: [...unwanted],
    reopen: [...reopen, ...blocked],
  };
}

/**
 * Whether a door can listen only after others have closed, whose addresses are
 * given by port. They are looked up: one port may have thousands of doors that
 * close, and of doors that open.
 */
function isBlocked(
  { at: { ip, port } }: Door,
  leaving: ReadonlyMap<number, ReadonlySet<AnyIp>>,
): boolean {
  const ips = leaving.get(port);
  if (ips === undefined) return false;
  const rivals = isWide(ip) ? [...ips] : wideIps.filter((wide) => ips.has(wide));
  return ips.has(ip) || rivals.some((rival) => overlap(rival, ip));
}

/**
 * Whether a place has another host name now. A client that resolved the old
 * name must not reach another service. A client that names its host does not.
 */
function hasHeir(before: Doorway, after: Doorway): boolean {
  const heirs = hostsByPlace(after);
  return [...hostsByPlace(before)].some(([place, host]) => {
    const heir = heirs.get(place);
    return heir !== undefined && heir !== host;
  });
}

const hostsByPlace = ({ door, routes }: Doorway): Map<string, string> =>
  new Map(
    routes.flatMap(({ match, target }) =>
      match.kind === "any" ? [[match.at ?? door.at.ip, target.binding.host]] : [],
    ),
  );

function sameRoutes(before: Doorway, after: Doorway): boolean {
  const { routes: a } = before;
  const { routes: b } = after;
  return (
    before.door.greet === after.door.greet &&
    a.length === b.length &&
    a.every((route, i) => sameRoute(route, b[i]))
  );
}

function sameRoute(route: Route, other: Route | undefined): boolean {
  return (
    other !== undefined &&
    routeKey(route) === routeKey(other) &&
    aliasText(route) === aliasText(other) &&
    sameTarget(route, other)
  );
}

const aliasText = ({ match }: Route): string =>
  match.kind === "name" ? (match.aliases ?? []).join(" ") : "";

/**
 * The identity of a route among those of its door. Its aliases may change, and
 * its connections go on.
 */
export function routeKey({ match, target }: Route): string {
  const host = match.kind === "name" ? match.host : "";
  return `${match.at ?? ""} ${host} ${target.binding.key}`;
}

function sameTarget({ target: a }: Route, { target: b }: Route): boolean {
  if (a.account !== b.account) return false;
  if (a.binding === b.binding) return true;
  const { key, url, proto, ids } = a.binding;
  return (
    key === b.binding.key &&
    url === b.binding.url &&
    proto === b.binding.proto &&
    ids.length === b.binding.ids.length &&
    ids.every((id, i) => id === b.binding.ids[i])
  );
}
