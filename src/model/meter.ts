import { createHistogram, type Histogram, noDurations, record } from "./histogram.ts";

/**
 * The kind of failure of a connection. `dial`: no connection to the ingress.
 * `tls`: the TLS handshake with it failed. `header`: its answer is not valid.
 * `timeout`: a deadline of the daemon passed. `reset`: one of the two ends
 * reset the connection. `cut`: the ingress's stream ended without TLS's own
 * end. `limit`: there were too many connections. `misdirected`: it named a host
 * that is not served there. `access`: the client may not connect
 * (`access.rules`).
 */
export const errorKinds = [
  "dial",
  "tls",
  "header",
  "timeout",
  "reset",
  "cut",
  "limit",
  "misdirected",
  "access",
] as const;
export type ErrorKind = (typeof errorKinds)[number];

/**
 * The traffic of one binding since its listener was opened. Counters only grow;
 * `active` returns to zero. Thousands of endpoints have had no traffic, so a
 * new meter is one object, and shares all that is empty.
 */
export interface Meter {
  active: number;
  /** All connections, including those that were reset at once. */
  total: number;
  /** Client to endpoint, bytes. */
  bytesUp: number;
  /** Endpoint to client, bytes. */
  bytesDown: number;
  /** Connections that the ingress refused. */
  refused: number;
  /** The same by ngrok's error code; any other text counts as `other`. */
  refusedBy: Readonly<Record<string, number>>;
  /** Connections that ended with a failure. */
  errors: number;
  errorsBy: Readonly<Record<ErrorKind, number>>;
  /** From accept to the upgrade by the ingress; see {@link time}. */
  upgrade: Histogram;
  /**
   * Until the first byte of the endpoint. It begins at the upgrade, or at the
   * client's first byte if that came before any byte of the endpoint.
   */
  firstByte: Histogram;
  /** Milliseconds since the epoch, 0 before the first connection. */
  lastActivity: number;
  /**
   * The latest refusal, or failure before the first byte. Empty again once a
   * later connection works.
   */
  lastError: string;
  /** What the ingress said with its latest response; usually empty. */
  lastNotice: string;
}

export const createMeter = (): Meter => ({
  active: 0,
  total: 0,
  bytesUp: 0,
  bytesDown: 0,
  refused: 0,
  refusedBy: noRefusals,
  errors: 0,
  errorsBy: noErrors,
  upgrade: noDurations,
  firstByte: noDurations,
  lastActivity: 0,
  lastError: "",
  lastNotice: "",
});

const noRefusals: Meter["refusedBy"] = {};

/** Zero for each kind. */
export const noErrors = Object.freeze(
  Object.fromEntries(errorKinds.map((kind) => [kind, 0])),
) as Meter["errorsBy"];

/** Records a duration, in seconds. */
export function time(meter: Meter, what: "upgrade" | "firstByte", seconds: number): void {
  if (meter[what] === noDurations) meter[what] = createHistogram();
  record(meter[what], seconds);
}

/** Pure: the sum of two counts by kind. */
export function sumOfErrors(a: Meter["errorsBy"], b: Meter["errorsBy"]): Meter["errorsBy"] {
  const sum = { ...a };
  for (const kind of errorKinds) sum[kind] += b[kind];
  return sum;
}

/** Adds the counters of connections that have ended. */
export function addCounts(sum: Meter, meter: Meter): void {
  sum.total += meter.total;
  sum.bytesUp += meter.bytesUp;
  sum.bytesDown += meter.bytesDown;
  sum.refused += meter.refused;
  sum.errors += meter.errors;
  sum.errorsBy = sumOfErrors(sum.errorsBy, meter.errorsBy);
}

export function countError(meter: Meter, kind: ErrorKind): void {
  meter.errors += 1;
  meter.errorsBy = { ...meter.errorsBy, [kind]: meter.errorsBy[kind] + 1 };
}

/**
 * Counts a refusal. `code` comes from outside, so only a code in the form of
 * ngrok's codes gets its own counter.
 */
export function countRefusal(meter: Meter, code: string): void {
  const name = /^ERR_NGROK_\d{1,5}$/.test(code) ? code : "other";
  meter.refused += 1;
  meter.refusedBy = { ...meter.refusedBy, [name]: (meter.refusedBy[name] ?? 0) + 1 };
}
