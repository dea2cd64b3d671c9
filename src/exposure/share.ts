import type { Hostname } from "../model/hostname.ts";
import type { AnyIp } from "../model/ip.ts";
import {
  covers,
  type Door,
  type DoorId,
  type Doorway,
  doorId,
  doorwaysOf,
  type Exposure,
  isWide,
  type Match,
  type Route,
  type Target,
} from "./exposure.ts";
import type { Steps } from "./plan.ts";
import { type Ports, portsFor } from "./ports.ts";
import type { Reach } from "./reach.ts";

export interface ShareInput {
  /** The doors of the names' own addresses. */
  readonly exposure: Exposure;
  readonly reach: (host: Hostname) => Reach;
  /** More names of hosts, under which clients may ask for them. */
  readonly aliases?: ReadonlyMap<Hostname, readonly Hostname[]>;
  /** The ports that bindings have had. */
  readonly ports: Ports;
  readonly startPort: number;
  /** Places that other programs have. */
  readonly taken: ReadonlySet<DoorId>;
}

export interface Shared {
  /** With the doors for other machines. */
  readonly exposure: Exposure;
  readonly ports: Ports;
  /** How other machines reach each binding that they may reach, by its key. */
  readonly network: ReadonlyMap<string, Network>;
}

/** How other machines reach a binding, or why they do not. */
export interface Network {
  /** `net.listen_interface` as the settings have it for this host. */
  readonly listen: string;
  /** Where it is reachable, the first is the one to tell. */
  readonly places: readonly NetworkPlace[];
  /** Empty if there are places. */
  readonly reason: string;
}

export interface NetworkPlace {
  readonly ip: AnyIp;
  readonly port: number;
  /** It may be one of all addresses. */
  readonly door: DoorId;
}

/**
 * Pure: adds the doors for other machines to an exposure. Endpoints that name
 * their host in the first bytes share the port that their URL has. A TCP
 * endpoint has a port to itself. A door on all addresses takes over the doors
 * of single addresses at its port, since the system allows only one of them.
 */
export function share(input: ShareInput): Shared {
  const { exposure, reach, aliases = new Map() } = input;
  const targets = [
    ...new Map(exposure.routes.map(({ target }) => [keyOf(target), target])).values(),
  ];
  const reachable = targets.flatMap((target) => {
    const where = reach(target.binding.host);
    return where.kind === "virtual" ? [] : [{ target, where }];
  });
  if (reachable.length === 0) return { exposure, ports: input.ports, network: new Map() };
  const served = reachable.flatMap(({ target, where }) =>
    where.kind === "network" ? [{ target, ips: where.ips }] : [],
  );
  const { ports, numbers } = portsFor({ ...input, saved: input.ports, served });
  const wanted = served.flatMap(({ target, ips }) =>
    ips.flatMap((ip) =>
      (numbers.get(keyOf(target)) ?? []).map(({ port, named }) =>
        routeAt(target, { ip, port }, named ? matchOf(target.binding.host, aliases) : anyClient),
      ),
    ),
  );
  const { doorways, holders } = folded([...doorwaysOf(exposure), ...joined(wanted)]);
  const placesOf = (target: Target, where: Away): Omit<Network, "listen"> => {
    if (where.kind === "missing") return { places: [], reason: where.reason };
    const places = (numbers.get(keyOf(target)) ?? []).flatMap(({ port }) =>
      where.ips.map((ip) => ({ ip, port, door: holders(ip, port)?.id ?? doorId(ip, port) })),
    );
    return { places, reason: places.length > 0 ? "" : "no port is left for it" };
  };
  const network = new Map(
    reachable.map(({ target, where }) => [
      keyOf(target),
      {
        listen: where.text,
        ...placesOf(target, where),
      },
    ]),
  );
  return {
    exposure: {
      ...exposure,
      doors: doorways.map(({ door }) => door),
      routes: doorways.flatMap(({ routes }) => routes),
    },
    ports,
    network,
  };
}

type Away = Exclude<Reach, { kind: "virtual" }>;

const keyOf = ({ binding }: Target): string => binding.key;

/** Doors for names that come between two reconciles, and go. */
export type Additions = Pick<Steps, "open" | "reroute">;

/**
 * Pure: the steps that add doors to the present ones. A present door on all
 * addresses gets the routes of a door at its port.
 */
