import { setTimeout as sleep } from "node:timers/promises";
import type { FileWatch } from "../config/file-watch.ts";
import type { ControlServer } from "../control/server.ts";
import type { Health } from "../desk/health-life.ts";
import type { Web } from "../web/web.ts";
import type { Parts } from "./parts.ts";
import { relayLimits } from "./relay-settings.ts";

/** How long open connections may take at a stop, in milliseconds. */
export const drainMs = ({ settings }: Parts): number =>
  relayLimits(settings.current.config).drainMs;

/** The activities that a daemon has started. */
export interface Running {
  readonly watch: FileWatch;
  readonly repair: { stop(): Promise<void> };
  readonly control: Pick<ControlServer, "close" | "leave">;
}

/**
 * Undoes the daemon's changes, and returns how many connections were cut: after
 * the drain time, or when `hurry` aborted.
 */
export async function stop(
  parts: Parts & { readonly health: Health; readonly web: Web },
  { watch, repair, control }: Running,
  hurry: AbortSignal,
): Promise<{ cut: number }> {
  const { options, relay, machine, link, accounts, health } = parts;
  const { log } = options;
  for (const { board } of accounts.all) board.publish({ phase: "stopping", reason: "", hint: "" });
  watch.close();
  const { open } = relay.stats();
  log.info(
    open === 0
      ? "Stopping"
      : `Stopping; ${counted(open, "open connection")} may take ${drainMs(parts) / 1000} s ` +
          "to finish (a second signal cuts them off)",
  );
  // The accounts stop first: a pass that ends during the last look must not
  // publish another phase.
  const passed = accounts.stop();
  await repair.stop();
  await passed;
  // As in a pass, a name is removed before its door closes.
  await parts.naming.stop();
  await machine.clear();
  await machine.release();
  // The daemon before this one has only the time of this stop, too.
  const heritage = options.inheritance?.heritage;
  heritage?.close();
  const { cut } = await relay.drain(hurry);
  await Promise.race([heritage?.ended, sleep(drainMs(parts) + graceMs, undefined, { ref: false })]);
  parts.history.stop();
  parts.inspector.stop();
  await link.close();
  await health.close();
  await parts.web.close();
  await control.close();
  log.info(cut === 0 ? "Stopped" : `Stopped; ${counted(cut, "connection")} had to be cut`);
  return { cut };
}

const graceMs = 2000;

const counted = (n: number, what: string): string => `${n} ${what}${n === 1 ? "" : "s"}`;
