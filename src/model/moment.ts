/**
 * A moment on both clocks. The wall clock is for people and files: it may be
 * set at any time. Durations are the difference of the steady clock.
 */
export interface Moment {
  readonly wall: Date;
  /** Milliseconds, as of performance.now(). */
  readonly steady: number;
}

export const moment = (): Moment => ({ wall: new Date(), steady: performance.now() });

/** Pure: the moment that is `ms` later. */
export const later = ({ wall, steady }: Moment, ms: number): Moment => ({
  wall: new Date(wall.getTime() + ms),
  steady: steady + ms,
});

/** Pure: milliseconds from `start` to `end`, whatever the wall clock says. */
export const msBetween = (start: Moment, end: Moment): number => end.steady - start.steady;
