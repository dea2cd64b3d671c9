import { setTimeout as sleep } from "node:timers/promises";
import type { Shared } from "../access/guard.ts";
import {
  type Door,
  type DoorId,
  type Doorway,
  isWide,
  type Route,
  type Target,
} from "../exposure/exposure.ts";
import { routeKey, type Steps } from "../exposure/plan.ts";
import { onAbort } from "../model/abort.ts";
import { type ErrorCode, isNgrokdError, reasonOf } from "../model/error.ts";
import type { AnyIp } from "../model/ip.ts";
import { addCounts, countError, createMeter, type Meter } from "../model/meter.ts";
import { addChange } from "../model/meter-change.ts";
import { createTurns } from "../model/turns.ts";
import { listeningKey } from "../net/proc-net.ts";
import type { Conn, Listener, Net } from "../net/types.ts";
import { excess } from "./connection-limits.ts";
import type { Courtesy } from "./forward.ts";
import {
  countOf,
  createLanes,
  cutLater,
  drained,
  holdMeter,
  type Lane,
  type LaneOptions,
  type LaneState,
  leave,
  refuse,
  sharedBy,
  turnAway,
} from "./lanes.ts";
import { type Place, probe } from "./probe.ts";
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
  /** The sums of the endpoints that are gone. */
  readonly departed: Meter;
  /** The meters in use, by the key of their binding. */
  meters(): ReadonlyMap<string, Meter>;
  /** One of {@link meters}. */
  meter(key: string): Meter | undefined;
  /** Adds the traffic of another process; `key` is that of a binding. */
  add(key: string, change: Meter): void;
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
   * Carries a client that has come by another way than a door, and is known to
   * be let in. The endpoint need not have a door.
   */
  carry(target: Target, conn: Conn, courtesy: Courtesy): void;
  /**
   * Closes all doors and settles after the last connection has ended. Resets
   * open connections after `drainMs` milliseconds, or when `hurry` aborts, and
   * returns their number.
   */
  drain(drainMs: number, hurry: AbortSignal): Promise<{ cut: number }>;
  /**
   * Closes the listeners, since another process has them too. Settles when no
   * client is on its way to an endpoint, at the latest after `ms` milliseconds.
   */
  leave(ms: number): Promise<void>;
  /**
   * Opens doors again that the system has closed. `listening` reads the sockets
   * that listen (`listeningPlaces`). A door that cannot be opened leaves
   * `present`, so the next pass tries again.
   */
  mend(listening: () => Promise<ReadonlySet<string> | undefined>): Promise<MendedDoor[]>;
  /** See {@link probe}. */
  probe<I extends AnyIp>(places: readonly Place<I>[]): Promise<ReadonlySet<I>>;
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
  /** The endpoints for clients that name a host. */
  shared: readonly Shared[];
  /** Clients without an endpoint; undefined before the first one. */
  reception?: Reception;
}

/**
 * A door that the system had closed; `reason` is undefined if it listens again.
 */
export interface MendedDoor {
  readonly doorway: Doorway;
  readonly reason: string | undefined;
}

export interface DoorOptions extends LaneOptions {
  readonly net: Net;
}

/** No door is open yet. */
export function createDoors(options: DoorOptions): Doors {
  const present = new Map<DoorId, LiveDoor>();
  const state: State = {
    ...options,
    present,
    draining: new Set(),
    meters: new Map(),
    strangers: createMeter(),
    departed: createMeter(),
    open: 0,
    systemTells: false,
    doorless: new Map(),
    isLive: (lane) => present.get(lane.doorway.door.id)?.lanes.some((one) => one === lane) === true,
  };
  return {
    get open() {
      return state.open;
    },
    present: state.present,
    draining: state.draining,
    strangers: state.strangers,
    departed: state.departed,
    meter: (key) => state.meters.get(key)?.meter,
    meters: () => new Map([...state.meters].map(([key, { meter }]) => [key, meter])),
    add(key, change) {
      const meter = state.meters.get(key)?.meter;
      if (meter !== undefined) addChange(meter, change);
      // The endpoint is gone, and a connection of it has ended elsewhere.
      else addCounts(state.departed, change);
    },
    apply: (steps, drainMs) => apply(state, steps, drainMs),
    carry: (target, conn, courtesy) => carry(state, target, conn, courtesy),
    drain: (drainMs, hurry) => drain(state, drainMs, hurry),
    leave: (ms) => leaveDoors(state, ms),
    mend: (listening) => mend(state, listening),
    probe: (places) => probe(state.net, places),
  };
}

