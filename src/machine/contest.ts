/**
 * The recent repairs of something that another program removed or changed: the
 * hosts section, the interface, the resolver's settings. Two programs that keep
 * correcting each other only wear out the disk, so ngrokd waits, longer each
 * time.
 */
export interface Contest {
  /**
   * The times of the repairs within the last minute, in milliseconds of a
   * monotonic clock.
   */
  readonly repairs: readonly number[];
  /** The length of the present wait; 0 if there is none. */
  readonly waitMs: number;
  /** No repair before this time. */
  readonly until: number;
}

export const noContest: Contest = { repairs: [], waitMs: 0, until: Number.NEGATIVE_INFINITY };

const minuteMs = 60_000;
const longestWaitMs = 60 * minuteMs;
/** The third repair within a minute starts a wait. */
const enough = 3;

/**
 * Pure: the contest after one more repair. The third repair within a minute
 * starts a wait. A repair soon after a wait starts one of twice the length.
 */
export function afterRepair({ repairs, waitMs, until }: Contest, now: number): Contest {
  const recent = [...repairs, now].filter((at) => at > now - minuteMs);
  // The other program undid the repair after a wait, so it has not stopped. If
  // it was quiet for as long as the wait, the contest starts over.
  const goesOn = waitMs > 0 && now - until < Math.max(waitMs, minuteMs);
  if (!goesOn && recent.length < enough)
    return { repairs: recent, waitMs: 0, until: noContest.until };
  const next = goesOn ? Math.min(2 * waitMs, longestWaitMs) : minuteMs;
  return { repairs: [], waitMs: next, until: now + next };
}

export const mayRepair = ({ until }: Contest, now: number): boolean => now >= until;
