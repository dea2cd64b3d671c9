import { isNgrokdError, NgrokdError } from "./error.ts";

const firstMs = 1000;
const longestMs = 5 * 60_000;
/** A server that asks for more is not believed. */
const longestAskedMs = 60 * 60_000;
/** Where ngrok asks to slow down and does not say for how long. */
const politeMs = 10_000;
/** Never at once, however the dice fall. */
const leastMs = 100;
/** {@link retryDelay} is never longer. */
export const longestDelayMs = longestAskedMs + longestMs;

/**
 * Pure: milliseconds until something that has failed `failures` times in a row
 * (1 or more) is tried again. `random` is 0 to 1. Full jitter, that is anything
 * up to a limit that doubles from 1 s to 5 min, so that many daemons do not
 * return together. Where ngrok names a time (Retry-After), that time and the
 * jitter on top; a rate limit without one, 10 s and the jitter. A key that is
 * refused twice in a row does not mend itself: 4 to 5 min from then on, and a
 * new key does not wait for it.
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