interface State extends DoorOptions, LaneState {
  readonly present: Map<DoorId, LiveDoor>;
  readonly strangers: Meter;
  /**
   * Whether the system has ever listed a listening socket. Some sandboxes have
   * an empty list; a missing socket means nothing there.
   */
  systemTells: boolean;
  /** Lanes to endpoints without a door, by account and binding. */
  readonly doorless: Map<string, Lane>;
}

function carry(state: State, target: Target, conn: Conn, courtesy: Courtesy): void {
  const ofDoor = laneTo(state, target);
  if (ofDoor !== undefined) {
    ofDoor.take(conn, courtesy);
    return;
  }
  const { doorless } = state;
  const key = `${target.account} ${target.binding.key}`;
  const lane = doorless.get(key) ?? createDoorless(state, target);
  doorless.set(key, lane);
  lane.take(conn, courtesy);
  void drained(lane).then(() => {
    if (lane.conns.size === 0) doorless.delete(key);
  });
}

/** The lane of a door that leads there. */
function laneTo({ present }: State, { account, binding }: Target): Lane | undefined {
  for (const { lanes } of present.values())
    for (const lane of lanes) {
      const { target } = lane.route;
      if (target.account === account && target.binding.key === binding.key) return lane;
    }
  return undefined;
}

function createDoorless(state: State, target: Target): Lane {
  const { key } = target.binding;
  const door: Door = { id: key, at: { ip: nowhere, port: 0 }, greet: "fixed" };
  const route: Route = { door: key, match: { kind: "any" }, target };
  const [lane] = createLanes(state, { door, routes: [route] }, [route]);
  return lane as Lane;
}

const nowhere = "0.0.0.0" as AnyIp;

async function apply(
  state: State,
  { open = [], reroute = [], close = [] }: Parameters<Doors["apply"]>[0],
  drainMs: number,
): Promise<ReadonlyMap<DoorId, string>> {
  const reasons = new Map<DoorId, string>();
  // There may be thousands of each, and the open connections go on meanwhile.
  const turn = createTurns();
  for (const doorway of open) {
    const reason = await openDoor(state, doorway);
    if (reason !== undefined) reasons.set(doorway.door.id, reason);
    await turn();
  }
  for (const doorway of reroute) {
    rerouteDoor(state, doorway, drainMs);
    await turn();
  }
  for (const id of close) {
    closeAndDrain(state, id, drainMs);
    await turn();
  }
  return reasons;
}

/** Returns the reason if the door cannot listen. */
async function openDoor(state: State, doorway: Doorway): Promise<string | undefined> {
  const { door } = doorway;
  // The lanes count as users of their meters only once the door listens.
  const lanes = createLanes(state, doorway, doorway.routes);
  const entry: Entry = leadingTo(lanes);
  try {
    const listener = await listen(state, doorway, entry);
    for (const lane of lanes) holdMeter(state, lane);
    state.present.set(door.id, { ...doorway, lanes, listener, entry });
    return undefined;
  } catch (error) {
    return listenReason(error, doorway);
  }
}

function leadingTo(lanes: readonly Lane[]): Pick<Entry, "board" | "shared"> {
  const board = createSwitchboard(lanes);
  return { board, shared: board.named.map(({ route }) => sharedBy(route)) };
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
  Object.assign(live.entry, leadingTo(lanes));
  present.set(doorway.door.id, { ...live, ...doorway, lanes });
  cutLater(leave(state, [...before.values()]), drainMs);
}

function closeAndDrain(state: State, id: DoorId, drainMs: number): void {
  cutLater(closeDoor(state, id), drainMs);
}

