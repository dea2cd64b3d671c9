import process from "node:process";
import type { FileWatch } from "../config/file-watch.ts";
import type { Log } from "../model/log.ts";
import { listeningPlaces } from "../net/proc-net.ts";
import type { Listeners } from "../relay/doors.ts";
import type { HostsKeeper } from "./hosts/keeper.ts";
import { type Moved, startWatch } from "./wake.ts";

export interface RepairDeps {
  readonly hosts: Pick<HostsKeeper, "guard">;
  readonly listeners: Pick<Listeners, "present" | "mend">;
  /** The file of the configuration. */
  readonly file: Pick<FileWatch, "check">;
  /**
   * Removes what a crash has left; called once, when nothing that it finds can
   * still be another program's work in progress.
   */
  readonly sweep: () => Promise<void>;
  /** Forgets what was opened before the machine or its network moved. */
  readonly renew: () => void;
  /** Asks for a pass. */
  readonly kick: () => void;
  readonly log: Log;
  /** Stand-ins for tests. */
  readonly listening?: typeof listeningPlaces;
  readonly watch?: typeof startWatch;
}

/**
 * How often the listeners are looked at, in milliseconds, and at most which
 * share of a core that may cost, with 10,000 of them too. Bun spins on a
 * listening socket that the system has closed: a process that is busy looks
 * sooner.
 */
const pace = { idle: { atLeastMs: 60_000, share: 0.001 }, busy: { atLeastMs: 0, share: 0.01 } };
/**
 * The share of one core from which on the process counts as busy: one that
 * spins gets no more of a machine on which all are at work.
 */
const busyShare = 0.1;
const sweepAfterMs = 10_000;

/**
 * Sees to it that what the daemon has set up stays so, whatever happens around
 * it.
 */
export function startRepair(deps: RepairDeps): { stop(): Promise<void> } {
  const { hosts, listeners, file, log, listening = listeningPlaces, watch = startWatch } = deps;
  const started = performance.now();
  let swept = false;
  let looked = { at: started, cpuMs: cpuMs() };
  let mended = { at: Number.NEGATIVE_INFINITY, tookMs: 0 };

  return watch({ moved, look });

  function moved(what: Moved): void {
    log.info(`${movedTexts[what]}: ready connections are made anew, and ngrok is asked at once`);
    mended = { at: Number.NEGATIVE_INFINITY, tookMs: 0 };
    deps.renew();
    deps.kick();
  }

  async function look(): Promise<void> {
    file.check();
    await hosts.guard();
    await mendListeners();
    if (swept || performance.now() - started < sweepAfterMs) return;
    swept = true;
    await deps.sweep();
  }

  async function mendListeners(): Promise<void> {
    const now = { at: performance.now(), cpuMs: cpuMs() };
    const { atLeastMs, share } =
      now.cpuMs - looked.cpuMs > busyShare * (now.at - looked.at) ? pace.busy : pace.idle;
    looked = now;
    if (
      listeners.present.size === 0 ||
      now.at - mended.at < Math.max(atLeastMs, mended.tookMs / share)
    )
      return;
    const found = await listeners.mend(listening);
    const at = performance.now();
    mended = { at, tookMs: at - now.at };
    for (const { placed, reason } of found) {
      const where = `${placed.ip}:${placed.binding.port}`;
      if (reason === undefined)
        log.warn(
          `The system had closed the listener of ${placed.binding.url} on ${where}; it listens again`,
        );
      else
        log.warn(
          `The system has closed the listener of ${placed.binding.url}, and it cannot be raised: ${reason}`,
        );
    }
    if (found.some(({ reason }) => reason !== undefined)) deps.kick();
  }
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

const movedTexts: Readonly<Record<Moved, string>> = {
  time: "The machine slept, or its clock was set",
  network: "The network has changed",
};
