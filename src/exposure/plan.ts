import { type DoorId, type Doorway, doorwaysOf, type Exposure, type Route } from "./exposure.ts";

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
   * Doors that close and open again, since their address now belongs to another
   * host name. They open after the old name is removed.
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
    else if (!sameHosts(known, doorway)) reopen.push(doorway);
    else {
      unwanted.delete(id);
      if (!sameRoutes(known.routes, doorway.routes)) reroute.push(doorway);
    }
  }
  return { open, reroute, close: [...unwanted], reopen };
}

/**
 * A client that resolved the old name must not reach another service.
 */
function sameHosts({ routes: a }: Doorway, { routes: b }: Doorway): boolean {
  const [before, after] = [new Set(a.map(hostOf)), new Set(b.map(hostOf))];
  return before.size === after.size && [...after].every((host) => before.has(host));
}

function sameRoutes(a: readonly Route[], b: readonly Route[]): boolean {
  return a.length === b.length && a.every((route, i) => sameTarget(route, b[i]));
}

function sameTarget({ target: a }: Route, other: Route | undefined): boolean {
  const b = other?.target;
  if (b === undefined || a.account !== b.account) return false;
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

const hostOf = ({ target }: Route): string => target.binding.host;
