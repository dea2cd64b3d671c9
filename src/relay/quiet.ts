import { clearInterval, setInterval } from "node:timers";

/** A silence that lasted too long. */
export interface Silence {
  /** Whether one side had finished sending. */
  readonly halfClosed: boolean;
  /** What was allowed; it lasted for up to a tick more. Milliseconds. */
  readonly limitMs: number;
}

/**
 * What a connection shows to the one who looks after it: the connection's own
 * object, so that thousands need no second one.
 */
export interface Pulse {
  /** To be set with every chunk: cheaper than a look at a clock. */
  moved: boolean;
  /** The watch's from here on. */
  halfClosed: boolean;
  limitMs: number;
  quietMs: number;
  /** Called once, when the connection has been silent for too long. */
  tooQuiet(silence: Silence): void;
}

export interface QuietWatch {
  /** From now on `pulse` is looked at. */
  begin(pulse: Pulse): void;
  /** One side has finished sending: the limit for that counts too. */
  halfClosed(pulse: Pulse): void;
  end(pulse: Pulse): void;
}

/**
 * The limits are looked at when they begin to count for a connection, so they
 * may change: those that count already go on.
 */
export interface QuietOptions {
  /**
   * How long nothing may move in either direction, in milliseconds; 0: for
   * ever.
   */
  readonly idleMs: number;
  /** The same once one side has finished sending. */
  readonly halfClosedMs: number;
  /**
   * The time between two looks at the connections, in milliseconds; it is also
   * the precision.
   */
  readonly tickMs?: number;
}

/**
 * Finds connections on which nothing moves. One timer looks at all of them, and
 * runs only while a limit applies to any: a chunk costs nothing but the mark it
 * leaves. Time is counted in looks, so that a machine that slept does not end
 * every connection as it wakes.
 */
export function createQuietWatch(options: QuietOptions): QuietWatch {
  const { tickMs = 1000 } = options;
  const watched = new Set<Pulse>();
  let timer: ReturnType<typeof setInterval> | undefined;

  return {
    begin(pulse) {
      Object.assign(pulse, {
        moved: true,
        halfClosed: false,
        limitMs: orNever(options.idleMs),
        quietMs: 0,
      });
      watch(pulse);
    },
    halfClosed(pulse) {
      pulse.moved = true;
      pulse.halfClosed = true;
      pulse.limitMs = Math.min(pulse.limitMs, orNever(options.halfClosedMs));
      watch(pulse);
    },
    end: forget,
  };

  function watch(pulse: Pulse): void {
    if (pulse.limitMs === Number.POSITIVE_INFINITY) return;
    watched.add(pulse);
    if (timer !== undefined) return;
    timer = setInterval(look, tickMs);
    timer.unref();
  }

  function forget(pulse: Pulse): void {
    watched.delete(pulse);
    if (watched.size > 0) return;
    clearInterval(timer);
    timer = undefined;
  }

  function look(): void {
    for (const pulse of watched) {
      pulse.quietMs = pulse.moved ? 0 : pulse.quietMs + tickMs;
      pulse.moved = false;
      if (pulse.quietMs < pulse.limitMs) continue;
      forget(pulse);
      pulse.tooQuiet({ halfClosed: pulse.halfClosed, limitMs: pulse.limitMs });
    }
  }
}

const orNever = (ms: number): number => (ms === 0 ? Number.POSITIVE_INFINITY : ms);

/** Lets every silence last. */
export const patient: QuietWatch = createQuietWatch({ idleMs: 0, halfClosedMs: 0 });
