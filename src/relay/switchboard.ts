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
  const byName = new Map<string, Lane>();
  for (const lane of lanes) {
    const { match } = lane.route;
    if (match.kind === "any") byAddress.set(match.at ?? "", lane);
    else for (const name of namesOf(match)) byName.set(nameKey(match.at ?? "", name), lane);
  }
  const named = [...new Set(byName.values())];
  const [only] = named.length === 1 ? named : [];
  const hasAddresses = [...byAddress.keys()].some((at) => at !== "");
  const usual = byAddress.get("");
  return {
    named,
    laneFor: hasAddresses ? (conn) => onePlace(conn, (at) => byAddress.get(at)) : () => usual,
    laneNamed: (conn, host) =>
      onePlace(conn, (at) =>
        host === undefined
          ? only !== undefined && (only.route.match.at ?? "") === at
            ? only
            : undefined
          : byName.get(nameKey(at, host)),
      ),
  };
}

/** The first result for the address itself, its family, or all addresses. */
function onePlace<T>(
  { local }: Pick<Conn, "local">,
  find: (at: string) => T | undefined,
): T | undefined {
  const at = "host" in local ? local.host : "";
  return find(at) ?? (at.includes(":") ? undefined : find("0.0.0.0")) ?? find("");
}

const nameKey = (at: string, host: string): string => `${at} ${host}`;
