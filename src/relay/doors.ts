import type { Guard } from "../access/guard.ts";
import { isOwnHost } from "../access/own-host.ts";
import type { RefusalText } from "../access/words.ts";
import { type DoorId, type Doorway, isWide, type Route } from "../exposure/exposure.ts";
import { routeKey, type Steps } from "../exposure/plan.ts";
import { onAbort } from "../model/abort.ts";
import { type ErrorCode, isNgrokdError, reasonOf } from "../model/error.ts";
import type { AnyIp } from "../model/ip.ts";
import { countError, createMeter, type Meter } from "../model/meter.ts";
import { listeningKey } from "../net/proc-net.ts";
import type { Conn, Listener, Net } from "../net/types.ts";
import { type Excess, excess, type Limits } from "./connection-limits.ts";
import { type ForwardDeps, forward } from "./forward.ts";
import { guardedConn, refusalOf } from "./greet/guarded-conn.ts";
import type { Manners } from "./greet/request-stream.ts";
import { createReception, type Reception } from "./reception.ts";
import { createSwitchboard, type Switchboard } from "./switchboard.ts";

/** The doors that listen, and their connections. */
export interface Doors {
  /** Open connections, in all. */
  readonly open: number;
  /** The doors that listen now. */
  readonly present: ReadonlyMap<DoorId, LiveDoor>;
  /** Lanes of closed doors that still carry connections. */
  readonly draining: ReadonlySet<Lane>;
  /** The connections that ended before their endpoint was known. */
  readonly strangers: Meter;
  /**
   * Opens, reroutes and closes doors, in this order. Live connections go on;
   * those of a closed door are reset after `drainMs` milliseconds. Returns the
   * reason for each door that could not be opened.
   */
  apply(
    steps: Partial<Omit<Steps, "reopen">>,
    drainMs: number,
  ): Promise<ReadonlyMap<DoorId, string>>;
  /**
   * Closes all doors and settles after the last connection has ended. Resets
   * open connections after `drainMs` milliseconds, or when `hurry` aborts, and
   * returns their number.
   */
  drain(drainMs: number, hurry: AbortSignal): Promise<{ cut: number }>;
  /**
   * Opens doors again that the system has closed. `listening` reads the sockets
   * that listen (`listeningPlaces`). A door that cannot be opened leaves
   * `present`, so the next pass tries again.
   */
  mend(listening: () => Promise<ReadonlySet<string> | undefined>): Promise<MendedDoor[]>;
  /**
   * The addresses on which another program listens at one of these ports. Binds
   * each place briefly.
   */
  probe<I extends AnyIp>(
    places: readonly { readonly ip: I; readonly port: number }[],
  ): Promise<ReadonlySet<I>>;
}

/** A door that listens. */
export interface LiveDoor extends Doorway {
  readonly lanes: readonly Lane[];
  readonly listener: Listener;
  readonly entry: Entry;
}

/** Where the connections of a door go. */
interface Entry {
  board: Switchboard<Lane>;
  /** Clients whose endpoint is not known yet. */
  readonly reception: Reception;
}

/** One route of a door, with the connections on it. */
export interface Lane {
  readonly doorway: Doorway;
  route: Route;
  /** Shared by all lanes of one binding. */
  readonly meter: Meter;
  readonly conns: Set<Conn>;
  /** Called after the last connection has ended. */
  readonly waiting: (() => void)[];
  /** Takes a connection; `speaks` is `http` if HTTP/1 has named the host. */
  readonly carry: (conn: Conn, speaks?: "http") => void;
}

/**
 * A door that the system had closed; `reason` is undefined if it listens again.
 */
export interface MendedDoor {
  readonly doorway: Doorway;
  readonly reason: string | undefined;
}