export function adding(
  doorways: readonly Doorway[],
  present: ReadonlyMap<DoorId, Doorway>,
): Additions {
  const open: Doorway[] = [];
  const reroute = new Map<DoorId, Doorway>();
  for (const { door, routes } of doorways) {
    const holder = holderAmong(present, door.at);
    if (holder === undefined || holder.id === door.id) {
      open.push({ door, routes });
      continue;
    }
    const known = reroute.get(holder.id) ?? present.get(holder.id);
    const added = routes.map((route) => moved(route, holder.id, door.at.ip));
    const all = inOrder([...(known?.routes ?? []), ...added]);
    reroute.set(holder.id, { door: holder, routes: all });
  }
  return { open, reroute: [...reroute.values()] };
}

/** Looked up: there may be thousands of doors, and each name adds one. */
function holderAmong(
  present: ReadonlyMap<DoorId, Doorway>,
  { ip, port }: Door["at"],
): Door | undefined {
  const [, ...wide] = placesFor(ip, port);
  return wide.flatMap((id) => present.get(id)?.door ?? []).find((door) => covers(door.at.ip, ip));
}

/** Pure: the doors that may take the connections to a place. */
export const placesFor = (ip: AnyIp, port: number): DoorId[] => [
  doorId(ip, port),
  `[::]:${port}`,
  `0.0.0.0:${port}`,
];

/** Pure: the steps that take a host's routes from the present doors. */
export function removing(
  host: Hostname,
  present: Iterable<Doorway>,
): Pick<Steps, "close" | "reroute"> {
  const close: DoorId[] = [];
  const reroute: Doorway[] = [];
  for (const { door, routes } of present) {
    const left = routes.filter(({ target }) => target.binding.host !== host);
    if (left.length === routes.length) continue;
    if (left.length === 0) close.push(door.id);
    else reroute.push({ door, routes: left });
  }
  return { close, reroute };
}

/** A door with one route. */
function routeAt(target: Target, at: Door["at"], match: Match): Doorway {
  const id = doorId(at.ip, at.port);
  return {
    door: { id, at, greet: match.kind === "name" ? "named" : "fixed" },
    routes: [{ door: id, match, target, forOthers: true }],
  };
}

const anyClient: Match = { kind: "any" };

function matchOf(host: Hostname, all: ReadonlyMap<Hostname, readonly Hostname[]>): Match {
  const aliases = all.get(host);
  return aliases === undefined ? { kind: "name", host } : { kind: "name", host, aliases };
}

/** Pure: one door for each place. */
function joined(doorways: readonly Doorway[]): Doorway[] {
  const places = Map.groupBy(doorways, ({ door }) => door.id);
  return [...places.values()].flatMap((parts) => {
    const [first] = parts;
    if (first === undefined) return [];
    const routes = parts.flatMap(({ routes }) => routes);
    return [{ door: { ...first.door, greet: greetingOf(routes) }, routes: inOrder(routes) }];
  });
}

const greetingOf = (routes: readonly Route[]): Door["greet"] =>
  routes.some(({ match }) => match.kind === "name") ? "named" : "fixed";

/**
 * In an order that does not depend on that of the endpoints. A door on all
 * addresses may have thousands of routes, so each text is made once.
 */
const inOrder = (routes: readonly Route[]): Route[] =>
  routes
    .map((route) => ({ route, text: textOf(route) }))
    .sort((a, b) => compare(a.text, b.text))
    .map(({ route }) => route);

const textOf = ({ match, target }: Route): string =>
  `${match.at ?? "~"} ${target.binding.key} ${match.kind}`;

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Finds the door on all addresses that covers a place. */
type Holders = (ip: AnyIp, port: number) => Door | undefined;

/** `[::]` takes over `0.0.0.0` too. */
function holdersAmong(doorways: Iterable<Doorway>): Holders {
  const wide = new Map<number, Door[]>();
  for (const { door } of doorways)
    if (isWide(door.at.ip)) wide.set(door.at.port, [...(wide.get(door.at.port) ?? []), door]);
  return (ip, port) => {
    const here = (wide.get(port) ?? []).filter(({ at }) => covers(at.ip, ip));
    return here.find(({ at }) => at.ip === "::") ?? here[0];
  };
}

/** Pure: doors on all addresses with the routes of the doors below them. */
function folded(all: readonly Doorway[]): { doorways: Doorway[]; holders: Holders } {
  const holders = holdersAmong(all);
  const doorways = joined(
    all.map(({ door, routes }) => {
      const holder = holders(door.at.ip, door.at.port) ?? door;
      return holder.id === door.id
        ? { door, routes }
        : { door: holder, routes: routes.map((route) => moved(route, holder.id, door.at.ip)) };
    }),
  );
  return { doorways, holders };
}

const moved = (route: Route, door: DoorId, at: AnyIp): Route => ({
  ...route,
  door,
  match: { ...route.match, at },
});
