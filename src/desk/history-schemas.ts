import * as z from "zod/mini";
import { endpointStates } from "../model/state.ts";

/*
 * The shapes of what the daemon remembers: connections, traffic and events.
 * Users' programs read them too (docs/api.md), so a field is only ever added.
 */

/** Milliseconds since the accept; null if the step was not reached. */
const step = z.nullable(z.number());

/** See src/history/trace.ts; a later daemon may send more. */
const ending = z.string();

export const connectionSchema = z.object({
  /** Counts from 1 since the start of the daemon. */
  id: z.number(),
  /** `host:port` of its endpoint. */
  endpoint: z.string(),
  profile: z.string(),
  /** `address:port` of the client. */
  client: z.string(),
  /** The client's user, if the system was asked. */
  user: z.nullable(z.object({ uid: z.number(), name: z.string() })),
  state: z.enum(["opening", "open", "ended"]),
  /** RFC 3339. */
  accepted: z.string(),
  /**
   * The connection to the ingress came from the pool, or was dialled; null
   * before it is there.
   */
  from: z.nullable(z.enum(["pool", "dial"])),
  /**
   * `connected`: TCP reaches the ingress, and TLS begins (null for the pool,
   * and if the runtime does not report it). `ready`: TLS is done, or the pool
   * had a connection. `upgraded`: the ingress has accepted.
   */
  timeline_ms: z.object({
    connected: step,
    ready: step,
    upgraded: step,
    first_up: step,
    first_down: step,
    ended: step,
  }),
  bytes: z.object({ up: z.number(), down: z.number() }),
  /** Null while it is open. `reason` is a sentence, empty for a usual end. */
  end: z.nullable(z.object({ kind: ending, reason: z.string() })),
});
export type Connection = z.infer<typeof connectionSchema>;

export const connectionsSchema = z.object({
  /** Open now, in all. */
  open: z.number(),
  /** Ended and still remembered, in all. */
  ended: z.number(),
  /** The newest first. */
  connections: z.array(connectionSchema),
});
export type Connections = z.infer<typeof connectionsSchema>;

const numbers = z.array(z.number());
const latencies = z.array(z.nullable(z.number()));

/** A value for each slot, the oldest first. */
const columnsSchema = z.object({
  /** Bytes. */
  up: numbers,
  down: numbers,
  /** Connections. `failed` never opened; `active` were open at the end. */
  opened: numbers,
  ended: numbers,
  failed: numbers,
  active: numbers,
});
export type Columns = z.infer<typeof columnsSchema>;

const quantilesSchema = z.object({ p50: latencies, p90: latencies, p99: latencies });
export type Quantiles = z.infer<typeof quantilesSchema>;

export const trafficSchema = z.object({
  /** RFC 3339: the end of the last slot, which is the last full second. */
  to: z.string(),
  /** Seconds of a slot. */
  step: z.number(),
  slots: z.number(),
  /** Slots before this number may lack traffic, since memory is bounded. */
  complete_from: z.number(),
  /** Of all endpoints, or of the one that was asked for. */
  total: columnsSchema,
  /**
   * Milliseconds, of the remembered connections that were accepted in a slot;
   * null without any. `upgrade` and `first_byte` are as in a list.
   */
  latency_ms: z.object({ upgrade: quantilesSchema, first_byte: quantilesSchema }),
  /** By `host:port`, those with traffic; empty unless asked for. */
  endpoints: z.record(z.string(), columnsSchema),
});
export type Traffic = z.infer<typeof trafficSchema>;

const common = {
  /** `RUN-NUMBER`; a reader goes on with it, as Last-Event-ID or `after`. */
  id: z.string(),
  /** RFC 3339. */
  at: z.string(),
};
const kindOf = <K extends string>(kind: K) => z.literal(kind);

const endpointFields = {
  profile: z.string(),
  /** `host:port`; empty if the URL cannot be used. */
  endpoint: z.string(),
  url: z.string(),
  ip: z.string(),
  state: z.enum(endpointStates),
  reason: z.string(),
  warning: z.string(),
};

export const eventSchema = z.discriminatedUnion("kind", [
  /** It is served now, or still is with another address or warning. */
  z.object({ ...common, kind: kindOf("endpoint.raised"), ...endpointFields }),
  /** It is not served; `state` may also be `paused`. */
  z.object({ ...common, kind: kindOf("endpoint.failed"), ...endpointFields }),
  z.object({ ...common, kind: kindOf("endpoint.gone"), ...endpointFields }),
  /** The ingress has accepted it. */
  z.object({ ...common, kind: kindOf("connection.opened"), connection: connectionSchema }),
  /** Also of one that never opened. */
  z.object({ ...common, kind: kindOf("connection.ended"), connection: connectionSchema }),
  z.object({
    ...common,
    kind: kindOf("poll"),
    profile: z.string(),
    ok: z.boolean(),
    took_ms: z.number(),
    reason: z.string(),
    hint: z.string(),
    endpoints: z.number(),
  }),
  z.object({
    ...common,
    kind: kindOf("certificate"),
    profile: z.string(),
    not_after: z.string(),
    fingerprint: z.string(),
    /** Why its renewal failed; empty for a new certificate. */
    reason: z.string(),
  }),
  /** The ingress said something new with its response for an endpoint. */
  z.object({
    ...common,
    kind: kindOf("notice"),
    profile: z.string(),
    endpoint: z.string(),
    text: z.string(),
  }),
  /** `over`: it no longer holds. */
  z.object({ ...common, kind: kindOf("warning"), text: z.string(), over: z.boolean() }),
  /** Of the daemon, as in a status. */
  z.object({
    ...common,
    kind: kindOf("phase"),
    phase: z.string(),
    reason: z.string(),
    hint: z.string(),
  }),
  /**
   * Events before the next one are lost: the reader was too slow, or the daemon
   * has started again (`lost` is null).
   */
  z.object({ ...common, kind: kindOf("gap"), lost: z.nullable(z.number()) }),
]);
export type Event = z.infer<typeof eventSchema>;
export type EventKind = Event["kind"];

export const eventKinds = [
  "endpoint.raised",
  "endpoint.failed",
  "endpoint.gone",
  "connection.opened",
  "connection.ended",
  "poll",
  "certificate",
  "notice",
  "warning",
  "phase",
  "gap",
] as const satisfies readonly EventKind[];

export const eventsSchema = z.object({
  /** The oldest first. */
  events: z.array(eventSchema),
  /** Pass it as `after` to go on. */
  next: z.string(),
});
export type Events = z.infer<typeof eventsSchema>;

export const linkSchema = z.object({
  /** Works once. */
  url: z.string(),
  expires_seconds: z.number(),
  /** Whether its session may change something. */
  write: z.boolean(),
});
export type Link = z.infer<typeof linkSchema>;