export interface DoorOptions {
  readonly net: Net;
  /** How the connections of an account reach its endpoints. */
  readonly forwarding: (account: string) => ForwardDeps;
  /** Read for every connection. */
  readonly limits: () => Limits;
  /** Whether requests get the host of their endpoint. Read as well. */
  readonly rewriteHost?: () => boolean;
  /**
   * More names under which HTTP endpoints may be asked. They count where
   * requests get another host: a web page could choose any name for itself.
   */
  readonly hosts?: () => readonly string[];
  /** Asked for every connection, before anything is dialled. */
  readonly guard: Pick<Guard, "judge">;
}

/** No door is open yet. */
export function createDoors(options: DoorOptions): Doors {
  const state: State = {
    ...options,
    present: new Map(),
    draining: new Set(),
    meters: new Map(),
    strangers: createMeter(),
    open: 0,
    systemTells: false,
  };
  return {
    get open() {
      return state.open;
    },
    present: state.present,
    draining: state.draining,
    strangers: state.strangers,
    apply: (steps, drainMs) => apply(state, steps, drainMs),
    drain: (drainMs, hurry) => drain(state, drainMs, hurry),
    mend: (listening) => mend(state, listening),
    probe: (places) => probe(state.net, places),
  };
}

interface State extends DoorOptions {
  readonly present: Map<DoorId, LiveDoor>;
  readonly draining: Set<Lane>;
  /**
   * A binding keeps its counters when its address or its endpoints change: all
   * its lanes share one meter, the draining ones too.
   */
  readonly meters: Map<string, { readonly meter: Meter; lanes: number }>;
  readonly strangers: Meter;
  open: number;
  /**
   * Whether the system has ever listed a listening socket. Some sandboxes have
   * an empty list; a missing socket means nothing there.
   */
  systemTells: boolean;
}

async function apply(
  state: State,
  { open = [], reroute = [], close = [] }: Parameters<Doors["apply"]>[0],
  drainMs: number,
): Promise<ReadonlyMap<DoorId, string>> {
  const reasons = new Map<DoorId, string>();
  for (const doorway of open) {
    const reason = await openDoor(state, doorway);
    if (reason !== undefined) reasons.set(doorway.door.id, reason);
  }
  for (const doorway of reroute) rerouteDoor(state, doorway, drainMs);
  for (const id of close) closeAndDrain(state, id, drainMs);
  return reasons;
}

/** Returns the reason if the door cannot listen. */
async function openDoor(state: State, doorway: Doorway): Promise<string | undefined> {
  const { door } = doorway;
  // The lanes count as users of their meters only once the door listens.
  const lanes = createLanes(state, doorway, doorway.routes);
  const entry = { board: createSwitchboard(lanes), reception: createReception() };
  try {
    const listener = await listen(state, doorway, entry);
    for (const lane of lanes) holdMeter(state, lane);
    state.present.set(door.id, { ...doorway, lanes, listener, entry });
    return undefined;
  } catch (error) {
    return listenReason(error, doorway);
  }
}

/** Connections of a route that is gone drain as those of a closed door do. */
function rerouteDoor(state: State, doorway: Doorway, drainMs: number): void {
  const { present } = state;
  const live = present.get(doorway.door.id);
  if (live === undefined) return;
  const before = new Map(live.lanes.map((lane) => [routeKey(lane.route), lane]));
  const isNew = (route: Route): boolean => !before.has(routeKey(route));
  const fresh = createLanes(state, doorway, doorway.routes.filter(isNew));
  for (const lane of fresh) holdMeter(state, lane);
  const known = new Map([...before.values(), ...fresh].map((lane) => [routeKey(lane.route), lane]));
  const lanes = doorway.routes.flatMap((route) => {
    const lane = known.get(routeKey(route));
    if (lane === undefined) return [];
    before.delete(routeKey(route));
    lane.route = route;
    return [lane];
  });
  live.entry.board = createSwitchboard(lanes);
  present.set(doorway.door.id, { ...live, ...doorway, lanes });
  cutLater(leave(state, [...before.values()]), drainMs);
}

function closeAndDrain(state: State, id: DoorId, drainMs: number): void {
  cutLater(closeDoor(state, id), drainMs);
}

