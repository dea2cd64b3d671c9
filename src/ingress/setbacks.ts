import type { NgrokdError } from "../model/error.ts";

/** Milliseconds: the rest after the first setback, and the longest one. */
const [firstRestMs, longestRestMs] = [500, 30_000];

/** The failures of the pool's connections in a row. */
export interface Setbacks {
  /** Dials that failed. */
  readonly failures: number;
  /** Ready connections that the ingress closed at once. */
  readonly hangUps: number;
  /** The failure of the latest of those; undefined if it was closed. */
  readonly hungUpBy: NgrokdError | undefined;
  /** No dial before this time of the pool's clock, in milliseconds. */
  readonly restUntil: number;
}

export const noSetbacks: Setbacks = {
  failures: 0,
  hangUps: 0,
  hungUpBy: undefined,
  restUntil: 0,
};

/** Pure: a dial has failed. `random` is 0 to 1. */
export function afterFailedDial(before: Setbacks, now: number, random: number): Setbacks {
  const failures = before.failures + 1;
  return { ...before, failures, restUntil: now + restMs(failures, random) };
}

/**
 * Pure: the ingress has closed a ready connection at once. That counts like a
 * failed dial. `random` is 0 to 1.
 */
export function afterHangUpAtOnce(
  before: Setbacks,
  error: NgrokdError | undefined,
  now: number,
  random: number,
): Setbacks {
  const hangUps = before.hangUps + 1;
  return { ...before, hangUps, hungUpBy: error, restUntil: now + restMs(hangUps, random) };
}

/** Doubles with each setback, less up to a half by chance. */
function restMs(setbacks: number, random: number): number {
  const ms = Math.min(longestRestMs, firstRestMs * 2 ** Math.min(setbacks - 1, 10));
  return ms * (1 - random / 2);
}
