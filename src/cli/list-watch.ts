import { setTimeout as sleep } from "node:timers/promises";
import type { ListItem, Status } from "../desk/reply-schemas.ts";
import { reasonOf } from "../model/error.ts";
import { type Moment, moment } from "../model/moment.ts";
import { type WatchedEndpoint, watchText, withRates } from "../terminal/watch-text.ts";
import { aborted, type Io } from "./command.ts";
import { daemonAt, type ProfileArgs } from "./daemon-socket.ts";

/**
 * `ngrokd list --watch`: shows the daemon's endpoints every second until
 * `io.stop` aborts. On a terminal, it waits if a daemon stops responding.
 * Elsewhere it rejects with the errors of {@link daemonAt}.
 */
export async function watch(args: ProfileArgs, io: Io, everyMs = 1000): Promise<void> {
  const { say, stop } = io;
  const live = say.live();
  const stopped = aborted(stop);
  let last: { at: Moment; status: Status; items: readonly WatchedEndpoint[] } | undefined;
  try {
    while (!stop.aborted) {
      try {
        const answer = await Promise.race([look(args, io), stopped]);
        if (answer === undefined) return;
        const at = moment();
        const items = withRates(answer.items, at, last);
        const picture = { at, status: answer.status, items };
        live.show(items, (size) => watchText(picture, say.paint, size));
        last = picture;
      } catch (error) {
        if (last === undefined || !live.inPlace) throw error;
        const stale = { ...last, at: moment(), trouble: reasonOf(error) };
        live.show(stale.items, (size) => watchText(stale, say.paint, size));
      }
      await Promise.race([sleep(everyMs), stopped]);
    }
  } finally {
    live.end();
  }
}

async function look(args: ProfileArgs, io: Io): Promise<{ items: ListItem[]; status: Status }> {
  const callDaemon = daemonAt(args, io);
  const input = { profile: args.profile };
  const items = await callDaemon("list", input);
  return { items, status: await callDaemon("status", input) };
}