function cutLater(lanes: readonly Lane[], drainMs: number): void {
  for (const lane of lanes) {
    const timer = setTimeout(() => {
      for (const conn of [...lane.conns]) conn.abort();
    }, drainMs);
    timer.unref?.();
    void drained(lane).then(() => clearTimeout(timer));
  }
}

async function drain(state: State, drainMs: number, hurry: AbortSignal): Promise<{ cut: number }> {
  for (const id of [...state.present.keys()]) closeDoor(state, id);
  const lanes = [...state.draining];
  const cut = new Set<Conn>();
  const cutNow = (): void => {
    for (const conn of lanes.flatMap(({ conns }) => [...conns])) {
      cut.add(conn);
      conn.abort();
    }
  };
  // One limit for all: a door that closed earlier gets no more time.
  const timer = setTimeout(cutNow, drainMs);
  const unhook = onAbort(hurry, cutNow);
  await Promise.all(lanes.map(drained));
  clearTimeout(timer);
  unhook();
  return { cut: cut.size };
}

async function mend(
  state: State,
  listening: () => Promise<ReadonlySet<string> | undefined>,
): Promise<MendedDoor[]> {
  const { present } = state;
  // A door that opens during the system's reply may not be in it.
  const asked = [...present];
  const alive = await listening();
  if (alive === undefined) return [];
  state.systemTells ||= alive.size > 0;
  const missing = unlisted(asked, alive);
  if (missing.length === 0 || !state.systemTells) return [];
  // Asked twice: the kernel lists the sockets in pieces, and can leave one out
  // if another one closes during it.
  const still = await listening();
  const mended: MendedDoor[] = [];
  for (const [id, door] of still === undefined ? [] : unlisted(missing, still)) {
    if (present.get(id) === door) mended.push(await mendDoor(state, door));
  }
  return mended;
}

async function mendDoor(state: State, live: LiveDoor): Promise<MendedDoor> {
  const { present } = state;
  const { door, routes, entry } = live;
  const doorway = { door, routes };
  live.listener.close();
  try {
    const listener = await listen(state, doorway, entry);
    if (present.get(door.id) === live) present.set(door.id, { ...live, listener });
    else listener.close();
    return { doorway, reason: undefined };
  } catch (error) {
    if (present.get(door.id) === live) closeDoor(state, door.id);
    return { doorway, reason: listenReason(error, doorway) };
  }
}

/** The doors that the system does not list. */
function unlisted(
  doors: readonly [DoorId, LiveDoor][],
  alive: ReadonlySet<string>,
): [DoorId, LiveDoor][] {
  return doors.filter(([, { door }]) => !alive.has(listeningKey(door.at.ip, door.at.port)));
}

async function probe<I extends AnyIp>(
  net: Net,
  places: readonly { readonly ip: I; readonly port: number }[],
): Promise<ReadonlySet<I>> {
  const taken = new Set<I>();
  for (const { ip, port } of places) {
    try {
      (await net.listen({ host: ip, port }, (conn) => conn.abort())).close();
    } catch (error) {
      if (isNgrokdError(error, "address-in-use")) taken.add(ip);
    }
  }
  return taken;
}

function listen(state: State, { door }: Doorway, entry: Entry): Promise<Listener> {
  const { ip, port } = door.at;
  const onConn = (conn: Conn): void => {
    const lane = entry.board.laneFor(conn);
    if (lane !== undefined) lane.carry(conn);
    else if (entry.board.first === undefined) conn.abort();
    else receive(state, entry, entry.board.first, conn);
  };
  // A routed listener would take IPv6 alone.
  return state.net.listen({ host: ip, port }, onConn, { routed: !isWide(ip) });
}

