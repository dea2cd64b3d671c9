/**
 * workers/ spreads the connections over several processes, so that several
 * cores carry them and no work of the daemon delays a byte. The daemon opens
 * the listeners and accepts nothing; the workers get copies of them
 * (SCM_RIGHTS), and the kernel wakes whichever is free. Each worker has a relay
 * of its own and reports what happens on it; the daemon's relay has the sums.
 */
import type { DoorId, Doorway } from "../exposure/exposure.ts";
import type { History } from "../history/history.ts";
import type { IngressSettings } from "../ingress/ingress-dialer.ts";
import type { Exchange } from "../inspect/exchange.ts";
import { onAbort } from "../model/abort.ts";
import { NgrokdError } from "../model/error.ts";
import type { Net } from "../net/types.ts";
import type { Lane } from "../relay/lanes.ts";
import { createRelay, type Relay, type RelayLimits, type RelayOptions } from "../relay/relay.ts";
import { createMember, type Member } from "./member.ts";
import type { Report, WorkerSettings, WorkerSteps } from "./messages.ts";
import { createMirror, type Mirror, troubleOf, withWorkers } from "./mirror.ts";
import { type Passage, type Program, startWorker } from "./process.ts";

/** A relay whose connections are in other processes. */
export interface Crew extends Relay {
  readonly workers: readonly WorkerFacts[];
}

export interface WorkerFacts {
  readonly number: number;
  /** 0 while the next one starts. */
  readonly pid: number;
  readonly open: number;
  /** Since the start of the daemon. */
  readonly accepted: number;
  readonly restarts: number;
  readonly turnedAway: number;
}

export interface CrewOptions extends RelayOptions {
  readonly count: number;
  readonly program: Program;
  readonly history: History;
  /** Read at every pass, and when limits are set. */
  readonly settings: () => WorkerSettings;
  /** An exchange that a worker has read. */
  readonly exchange: (exchange: Exchange) => void;
}

/** Pure: how many workers there are; 1 means that the daemon does it itself. */
export function workerCount(setting: "auto" | number, cores: number, isAble: boolean): number {
  if (setting !== "auto") return setting;
  // One core is left for the daemon itself.
  return isAble && cores > 2 ? Math.min(mostByItself, cores - 1) : 1;
}
const mostByItself = 4;

/**
 * Doors, or other steps, that a worker gets at once: connections are carried
 * between two pieces.
 */
const piece = 8;
/** How long doors wait for a worker that starts. */
const startMs = 10_000;
/** How often the workers learn of each other's connections. */
const elsewhereMs = 50;

/** Rejects with NgrokdError `network` if this system cannot pass listeners. */
export async function openCrew(options: CrewOptions): Promise<Crew> {
  const passage = await passageOf(options.net);
  const own = createRelay({
    ...options,
    net: queuing(options.net),
    // Each process has descriptors of its own.
    room: (poolSize) => options.room(poolSize) * options.count,
  });
  const state: State = {
    options,
    own,
    limits: options.limits,
    accounts: options.accounts,
    credentials: new Map(),
    lanes: undefined,
    crew: [],
    soon: undefined,
  };
  for (let number = 1; number <= options.count; number += 1)
    state.crew.push(recruit(state, passage, number));
  return crewOf(state);
}

async function passageOf(net: Net): Promise<Passage> {
  const enclosure = await net.enclosure().catch((cause: unknown) => {
    throw new NgrokdError("config", "forward.workers: this system or runtime has no workers", {
      cause,
      hint: "leave `forward.workers` out; ngrokd's own program for Linux can have more than one",
    });
  });
  const { channel, send } = enclosure;
  return { channel, send, close: net.closeDescriptor };
}

/** Doors listen, and leave their clients to the workers. */
const queuing = (net: Net): Net => ({
  ...net,
  listen: (address, onConn, options) =>
    options?.trial === true
      ? net.listen(address, onConn, options)
      : net.listen(address, onConn, { ...options, queued: true }),
});

interface Recruit {
  readonly member: Member;
  readonly mirror: Mirror;
  /** What it knows of the other workers, as text. */
  told: string;
}

interface State {
  readonly options: CrewOptions;
  readonly own: Relay;
  limits: RelayLimits;
  accounts: readonly string[];
  readonly credentials: Map<string, Omit<IngressSettings, "introduction">>;
  /** The lanes of the doors by account and endpoint, made when needed. */
  lanes: Map<string, Lane> | undefined;
  readonly crew: Recruit[];
  soon: ReturnType<typeof setTimeout> | undefined;
}

