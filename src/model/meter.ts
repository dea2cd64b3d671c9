import { createHistogram, type Histogram } from "./histogram.ts";

/**
 * What kept a connection from ending well: `dial`, no connection to the
 * ingress; `tls`, no trust between it and us; `header`, no sense in its answer;
 * `timeout`, a deadline of ours; `reset`, one of the two ends broke it off;
 * `limit`, there were too many.
 */
export const errorKinds = ["dial", "tls", "header", "timeout", "reset", "limit"] as const;
export type ErrorKind = (typeof errorKinds)[number];

/**
 * What one binding has carried since it was raised. Counters only grow,
 * `active` goes back to zero.
 */
export interface Meter {
  active: number;
  /** Every connection that came, those that were reset at once included. */
  total: number;
  /** Client to endpoint, bytes. */
  bytesUp: number;
  /** Endpoint to client, bytes. */
  bytesDown: number;
  /** Connections that the ingress said no to. */
  refused: number;
  /** The same by ngrok's error code; what is no such code counts as `other`. */
  readonly refusedBy: Record<string, number>;
  /** Connections that ended by a failure. */
  errors: number;
  readonly errorsBy: Record<ErrorKind, number>;
  /** From accept to the ingress's yes. */
  readonly upgrade: Histogram;
  /**
   * From the yes, or the client's first byte where that came before any of the
   * endpoint's, to the endpoint's first byte.
   */
  readonly firstByte: Histogram;
  /** Milliseconds since the epoch, 0 before the first connection. */
  lastActivity: number;
  /**
   * The latest refusal or failure before a byte was carried; empty once a later
   * connection works.
   */
  lastError: string;
}

export const createMeter = (): Meter => ({
  active: 0,
  total: 0,
  bytesUp: 0,
  bytesDown: 0,
  refused: 0,
  refusedBy: {},
  errors: 0,
  errorsBy: { dial: 0, tls: 0, header: 0, timeout: 0, reset: 0, limit: 0 },
  upgrade: createHistogram(),
  firstByte: createHistogram(),
  lastActivity: 0,
  lastError: "",
});

export function countError(meter: Meter, kind: ErrorKind): void {
  meter.errors += 1;
  meter.errorsBy[kind] += 1;
}

/**
 * `code` comes from outside: only what looks like one of ngrok's gets a counter
 * of its own.
 */
export function countRefusal(meter: Meter, code: string): void {
  const name = /^ERR_NGROK_\d{1,5}$/.test(code) ? code : "other";
  meter.refused += 1;
  meter.refusedBy[name] = (meter.refusedBy[name] ?? 0) + 1;
}