/** Reads the host that a client names. `first` is any lane of the door. */
function receive(state: State, { reception, board }: Entry, first: Lane, conn: Conn): void {
  const { strangers } = state;
  const { id } = first.doorway.door;
  const deps = state.forwarding(first.route.target.account);
  const over = excess(state.open, 0, state.limits());
  if (over !== undefined) {
    turnAway(conn, id, strangers, over, deps);
    return;
  }
  state.open += 1;
  reception.receive(conn, {
    limitMs: deps.openTimeoutMs,
    laneOf: (host) => board.laneNamed(conn, host),
    leaves() {
      state.open -= 1;
    },
    refused({ kind, reason, fields }) {
      strangers.total += 1;
      countError(strangers, kind);
      strangers.lastError = reason;
      const level = kind === "misdirected" ? "warn" : "debug";
      deps.log[level](`A client of ${id} was refused, since ${reason}`, fields);
    },
  });
}

/**
 * Returns the handler for connections of a lane. Thousands of connections share
 * its one `ended`.
 */
function carrier(state: State, lane: Omit<Lane, "carry">): Lane["carry"] {
  const { conns, meter, waiting } = lane;
  const ended = (conn: Conn): void => {
    state.open -= 1;
    conns.delete(conn);
    const { target } = lane.route;
    tellMisdirected(conn, target.binding.key, meter, state.forwarding(target.account));
    if (conns.size === 0) for (const tell of waiting.splice(0)) tell();
  };
  return (conn, speaks) => {
    const { account, binding } = lane.route.target;
    const deps = state.forwarding(account);
    const over = excess(state.open, meter.active, state.limits());
    if (over !== undefined) {
      turnAway(conn, binding.key, meter, over, deps);
      return;
    }
    const manners = mannersFor(lane.route, speaks, state);
    const client = manners === undefined ? conn : guardedConn(conn, manners);
    state.open += 1;
    conns.add(client);
    forward(client, binding, meter, deps, ended);
  };
}

/** Hands a client to `carry` if it may use the endpoint. */
function admitting(state: State, lane: Omit<Lane, "carry">, carry: Lane["carry"]): Lane["carry"] {
  return (conn, speaks) => {
    const { target, forOthers } = lane.route;
    const decide = (refusal: RefusalText | undefined): void => {
      if (refusal === undefined) carry(conn, speaks);
      else refuse(conn, target.binding.key, lane.meter, refusal, state.forwarding(target.account));
    };
    const judged = state.guard.judge(
      conn,
      target.binding,
      forOthers === true ? "everybody" : "users",
    );
    if (judged instanceof Promise)
      void judged.then((refusal) => {
        // The door may have closed meanwhile.
        if (isLive(state, lane)) decide(refusal);
        else conn.abort();
      });
    else decide(judged);
  };
}

const isLive = ({ present }: State, lane: Omit<Lane, "carry">): boolean =>
  present.get(lane.doorway.door.id)?.lanes.some((one) => one === lane) === true;

/** The log suppresses repeats of this line. */
function refuse(
  conn: Conn,
  key: string,
  meter: Meter,
  { reason, detail, hint }: RefusalText,
  { log }: ForwardDeps,
): void {
  conn.abort();
  meter.total += 1;
  countError(meter, "access");
  meter.lastError = `reset at once: ${detail}`;
  log.warn(`${key}: reset at once: ${reason}`, { endpoint: key, hint });
}

/** Undefined if the requests of a connection need no look. */
function mannersFor(
  { match, target: { binding } }: Route,
  speaks: "http" | undefined,
  { rewriteHost, hosts }: Pick<DoorOptions, "rewriteHost" | "hosts">,
): Manners | undefined {
  const rewrite = rewriteHost?.() === true && binding.proto === "http";
  if (speaks === undefined && !rewrite) return undefined;
  const authority = binding.port === 80 ? binding.host : binding.key;
  return {
    only: speaks === "http" && match.kind === "name" ? match.host : undefined,
    mayName: rewrite ? (named) => isOwnHost(named, [binding.host], hosts?.() ?? []) : undefined,
    rewrite: rewrite ? authority : undefined,
  };
}

