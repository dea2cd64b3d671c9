import { clearInterval, setInterval } from "node:timers";

/** A silence that lasted too long. */
export interface Silence {
  /** Whether one side had finished sending. */
  readonly halfClosed: boolean;
  /** The limit in milliseconds; the silence lasted up to a tick more. */
  readonly limitMs: number;
}

/**
 * The view of a connection for the watch. It is the connection's own object, so
 * that thousands need no second one.
 */
export interface Pulse {
  /** Set it with every chunk: that is cheaper than reading a clock. */
  moved: boolean;
  /** The fields from here on are the watch's. */
  halfClosed: boolean;
  limitMs: number;
  quietMs: number;
  /** Called once, when the connection has been silent for too long. */
  tooQuiet(silence: Silence): void;
}

export interface QuietWatch {
  /** Watches `pulse` from now on. */
  begin(pulse: Pulse): void;
  /** One side has finished sending: that limit counts too. */
  halfClosed(pulse: Pulse): void;
  end(pulse: Pulse): void;
}

/**
 * The limits are read when they begin to count for a connection. A later change
 * leaves those that count already.
 */
export interface QuietOptions {
  /**
   * How long nothing may move in either direction, in milliseconds; 0: no
   * limit.
   */
  readonly idleMs: number;
  /** The same once one side has finished sending. */
  readonly halfClosedMs: number;
  /** The time between two checks, in milliseconds; it is also the precision. */
  readonly tickMs?: number;
}

/**
 * Ends connections on which nothing moves. One timer checks all of them, and
 * runs only while a limit applies: a chunk costs only a mark. Time is counted
 * in ticks, so a machine that wakes from sleep does not end every connection.
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

/** Ends no connection. */
export const patient: QuietWatch = createQuietWatch({ idleMs: 0, halfClosedMs: 0 });
