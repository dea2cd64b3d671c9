import { namesOf, type Route } from "../exposure/exposure.ts";
import type { Conn } from "../net/types.ts";
import type { Named } from "./greet/naming.ts";

/** Finds the lane of a connection by the matches of the lanes' routes. */
export interface Switchboard<Lane> {
  /** The lanes for clients that name a host. */
  readonly named: readonly Lane[];
  /** The lane of a connection whose bytes do not matter. */
  laneFor(conn: Pick<Conn, "local">): Lane | undefined;
  /**
   * The lane of a connection to a host. A client that names none gets the only
   * lane, if there is one alone.
   */
  laneNamed(conn: Pick<Conn, "local">, host: Named): Lane | undefined;
}

/** Pure. A route for one address counts before one for all. */
export function createSwitchboard<Lane extends { readonly route: Route }>(
  lanes: readonly Lane[],
): Switchboard<Lane> {
  const [first] = lanes;
  return lanes.length === 1 &&
    first?.route.match.kind === "any" &&
    first.route.match.at === undefined
    ? oneLane(first)
    : manyLanes(lanes);
}

/** Nearly all doors have it, and the tables would be most of their memory. */
const oneLane = <Lane>(lane: Lane): Switchboard<Lane> => ({
  named: none,
  laneFor: () => lane,
  laneNamed: () => undefined,
});

const none: readonly never[] = [];

function manyLanes<Lane extends { readonly route: Route }>(
  lanes: readonly Lane[],
): Switchboard<Lane> {
  const byAddress = new Map<string, Lane>();
  /** By the address, or nothing for all of them, and then by the name. */
  const byName = new Map<string, Map<string, Lane>>();
  for (const lane of lanes) {
    const { match } = lane.route;
    const at = match.at ?? "";
    if (match.kind === "any") byAddress.set(at, lane);
    else {
      const there = byName.get(at) ?? new Map<string, Lane>();
      byName.set(at, there);
      for (const name of namesOf(match)) there.set(name, lane);
    }
  }
  const named = [...new Set([...byName.values()].flatMap((there) => [...there.values()]))];
  const [only] = named.length === 1 ? named : [];
  const usual = byAddress.get("");
  return {
    named,
    laneFor: hasPlaces(byAddress)
      ? (conn) => onePlace(conn, (at) => byAddress.get(at))
      : () => usual,
    laneNamed(conn, host) {
      if (host === undefined)
        return (
          only && onePlace(conn, (at) => ((only.route.match.at ?? "") === at ? only : undefined))
        );
      return hasPlaces(byName)
        ? onePlace(conn, (at) => byName.get(at)?.get(host))
        : byName.get("")?.get(host);
    },
  };
}

/** Whether the address to which a client has connected decides. */
const hasPlaces = (map: ReadonlyMap<string, unknown>): boolean => map.size > (map.has("") ? 1 : 0);

/** The first result for the address itself, its family, or all addresses. */
function onePlace<T>(
  { local }: Pick<Conn, "local">,
  find: (at: string) => T | undefined,
): T | undefined {
  const at = "host" in local ? local.host : "";
  return find(at) ?? (at.includes(":") ? undefined : find("0.0.0.0")) ?? find("");
}
