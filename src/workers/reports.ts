import type { Recorder } from "../history/history.ts";
import type { Tally } from "../history/tally.ts";
import { newTrace, type Trace } from "../history/trace.ts";
import { isNgrokdError } from "../model/error.ts";
import type { Log } from "../model/log.ts";
import { createMeter, type Meter } from "../model/meter.ts";
import { changeOf, copyOf, isNothing } from "../model/meter-change.ts";
import type { Relay } from "../relay/relay.ts";
import type { IngressNews, LogLine, News, Report, Traffic } from "./messages.ts";

/** Collects the facts for the daemon, and sends them a few times a second. */
export interface Reporter {
  readonly recorder: Recorder;
  readonly log: Log;
  /** Tells everything now. */
  flush(): void;
}

export interface ReporterDeps {
  readonly relay: () => Pick<Relay, "meter" | "stats" | "trouble">;
  readonly accounts: () => readonly string[];
  readonly turnedAway: () => number;
  readonly verbose: () => boolean;
  readonly send: (report: Report) => void;
}

/** A step of a connection waits this long at most. */
const soonMs = 100;
/** The same for bytes of open connections alone. */
const bytesMs = 1000;

export function createReporter(deps: ReporterDeps): Reporter {
  const state: State = {
    deps,
    count: 0,
    fresh: new Map(),
    moved: new Set(),
    watched: new Map(),
    known: new WeakMap(),
    strangers: createMeter(),
    told: new Map(),
    open: 0,
    lines: [],
    soon: undefined,
    later: undefined,
  };
  return {
    recorder: recorderOf(state),
    log: logOf(state),
    flush: () => flush(state, true),
  };
}

interface Draft {
  readonly isNew: boolean;
  readonly notices: string[];
}

interface State {
  readonly deps: ReporterDeps;
  count: number;
  /** Connections with a new step. */
  readonly fresh: Map<Trace, Draft>;
  /** Those with new bytes only. */
  readonly moved: Set<Trace>;
  /** The meters in use. */
  readonly watched: Map<string, Meter>;
  /** What the daemon knows of each meter. */
  readonly known: WeakMap<Meter, Meter>;
  strangers: Meter;
  /** The last news of each account, as text. */
  readonly told: Map<string, string>;
  open: number;
  lines: LogLine[];
  soon: ReturnType<typeof setTimeout> | undefined;
  later: ReturnType<typeof setTimeout> | undefined;
}

function recorderOf(state: State): Recorder {
  const { fresh, moved } = state;
  const step = (trace: Trace): Draft => {
    const draft = fresh.get(trace) ?? { isNew: false, notices: [] };
    fresh.set(trace, draft);
    soon(state);
    return draft;
  };
  const carried = (trace: Trace): void => {
    moved.add(trace);
    later(state);
  };
  return {
    begin(newcomer) {
      state.count += 1;
      const trace = newTrace({ ...newcomer, id: state.count, tally: noTally });
      fresh.set(trace, { isNew: true, notices: [] });
      watch(state, newcomer.endpoint);
      soon(state);
      return trace;
    },
    opened(trace) {
      trace.upgraded = performance.now();
      step(trace);
    },
    noticed: (trace, text) => void step(trace).notices.push(text),
    carriedUp(trace, bytes) {
      trace.bytesUp += bytes;
      if (trace.firstUp === undefined) {
        trace.firstUp = performance.now();
        step(trace);
      } else carried(trace);
    },
    carriedDown(trace, bytes) {
      trace.bytesDown += bytes;
      if (trace.firstDown === undefined) {
        trace.firstDown = performance.now();
        step(trace);
      } else carried(trace);
    },
    ended(trace, ending, detail) {
      trace.ended = performance.now();
      trace.ending = ending;
      trace.detail = detail;
      step(trace);
    },
  };
}

/** The daemon has the tallies. */
const noTally: Tally = {
  endpoint: "",
  active: 0,
  up: 0,
  down: 0,
  opened: 0,
  ended: 0,
  failed: 0,
  stirred: true,
};

