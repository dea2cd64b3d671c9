/** Milliseconds; patience that is learned is never less. */
export const leastPatienceMs = 2000;

/**
 * An ingress that restarts, or a connection that breaks, looks like an ingress
 * with a short idle time. So if a connection was ready for all of the learned
 * time, the next may be ready for this much longer.
 */
const relaxing = 1.25;

/**
 * How long an ingress lets a ready connection wait, as far as its hang-ups have
 * taught it. Times are milliseconds of the pool's clock.
 */
export interface Patience {
  /** Infinity before the first hang-up. */
  readonly learnedMs: number;
  readonly learnedAt: number;
}

export const unlimited: Patience = { learnedMs: Number.POSITIVE_INFINITY, learnedAt: 0 };

/** Pure: how long a connection is kept ready; `idleTimeoutMs` at most. */
export const keptMs = ({ learnedMs }: Patience, idleTimeoutMs: number): number =>
  Math.max(leastPatienceMs, Math.min(idleTimeoutMs, learnedMs));

/** Pure: the ingress has closed a connection that was ready for `ageMs`. */
export const afterHangUp = ({ learnedMs }: Patience, ageMs: number, now: number): Patience => ({
  learnedMs: Math.min(learnedMs, Math.max(leastPatienceMs, ageMs * 0.8)),
  learnedAt: now,
});

/** Pure: a connection made after the latest hang-up has reached its time. */
export const afterPatience = ({ learnedMs }: Patience, now: number): Patience => ({
  learnedMs: Math.max(leastPatienceMs, learnedMs) * relaxing,
  learnedAt: now,
});
