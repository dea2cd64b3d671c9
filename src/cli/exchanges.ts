import { setTimeout as sleep } from "node:timers/promises";
import type { Exchanges, ReplayReport } from "../desk/exchange-schemas.ts";
import { exchangeLine } from "../terminal/exchange-text.ts";
import { bytesText } from "../terminal/say.ts";
import { aborted, type Io } from "./command.ts";
import { type DaemonArgs, daemonAt } from "./daemon-socket.ts";
import { createPatience } from "./follow.ts";

const everyMs = 500;

/**
 * Prints each exchange that ends from now on, until `io.stop` aborts. If the
 * daemon ends, it waits for the next one. Rejects with the errors of
 * {@link daemonAt} if the first question fails.
 */
export async function followExchanges(
  host: string | undefined,
  args: DaemonArgs,
  io: Io,
): Promise<void> {
  const stopped = aborted(io.stop);
  const callDaemon = daemonAt(args, io);
  const first = await callDaemon("exchanges", { host });
  warnIfNothing(first, io);
  const ask = createPatience(io, stopped);
  for (let at = first.next; ; ) {
    const reply = await ask(() => callDaemon("exchanges", { host, after: at }));
    if (reply === undefined) return;
    for (const one of reply.exchanges) io.say.item(one, () => exchangeLine(one, io.say.paint));
    // A new daemon counts from the beginning.
    const isNew = reply.next < at;
    at = isNew ? 0 : reply.next;
    if (!reply.more && !isNew) await Promise.race([sleep(everyMs), stopped]);
  }
}

/** All exchanges that are kept, with their bodies, oldest first. */
export async function allExchanges(
  host: string | undefined,
  args: DaemonArgs,
  io: Io,
): Promise<Exchanges> {
  const callDaemon = daemonAt(args, io);
  const all: Exchanges["exchanges"] = [];
  for (let after = 0; ; ) {
    const page = await callDaemon("exchanges", { host, after, bodies: true });
    all.push(...page.exchanges);
    if (!page.more) return { ...page, exchanges: all };
    after = page.next;
  }
}

export function warnIfNothing({ inspected }: Pick<Exchanges, "inspected">, { say }: Io): void {
  if (inspected.length > 0) return;
  say.warn("no endpoint is inspected; set `inspect.endpoints` in the configuration to choose some");
}

/** Pure. */
export function replayText(report: ReplayReport): string {
  const { id, status, reason, body_bytes, took_ms, without } = report;
  const words = reason === "" ? "" : ` ${reason}`;
  const missing =
    without.length === 0
      ? ""
      : `\nIt was sent without ${without.join(", ")}, whose values were not kept; ` +
        "`inspect.headers` can keep them from now on.";
  return `Request ${id} was sent again: ${status}${words}, ${bytesText(body_bytes)} in ${took_ms} ms.${missing}`;
}
