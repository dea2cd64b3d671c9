import { reasonOf } from "../model/error.ts";
import type { Log } from "../model/log.ts";
import type { Order, Report } from "./messages.ts";
import type { WorkerProcess } from "./process.ts";

/** An order that is answered, without its number. */
export type Work = Unnumbered<Extract<Order, { readonly number: number }>>;
type Unnumbered<T> = T extends unknown ? Omit<T, "number"> : never;

/** One place for a worker process: if one ends, the next one is started. */
export interface Member {
  /** From 1. */
  readonly number: number;
  /** 0 while there is none. */
  readonly pid: number;
  /** How often a process has ended unexpectedly. */
  readonly restarts: number;
  /** For a worker that is ready; the next one gets all of it anyway. */
  tell(order: Order): void;
  /** Settles when it is done, or when the worker has ended. Never rejects. */
  work(order: Work, descriptors?: readonly number[]): Promise<void>;
  /** Settles when the present worker knows everything, or after `ms`. */
  settled(ms: number): Promise<void>;
  /** No process is started after this one. */
  finish(): void;
  /** Settles when there is no process any more. */
  readonly gone: Promise<void>;
  kill(): void;
}

export interface MemberDeps {
  readonly number: number;
  readonly start: (heard: (report: Report) => void) => WorkerProcess;
  /** Tells a new worker everything. */
  readonly teach: (member: Member) => Promise<void>;
  /** `offset` leads from the worker's clock to ours. */
  readonly heard: (report: Report, offset: number) => void;
  /** A process has ended, and its connections with it. */
  readonly lost: () => void;
  readonly log: Log;
  readonly patienceMs?: number;
}

type State =
  | { readonly kind: "waiting" }
  | { readonly kind: "starting"; readonly process: WorkerProcess }
  | { readonly kind: "ready"; readonly process: WorkerProcess; readonly offset: number }
  | { readonly kind: "over" };

/** A worker that lived for less is started again only after a pause. */
const shortLifeMs = 10_000;
const pauseMs = 1000;
/** A worker that does not answer twice as long is of no use. */
const watchMs = 15_000;

export function createMember(deps: MemberDeps): Member {
  const place: Place = {
    ...deps,
    gone: Promise.withResolvers(),
    answers: new Map(),
    state: { kind: "waiting" },
    taught: Promise.withResolvers(),
    isLast: false,
    count: 0,
    restarts: 0,
    work: (...words) => order(place, ...words),
  };
  const member: Member = {
    number: deps.number,
    get pid() {
      return processIn(place)?.pid ?? 0;
    },
    get restarts() {
      return place.restarts;
    },
    tell(one) {
      if (place.state.kind === "ready") place.state.process.send(one);
    },
    work: place.work,
    async settled(ms) {
      if (place.state.kind === "over") return;
      const patience = Promise.withResolvers<void>();
      const timer = setTimeout(patience.resolve, ms);
      await Promise.race([place.taught.promise, place.gone.promise, patience.promise]);
      clearTimeout(timer);
    },
    finish() {
      place.isLast = true;
      if (place.state.kind === "waiting") end(place);
    },
    gone: place.gone.promise,
    kill: () => processIn(place)?.kill(),
  };
  // The caller has the member by then.
  queueMicrotask(() => begin(place, member));
  return member;
}

interface Place extends MemberDeps, Pick<Member, "work"> {
  readonly gone: PromiseWithResolvers<void>;
  /** Called when the order of this number is done. */
  readonly answers: Map<number, () => void>;
  state: State;
  /** The present worker, or the next one, knows everything. */
  taught: PromiseWithResolvers<void>;
  /** Whether no process is started after this one. */
  isLast: boolean;
  /** Orders with a number. */
  count: number;
  restarts: number;
}

const processIn = ({ state }: Place): WorkerProcess | undefined =>
  "process" in state ? state.process : undefined;

async function order(place: Place, ...[work, descriptors]: Parameters<Member["work"]>) {
  if (place.state.kind !== "ready") return;
  place.count += 1;
  const answer = Promise.withResolvers<void>();
  place.answers.set(place.count, answer.resolve);
  place.state.process.send({ ...work, number: place.count } as Order, descriptors);
  await answer.promise;
}

function begin(place: Place, member: Member): void {
  if (place.isLast) {
    end(place);
    return;
  }
  const began = performance.now();
  const ended = (how: string): void => lose(place, member, how, performance.now() - began);
  try {
    const process = place.start((report) => hear(place, member, process, report));
    place.state = { kind: "starting", process };
    void process.ended.then(ended);
  } catch (error) {
    ended(`at once: ${reasonOf(error)}`);
  }
}

function hear(place: Place, member: Member, process: WorkerProcess, report: Report): void {
  const { answers, log, number, state } = place;
  switch (report.kind) {
    case "ready":
      if (place.isLast) process.kill();
      else greet(place, member, process, report.now);
      return;
    case "done":
      answers.get(report.number)?.();
      answers.delete(report.number);
      for (const reason of report.failures) log.warn(`Worker ${number}: ${reason}`);
      return;
    default:
      if (state.kind === "ready") place.heard(report, state.offset);
  }
}

function greet(place: Place, member: Member, process: WorkerProcess, now: number): void {
  const { resolve } = place.taught;
  place.state = { kind: "ready", process, offset: performance.now() - now };
  void place.teach(member).then(resolve);
  watch(place, process, false);
}

function lose(place: Place, member: Member, how: string, livedMs: number): void {
  const { answers, log, number } = place;
  place.state = { kind: "waiting" };
  place.taught = Promise.withResolvers();
  for (const answer of answers.values()) answer();
  answers.clear();
  place.lost();
  if (place.isLast) {
    end(place);
    return;
  }
  place.restarts += 1;
  const waitMs = livedMs < shortLifeMs ? pauseMs : 0;
  log.error(`Worker ${number} has ended ${how}, and its connections with it`, {
    hint: `the next one starts ${waitMs === 0 ? "at once" : `in ${waitMs / 1000} s`}`,
  });
  setTimeout(() => begin(place, member), waitMs);
}

function end(place: Place): void {
  place.state = { kind: "over" };
  place.gone.resolve();
}

/** The kernel gives clients to a worker that hangs, too. */
function watch(place: Place, process: WorkerProcess, isLate: boolean): void {
  const { log, number, patienceMs = watchMs } = place;
  const isSame = (): boolean => place.state.kind === "ready" && place.state.process === process;
  if (!isSame()) return;
  let isAnswered = false;
  void place.work({ kind: "ping" }).then(() => {
    isAnswered = true;
  });
  const timer = setTimeout(() => {
    if (!isSame()) return;
    if (isAnswered || !isLate) {
      watch(place, process, !isAnswered);
      return;
    }
    log.error(`Worker ${number} does not answer; it is ended`);
    process.kill();
  }, patienceMs);
  timer.unref?.();
}