async function drain(state: State, drainMs: number, hurry: AbortSignal): Promise<{ cut: number }> {
  for (const id of [...state.present.keys()]) closeDoor(state, id);
  const lanes = [...state.draining, ...state.doorless.values()];
  const cut = new Set<Pick<Conn, "abort">>();
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

/** How long a client may be between accept and its endpoint, unseen. */
const unseenMs = 100;

async function leaveDoors(state: State, ms: number): Promise<void> {
  for (const { listener } of state.present.values()) listener.close();
  const deadline = performance.now() + ms;
  do await sleep(unseenMs);
  while (strangersIn(state) > 0 && performance.now() < deadline);
}

/** Clients that have not named their endpoint. */
function strangersIn({ present, draining, open }: State): number {
  const lanes = [...[...present.values()].flatMap((door) => door.lanes), ...draining];
  return open - lanes.reduce((sum, { conns }) => sum + conns.size, 0);
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
    const now = present.get(id);
    if (now?.listener === door.listener) mended.push(await mendDoor(state, now));
  }
  return mended;
}

async function mendDoor(state: State, live: LiveDoor): Promise<MendedDoor> {
  const { present } = state;
  const { door, routes, entry } = live;
  const doorway = { door, routes };
  // It may get other routes meanwhile, or close.
  const current = (): LiveDoor | undefined => {
    const now = present.get(door.id);
    return now?.listener === live.listener ? now : undefined;
  };
  live.listener.close();
  try {
    const listener = await listen(state, doorway, entry);
    const now = current();
    if (now === undefined) listener.close();
    else present.set(door.id, { ...now, listener });
    return { doorway, reason: undefined };
  } catch (error) {
    if (current() !== undefined) closeDoor(state, door.id);
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

function listen(state: State, { door }: Doorway, entry: Entry): Promise<Listener> {
  const { ip, port } = door.at;
  const onConn = (conn: Conn): void => {
    const lane = entry.board.laneFor(conn);
    if (lane !== undefined) lane.carry(conn);
    else welcome(state, entry, conn);
  };
  // A routed listener would take IPv6 alone.
  return state.net.listen({ host: ip, port }, onConn, { routed: !isWide(ip) });
}

/**
 * Receives a client that may use any endpoint of the door. All others would
 * hold places while they name none.
 */
function welcome(state: State, entry: Entry, conn: Conn): void {
  const [first] = entry.board.named;
  if (first === undefined) {
    conn.abort();
    return;
  }
  const { id } = first.doorway.door;
  const decide = (mayUseAny: boolean): void => {
    if (mayUseAny) receive(state, entry, first, conn);
    else {
      const reason = "no rule of access.rules lets the client use any endpoint of this door";
      const hint = "a rule with its address in `from` lets it in";
      const { log } = state.forwarding(first.route.target.account);
      const detail = `${reason} (${"host" in conn.remote ? conn.remote.host : ""})`;
      refuse(conn, { key: id, meter: state.strangers, log }, { reason, detail, hint });
    }
  };
  const judged = state.guard.mayUseAny(conn, entry.shared);
  if (judged instanceof Promise)
    void judged.then((may) => {
      // Another door may have the place by now.
      if (state.present.get(id)?.entry === entry) decide(may);
      else conn.abort();
    });
  else decide(judged);
}

/** Reads the host that a client names. `first` is any lane of a name here. */
function receive(state: State, entry: Entry, first: Lane, conn: Conn): void {
  const { strangers } = state;
  const { id } = first.doorway.door;
  const deps = state.forwarding(first.route.target.account);
  const over = excess(countOf(state), state.limits());
  if (over !== undefined) {
    turnAway(conn, id, strangers, over, deps);
    return;
  }
  state.open += 1;
  entry.reception ??= receptionOf(state, entry, id);
  entry.reception.receive(conn, deps);
}

function receptionOf(state: State, entry: Entry, id: DoorId): Reception {
  const { strangers } = state;
  return createReception({
    // The routes of this moment: those of the accept may be gone.
    laneOf: (conn, host) => entry.board.laneNamed(conn, host),
    leaves() {
      state.open -= 1;
    },
    refused({ kind, reason, fields }, log) {
      strangers.total += 1;
      countError(strangers, kind);
      strangers.lastError = reason;
      const level = kind === "misdirected" ? "warn" : "debug";
      log[level](`A client of ${id} was refused, since ${reason}`, fields);
    },
  });
}

/** Stops listening, and returns the lanes that still carry connections. */
function closeDoor(state: State, id: DoorId): readonly Lane[] {
  const live = state.present.get(id);
  if (live === undefined) return [];
  state.present.delete(id);
  live.listener.close();
  live.entry.reception?.close();
  return leave(state, live.lanes);
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
