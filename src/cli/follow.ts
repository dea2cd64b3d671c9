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
  const { stop } = io;
  const stopped = aborted(stop);
  const callDaemon = daemonAt(args, io);
  let at = after;
  let isLost = false;
  while (!stop.aborted) {
    const asked = callDaemon("events", { host, kinds, after: at, limit: 1000, wait });
    const reply = await Promise.race([
      asked.catch((error: unknown) => {
        if (isNgrokdError(error) && passing.includes(error.code)) return error;
        throw error;
      }),
      stopped,
    ]);
    if (reply === undefined) return;
    if (reply instanceof Error) {
      if (!isLost) io.say.warn(`${reasonOf(reply)}; waiting for it`);
      isLost = true;
      await Promise.race([sleep(retryMs), stopped]);
      continue;
    }
    isLost = false;
    at = reply.next;
    for (const event of reply.events) show(event);
  }
}

/** Of a daemon that starts again, or is very busy. */
const passing: readonly string[] = ["not-running", "timeout", "aborted"];
