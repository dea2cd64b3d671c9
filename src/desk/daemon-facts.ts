import type { Loaded } from "../config/load.ts";
import type { IngressStats } from "../ingress/ingress.ts";
import type { Meter } from "../model/meter.ts";
import type { Moment } from "../model/moment.ts";
import type { State } from "../model/state.ts";
import type { Status } from "./reply-schemas.ts";

/** Whether the process makes progress, and why not. */
export interface Liveness {
  readonly ok: boolean;
  readonly reason: string;
}

/** Facts for status and metrics that are not in the published state. */
export interface DaemonFacts {
  readonly runtime: string;
  /** Where the addresses of the names come from. */
  readonly network: Status["network"];
  readonly ingress: IngressStats;
  /** The connections to shared doors that led to no endpoint. */
  readonly strangers: Meter;
  /** The sums of the endpoints that are gone. */
  readonly departed: Meter;
  /** The most connections at the same time; Infinity if there is no limit. */
  readonly limit: number;
  /** The process's limit of open files; Infinity if it is unknown. */
  readonly fileLimit: number;
  /**
   * Accepted sockets that were closed at once because the limit of open files
   * was near.
   */
  readonly turnedAway: number;
  /** The daemon before this one, as long as it has connections. */
  readonly predecessor?: { readonly pid: number; readonly connections: number } | undefined;
  /** The processes that carry connections, if it is not the daemon itself. */
  readonly workers?: readonly WorkerFacts[] | undefined;
  /** Undefined without `dns.enabled`. */
  readonly dns?: DnsFacts | undefined;
  readonly schedule: {
    /** Failed polls since the last one that succeeded. */
    readonly failures: number;
    /** Undefined during a poll, and if only a kick brings the next. */
    readonly next: Moment | undefined;
  };
  /** Undefined if the last renewal of the certificate succeeded. */
  readonly renewalTrouble:
    | { readonly failures: number; readonly next: Date; readonly reason: string }
    | undefined;
}

/** A worker, with those that were in its place before. */
export interface WorkerFacts {
  /** From 1. */
  readonly number: number;
  /** 0 while the next one starts. */
  readonly pid: number;
  /** Open connections. */
  readonly open: number;
  /** Since the start of the daemon. */
  readonly accepted: number;
  readonly restarts: number;
}

/** The names below wildcards, by DNS. */
export interface DnsFacts {
  /** `host:port` of the server; empty if it does not run. */
  readonly listening: string;
  /** How this machine's resolver is told. */
  readonly way: string;
  readonly zones: readonly string[];
  /** Counters since the server began to listen. */
  readonly questions: number;
  readonly refused: number;
  /** Sentences for the user. */
  readonly warnings: readonly string[];
}

/** For the reply to `status`. */
export interface StatusFacts extends Omit<DaemonFacts, "turnedAway"> {
  readonly loaded: Loaded;
  readonly now?: Moment;
}

/** For /metrics. */
export interface MetricFacts
  extends Omit<DaemonFacts, "departed" | "fileLimit" | "network" | "schedule" | "renewalTrouble"> {
  readonly state: State;
  readonly live: Liveness;
}