/** A guarded connection may have ended because of a request to another host. */
function tellMisdirected(conn: Conn, key: string, meter: Meter, { log }: ForwardDeps): void {
  const reason = refusalOf(conn);
  if (reason === undefined) return;
  countError(meter, "misdirected");
  log.warn(`${key}: a request was not passed on, since ${reason}`, { endpoint: key });
}

/** The log suppresses repeats of this line. */
function turnAway(
  conn: Conn,
  key: string,
  meter: Meter,
  { reason, hint, local }: Excess,
  { log }: ForwardDeps,
): void {
  conn.abort();
  meter.total += 1;
  countError(meter, "limit");
  meter.lastError = `reset at once: ${reason}`;
  const newcomers = local ? `${key}: new` : "New";
  log.warn(`${newcomers} connections are reset at once: ${reason}`, {
    ...(local && { endpoint: key }),
    hint,
  });
}

/** Stops listening, and returns the lanes that still carry connections. */
function closeDoor(state: State, id: DoorId): readonly Lane[] {
  const live = state.present.get(id);
  if (live === undefined) return [];
  state.present.delete(id);
  live.listener.close();
  live.entry.reception.close();
  return leave(state, live.lanes);
}

/** Returns the lanes that still carry connections. */
function leave(state: State, lanes: readonly Lane[]): readonly Lane[] {
  const busy = lanes.filter(({ conns }) => conns.size > 0);
  for (const lane of lanes) if (!busy.includes(lane)) dropMeter(state, lane);
  for (const lane of busy) {
    state.draining.add(lane);
    void drained(lane).then(() => {
      state.draining.delete(lane);
      dropMeter(state, lane);
    });
  }
  return busy;
}

/** The routes of one binding share a meter. */
function createLanes(state: State, doorway: Doorway, routes: readonly Route[]): Lane[] {
  const fresh = new Map<string, Meter>();
  return routes.map((route) => {
    const { key } = route.target.binding;
    const meter = state.meters.get(key)?.meter ?? fresh.get(key) ?? createMeter();
    fresh.set(key, meter);
    return createLane(state, doorway, route, meter);
  });
}

function createLane(state: State, doorway: Doorway, route: Route, meter: Meter): Lane {
  const lane = { doorway, route, meter, conns: new Set<Conn>(), waiting: [] };
  return Object.assign(lane, { carry: admitting(state, lane, carrier(state, lane)) });
}

function holdMeter({ meters }: State, lane: Lane): void {
  const shared = meters.get(bindingKey(lane)) ?? { meter: lane.meter, lanes: 0 };
  shared.lanes += 1;
  meters.set(bindingKey(lane), shared);
}

function dropMeter({ meters }: State, lane: Lane): void {
  const shared = meters.get(bindingKey(lane));
  if (shared === undefined) return;
  shared.lanes -= 1;
  if (shared.lanes === 0) meters.delete(bindingKey(lane));
}

const bindingKey = ({ route }: Lane): string => route.target.binding.key;

/** Settles when the last connection has ended. */
function drained({ conns, waiting }: Lane): Promise<void> {
  return new Promise((resolve) => {
    if (conns.size === 0) resolve();
    else waiting.push(resolve);
  });
}

/** Why a door does not listen, as a text for the user. */
function listenReason(error: unknown, { door }: Doorway): string {
  const { ip, port } = door.at;
  const { id } = door;
  const code: ErrorCode | undefined = isNgrokdError(error) ? error.code : undefined;
  switch (code) {
    case "address-in-use":
      return `another program listens on ${id} (or on port ${port} of all addresses)`;
    case "permission":
      return `ports below 1024 need root or CAP_NET_BIND_SERVICE, and ${id} is one`;
    case "address-unavailable":
      return process.platform === "darwin"
        ? `${ip} is not an address of this machine; add it with \`sudo ifconfig lo0 alias ${ip}\``
        : `${ip} is not an address of this machine`;
    default:
      return `cannot listen on ${id}: ${reasonOf(error)}`;
  }
}
