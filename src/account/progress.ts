/**
 * The milliseconds without a reply after which a poll makes the daemon
 * unhealthy. The deadline of every request is far shorter.
 */
const stuckMs = 10 * 60_000;

/**
 * Whether the running poll still makes progress, however many pages it reads.
 */
export interface Progress {
  begin(): void;
  /** ngrok's API has replied to a request, with any status. */
  answered(): void;
  end(): void;
  /** False if a poll hangs: only a restart helps then. */
  live(): { readonly ok: boolean; readonly reason: string };
}

/** `now`: milliseconds of a monotonic clock. */
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
