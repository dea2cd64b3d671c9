import { setTimeout as sleep } from "node:timers/promises";
import type { Event } from "../desk/history-schemas.ts";
import { isNgrokdError, reasonOf } from "../model/error.ts";
import { aborted, type Io } from "./command.ts";
import { type DaemonArgs, daemonAt } from "./daemon-socket.ts";

export interface FollowOptions {
  readonly host?: string | undefined;
  readonly kinds?: string | undefined;
  /** Begin after this event; without it, with what comes from now on. */
  readonly after: string;
}

/** Seconds that one question may wait. */
const wait = 20;
const retryMs = 1000;

/**
 * Calls `show` for each event until `io.stop` aborts. If the daemon ends, it
 * waits for the next one. Rejects with the errors of {@link daemonAt} if the
 * first question fails.
 */
export async function follow(
  { after, host, kinds }: FollowOptions,
  args: DaemonArgs,
  io: Io,
  show: (event: Event) => void,
): Promise<void> {
  const callDaemon = daemonAt(args, io);
  const ask = createPatience(io, aborted(io.stop));
  for (let at = after; ; ) {
    const reply = await ask(() =>
      callDaemon("events", { host, kinds, after: at, limit: 1000, wait }),
    );
    if (reply === undefined) return;
    at = reply.next;
    for (const event of reply.events) show(event);
  }
}

/**
 * Returns a function that asks until the daemon answers. If the daemon has
 * ended, it waits for the next one. It returns undefined once `stopped`, the
 * promise of `io.stop`, has settled.
 */
export function createPatience({ stop, say }: Pick<Io, "stop" | "say">, stopped: Promise<void>) {
  return async <T>(ask: () => Promise<T>): Promise<T | undefined> => {
    for (let isLost = false; !stop.aborted; isLost = true) {
      const asked = ask().catch((error: unknown) => {
        if (isNgrokdError(error) && passing.includes(error.code)) return error;
        throw error;
      });
      const reply = await Promise.race([asked, stopped]);
      if (!(reply instanceof Error)) return reply ?? undefined;
      if (!isLost) say.warn(`${reasonOf(reply)}; waiting for it`);
      await Promise.race([sleep(retryMs), stopped]);
    }
    return undefined;
  };
}

/** Of a daemon that starts again, or is very busy. */
const passing: readonly string[] = ["not-running", "timeout", "aborted"];