function recruit(state: State, passage: Passage, number: number): Recruit {
  const { program, history, log, exchange } = state.options;
  const mirror = createMirror({
    relay: state.own,
    history,
    laneOf: (account, endpoint) => lanesOf(state).get(laneKey(account, endpoint)),
  });
  const member = createMember({
    number,
    start: (heard) => startWorker(program, passage, heard),
    teach: (one) => teach(state, one),
    heard(report: Report, offset: number) {
      if (report.kind === "exchange") exchange(report.exchange);
      if (report.kind !== "traffic") return;
      mirror.take(report, offset);
      for (const { level, message, fields } of report.log) log[level](message, fields);
      tellElsewhereSoon(state);
    },
    lost() {
      mirror.lose();
      one.told = "";
      tellElsewhereSoon(state);
    },
    log,
  });
  const one: Recruit = { member, mirror, told: "" };
  return one;
}

/** Everything that a new worker must know. */
async function teach(state: State, member: Member): Promise<void> {
  tellSettings(state, [member]);
  member.tell({ kind: "accounts", names: state.accounts });
  for (const [account, settings] of state.credentials)
    member.tell({ kind: "credentials", account, settings });
  await pass(state, member, { open: [...state.own.present.keys()], reroute: [], close: [] });
  member.tell({ kind: "prepare" });
  tellElsewhereSoon(state);
}

function tellSettings({ options, limits, crew }: State, to?: readonly Member[]): void {
  const order = { kind: "settings", settings: options.settings(), limits } as const;
  for (const member of to ?? crew.map((one) => one.member)) member.tell(order);
}

interface StepIds {
  readonly open: readonly DoorId[];
  readonly reroute: readonly DoorId[];
  readonly close: readonly DoorId[];
}

/**
 * Passes steps on in pieces. Each is as the doors are when it is sent: only so
 * a descriptor is that of its door.
 */
async function pass({ own }: State, member: Member, { open, reroute, close }: StepIds) {
  const live = (ids: readonly DoorId[]) => ids.flatMap((id) => own.present.get(id) ?? []);
  const send = async (steps: Partial<WorkerSteps>, descriptors: readonly number[] = []) =>
    await member.work({ kind: "steps", open: [], reroute: [], close: [], ...steps }, descriptors);
  for (const ids of pieces(open)) {
    const doors = live(ids).filter(({ listener }) => listener.fd !== undefined);
    await send(
      { open: doors.map(plain) },
      doors.map(({ listener }) => listener.fd ?? -1),
    );
  }
  for (const ids of pieces(reroute)) await send({ reroute: live(ids).map(plain) });
  for (const ids of pieces(close)) {
    // Another door may have the place by now.
    await send({ close: ids.filter((id) => !own.present.has(id)) });
  }
}

const plain = ({ door, routes }: Doorway): Doorway => ({ door, routes });

const pieces = <T>(all: readonly T[]): T[][] =>
  Array.from({ length: Math.ceil(all.length / piece) }, (_, i) =>
    all.slice(i * piece, (i + 1) * piece),
  );

function lanesOf(state: State): Map<string, Lane> {
  if (state.lanes !== undefined) return state.lanes;
  const found = new Map<string, Lane>();
  for (const { lanes } of state.own.present.values())
    for (const lane of lanes) {
      const { account, binding } = lane.route.target;
      found.set(laneKey(account, binding.key), lane);
    }
  state.lanes = found;
  return found;
}

const laneKey = (account: string, endpoint: string): string => `${account} ${endpoint}`;

function tellElsewhereSoon(state: State): void {
  state.soon ??= setTimeout(() => {
    state.soon = undefined;
    tellElsewhere(state);
  }, elsewhereMs);
  state.soon.unref?.();
}

/** The limits of connections count those of all workers. */
function tellElsewhere({ crew, limits }: State): void {
  const each = limits.connections.perEndpoint !== Number.POSITIVE_INFINITY;
  for (const one of crew) {
    const others = crew.filter((other) => other !== one).map(({ mirror }) => mirror);
    const open = others.reduce((sum, mirror) => sum + mirror.open, 0);
    const endpoints = new Map<string, number>();
    for (const [key, count] of each ? others.flatMap(({ active }) => [...active]) : [])
      endpoints.set(key, (endpoints.get(key) ?? 0) + count);
    const told = JSON.stringify([open, [...endpoints]]);
    if (told === one.told) continue;
    one.told = told;
    one.member.tell({ kind: "elsewhere", open, endpoints });
  }
}

function crewOf(state: State): Crew {
  const { own, crew } = state;
  return {
    present: own.present,
    draining: own.draining,
    meters: own.meters,
    meter: own.meter,
    add: own.add,
    carry: own.carry,
    probe: own.probe,
    ingress: own.ingress,
    ...doorsOf(state),
    ...settingsOf(state),
    ...sumsOf(state),
    ...endOf(state),
    get workers() {
      return crew.map(({ member: { number, pid, restarts }, mirror }) => {
        const { open, accepted, turnedAway } = mirror;
        return { number, pid, restarts, open, accepted, turnedAway };
      });
    },
  };
}