function logOf(state: State): Log {
  const at =
    (level: LogLine["level"]): Log["info"] =>
    (message, fields) => {
      if (level === "debug" && !state.deps.verbose()) return;
      state.lines.push({ level, message, fields });
      soon(state);
    };
  return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

function soon(state: State): void {
  state.soon ??= setTimeout(() => flush(state, false), soonMs);
}

function later(state: State): void {
  state.later ??= setTimeout(() => flush(state, true), bytesMs);
}

function watch({ watched, deps }: State, key: string): void {
  const meter = watched.get(key) ?? deps.relay().meter(key);
  if (meter !== undefined) watched.set(key, meter);
}

/** With `all`, bytes of connections without another step are told, too. */
function flush(state: State, all: boolean): void {
  clearTimeout(state.soon);
  state.soon = undefined;
  if (all) {
    clearTimeout(state.later);
    state.later = undefined;
  }
  const { deps } = state;
  const { open } = deps.relay().stats();
  const traffic: Traffic = {
    open,
    turnedAway: deps.turnedAway(),
    meters: metersOf(state),
    strangers: strangersOf(state),
    news: newsOf(state, all),
    ingress: deps.accounts().flatMap((account) => ingressOf(state, account) ?? []),
    log: state.lines.splice(0),
  };
  const isNew = open !== state.open || Object.values(traffic).some((one) => isFull(one));
  state.open = open;
  if (isNew) deps.send({ kind: "traffic", ...traffic });
  // The end of a client without an endpoint, or of a failed connection, starts
  // no report. So look again later.
  if (open > 0 || state.watched.size > 0) later(state);
}

const isFull = (value: unknown): boolean =>
  Array.isArray(value) ? value.length > 0 : typeof value === "object";

function metersOf({ watched, known, deps }: State): [string, Meter][] {
  const changes: [string, Meter][] = [];
  for (const [key, meter] of watched) {
    const told = known.get(meter) ?? createMeter();
    if (!isSame(meter, told)) {
      const change = changeOf(told, meter);
      if (meter.lastError === told.lastError && change.errors + change.refused === 0)
        change.lastError = "";
      known.set(meter, copyOf(meter));
      changes.push([key, change]);
    } else if (meter.active === 0) {
      watched.delete(key);
      // The endpoint may have another door, with another meter, by now.
      const current = deps.relay().meter(key);
      if (current !== undefined && current !== meter) watched.set(key, current);
    }
  }
  return changes;
}

/** Without making anything: there may be thousands. */
const isSame = (a: Meter, b: Meter): boolean =>
  a.active === b.active &&
  a.total === b.total &&
  a.bytesUp === b.bytesUp &&
  a.bytesDown === b.bytesDown &&
  a.refused === b.refused &&
  a.errors === b.errors;

function strangersOf(state: State): Meter | undefined {
  const { strangers } = state.deps.relay().stats();
  const change = changeOf(state.strangers, strangers);
  if (isNothing(change)) return undefined;
  state.strangers = copyOf(strangers);
  return change;
}

function newsOf({ fresh, moved }: State, all: boolean): News[] {
  const news = [...fresh].map(([trace, draft]) => newsText(trace, draft));
  for (const trace of fresh.keys()) moved.delete(trace);
  fresh.clear();
  if (all) {
    for (const trace of moved) news.push(newsText(trace, { isNew: false, notices: [] }));
    moved.clear();
  }
  return news;
}

function newsText(trace: Trace, { isNew, notices }: Draft): News {
  const { id, from, connected, ready, upgraded, firstUp, firstDown, bytesUp, bytesDown } = trace;
  const { account, endpoint, client, uid, accepted, acceptedAt } = trace;
  const { ended: at, ending, detail } = trace;
  return {
    id,
    from,
    connected,
    ready,
    upgraded,
    firstUp,
    firstDown,
    bytesUp,
    bytesDown,
    notices,
    begun: isNew ? { account, endpoint, client, uid, accepted, acceptedAt } : undefined,
    end: at === undefined || ending === undefined ? undefined : { at, ending, detail },
  };
}

function ingressOf({ deps, told }: State, account: string): IngressNews | undefined {
  const { ingress: stats } = deps.relay().stats(account);
  const error = deps.relay().trouble(account);
  const trouble = isNgrokdError(error)
    ? { code: error.code, message: error.message, hint: error.hint }
    : undefined;
  const text = JSON.stringify([stats, trouble]);
  if (text === told.get(account)) return undefined;
  told.set(account, text);
  return { account, stats, trouble };
}
