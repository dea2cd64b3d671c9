import { isNgrokdError, NgrokdError } from "./error.ts";

const firstMs = 1000;
const longestMs = 5 * 60_000;
/** The limit for Retry-After; a longer time is cut to it. */
const longestAskedMs = 60 * 60_000;
/** For a rate limit without Retry-After. */
const politeMs = 10_000;
/** The shortest delay, whatever `random` is. */
const leastMs = 100;
/** {@link retryDelay} is never longer. */
export const longestDelayMs = longestAskedMs + longestMs;

/**
 * Pure: milliseconds until the next try after `failures` failures in a row (1
 * or more). `random` is 0 to 1. The delay has full jitter: any time up to a
 * limit that doubles from 1 s to 5 min, so that many daemons do not return
 * together. If ngrok names a time (Retry-After), the jitter is added to it. For
 * a rate limit without a time, the jitter is added to 10 s. A key that is
 * refused twice stays wrong, so the delay is then 4 to 5 min. A new key does
 * not wait for it.
 */
export function retryDelay(error: unknown, failures: number, random: number): number {
  const jitter = random * Math.min(longestMs, firstMs * 2 ** Math.min(failures - 1, 20));
  const asked = askedMs(error);
  if (asked !== undefined) return asked + jitter;
  if (isNgrokdError(error, "rate-limited")) return politeMs + jitter;
  if (isNgrokdError(error, "unauthorized") && failures > 1) return longestMs * (1 - random / 5);
  return Math.max(leastMs, jitter);
}

function askedMs(error: unknown): number | undefined {
  const asked = error instanceof NgrokdError ? error.details.retryAfterMs : undefined;
  return typeof asked === "number" && asked >= 0 ? Math.min(asked, longestAskedMs) : undefined;
}
