/**
 * How often the hosts section has lately been put back after another program
 * took it out or changed it. Two programs that correct each other for ever wear
 * out a disk and help nobody, so the one that knows of it gives way, for longer
 * each time.
 */
export interface Contest {
  /**
   * When the section was put back within the last minute, in milliseconds of a
   * monotonic clock.
   */
  readonly repairs: readonly number[];
  /** How long the present wait is; 0 where there is none. */
  readonly waitMs: number;
  /** The section is left as it is until then. */
  readonly until: number;
}

export const noContest: Contest = { repairs: [], waitMs: 0, until: Number.NEGATIVE_INFINITY };

const minuteMs = 60_000;
const longestWaitMs = 60 * minuteMs;
/** The third repair within a minute is the last for now. */
const enough = 3;

/**
 * Pure: after the section has been put back once more. The third time in a
 * minute, and every time right after a wait, it waits (twice as long).
 */
export function afterRepair({ repairs, waitMs, until }: Contest, now: number): Contest {
  const recent = [...repairs, now].filter((at) => at > now - minuteMs);
  // Whoever undid the repair that followed a wait has not given up; a peace as
  // long as the wait forgives.
  const goesOn = waitMs > 0 && now - until < Math.max(waitMs, minuteMs);
  if (!goesOn && recent.length < enough)
    return { repairs: recent, waitMs: 0, until: noContest.until };
  const next = goesOn ? Math.min(2 * waitMs, longestWaitMs) : minuteMs;
  return { repairs: [], waitMs: next, until: now + next };
}

export const mayRepair = ({ until }: Contest, now: number): boolean => now >= until;
