/**
 * A poll that gets no answer for so many milliseconds makes the daemon
 * unhealthy: every request has a deadline of its own, far shorter.
 */
const stuckMs = 10 * 60_000;

/**
 * Whether the poll that runs still comes further, however many pages it asks
 * for.
 */
export interface Progress {
  begin(): void;
  /** ngrok's API has answered something. */
  answered(): void;
  end(): void;
  /** False where a poll hangs: nothing but a new start helps then. */
  live(): { readonly ok: boolean; readonly reason: string };
}

/** `now`: milliseconds of a clock that does not jump. */
export function createProgress(now: () => number = () => performance.now()): Progress {
  /** Undefined between polls. */
  let last: number | undefined;
  return {
    begin() {
      last = now();
    },
    answered() {
      if (last !== undefined) last = now();
    },
    end() {
      last = undefined;
    },
    live() {
      const ms = last === undefined ? 0 : now() - last;
      return ms < stuckMs
        ? { ok: true, reason: "" }
        : { ok: false, reason: `a poll has been stuck for ${Math.round(ms / 60_000)} minutes` };
    },
  };
}