const tellAll = ({ crew }: State, ...[order]: Parameters<Member["tell"]>): void => {
  for (const { member } of crew) member.tell(order);
};

const each = async ({ crew }: State, work: (member: Member) => Promise<void>): Promise<void> =>
  void (await Promise.all(crew.map(({ member }) => work(member))));

function doorsOf(state: State): Pick<Relay, "apply" | "mend"> {
  const { own } = state;
  return {
    async apply(steps) {
      const failures = await own.apply(steps);
      state.lanes = undefined;
      const ids = idsOf(steps);
      await each(state, async (member) => {
        await member.settled(startMs);
        await pass(state, member, ids);
      });
      return failures;
    },
    async mend(listening) {
      const mended = await own.mend(listening);
      if (mended.length === 0) return mended;
      const ids = (works: boolean): DoorId[] =>
        mended.flatMap(({ doorway, reason }) =>
          (reason === undefined) === works ? doorway.door.id : [],
        );
      await each(state, (member) => remedy(state, member, { again: ids(true), gone: ids(false) }));
      return mended;
    },
  };
}

function settingsOf(
  state: State,
): Pick<Relay, "accounts" | "credentials" | "limits" | "discardReady" | "prepare"> {
  const { own } = state;
  return {
    accounts(names) {
      state.accounts = names;
      for (const name of state.credentials.keys())
        if (!names.includes(name)) state.credentials.delete(name);
      own.accounts(names);
      tellAll(state, { kind: "accounts", names });
    },
    credentials(account, { introduction, ...settings }) {
      own.credentials(account, { introduction, ...settings });
      state.credentials.set(account, settings);
      tellAll(state, { kind: "credentials", account, settings });
    },
    limits(limits) {
      state.limits = limits;
      own.limits(limits);
      tellSettings(state);
    },
    discardReady() {
      own.discardReady();
      tellAll(state, { kind: "discard" });
    },
    prepare() {
      own.prepare();
      tellSettings(state);
      tellAll(state, { kind: "prepare" });
    },
  };
}

function sumsOf(state: State): Pick<Relay, "stats" | "trouble"> {
  const { own } = state;
  const mirrors = state.crew.map(({ mirror }) => mirror);
  return {
    stats(account) {
      const stats = own.stats(account);
      const names = account === undefined ? state.accounts : [account];
      const known = mirrors.flatMap((one) => names.flatMap((name) => one.ingress(name) ?? []));
      return {
        ...stats,
        open: mirrors.reduce((sum, { open }) => sum + open, stats.open),
        ingress: withWorkers(
          stats.ingress,
          known.map((one) => one.stats),
        ),
      };
    },
    trouble: (account) =>
      own.trouble(account) ?? mirrors.flatMap((one) => troubleOf(one.ingress(account)) ?? [])[0],
  };
}

function endOf(state: State): Pick<Relay, "leave" | "drain"> {
  const { own } = state;
  const members = state.crew.map(({ member }) => member);
  return {
    async leave() {
      // A listener that is closed here must not reach a new worker.
      for (const member of members) member.finish();
      await Promise.all([own.leave(), each(state, (member) => member.work({ kind: "leave" }))]);
    },
    async drain(hurry) {
      for (const member of members) member.finish();
      tellAll(state, { kind: "drain" });
      const unhook = onAbort(hurry, () => tellAll(state, { kind: "hurry" }));
      const end = await own.drain(hurry);
      await goneOrKilled(members);
      unhook();
      clearTimeout(state.soon);
      return end;
    },
  };
}

/** A worker that lives on after its last connection hangs. */
async function goneOrKilled(members: readonly Member[]): Promise<void> {
  const timer = setTimeout(() => {
    for (const member of members) member.kill();
  }, endMs);
  await Promise.all(members.map(({ gone }) => gone));
  clearTimeout(timer);
}
const endMs = 5000;

const idsOf = ({
  open = [],
  reroute = [],
  close = [],
}: Parameters<Relay["apply"]>[0]): StepIds => ({
  open: open.map(({ door }) => door.id),
  reroute: reroute.map(({ door }) => door.id),
  close,
});

/** Doors that have other listeners now, and doors that could not have one. */
async function remedy(
  state: State,
  member: Member,
  { again, gone }: { again: readonly DoorId[]; gone: readonly DoorId[] },
): Promise<void> {
  for (const ids of pieces(again)) {
    const doors = ids.flatMap((id) => state.own.present.get(id) ?? []);
    await member.work(
      { kind: "mend", open: doors.map(plain) },
      doors.map(({ listener }) => listener.fd ?? -1),
    );
  }
  await pass(state, member, { open: [], reroute: [], close: gone });
}
