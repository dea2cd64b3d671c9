import process from "node:process";
import type { Doorway } from "../exposure/exposure.ts";
import { urlOf } from "../model/endpoint.ts";
import type { Log } from "../model/log.ts";
import { listeningPlaces } from "../net/proc-net.ts";
import { type Moved, startWatch } from "./wake.ts";

export interface RepairDeps {
  /** `guard` returns whether a pass has to follow. */
  readonly names: { guard(): Promise<boolean> };
  /** Never rejects. */
  readonly resolver: { guard(): Promise<void> };
  readonly doors: DoorsToMend;
  /** `guard` returns whether a pass has to follow. */
  readonly link: { guard(): Promise<boolean>; devices(): readonly string[] };
  /** Reads the configuration again if its file has changed. */
  readonly checkConfig: () => void;
  /**
   * Removes the leftovers of a crash. Called once, when no program can still be
   * writing such a file.
   */
  readonly sweep: () => Promise<void>;
  /** Discards the connections from before the machine or its network moved. */
  readonly discard: () => void;
  /** Asks for a pass. */
  readonly kick: () => void;
  readonly log: Log;
  /** Replaced in tests. */
  readonly listening?: typeof listeningPlaces;
  readonly watch?: typeof startWatch;
}

export interface DoorsToMend {
  readonly present: { readonly size: number };
  /** Opens doors again that the system has closed, and returns them. */
  mend(
    listening: typeof listeningPlaces,
  ): Promise<{ readonly doorway: Doorway; readonly reason: string | undefined }[]>;
}

/**
 * The least time between two checks of the doors, in milliseconds, and the most
 * that the checks may cost, as a share of one core, also with 10,000 doors. Bun
 * spins on a listening socket that the system has closed, so a busy process
 * checks sooner.
 */
const pace = { idle: { atLeastMs: 60_000, share: 0.001 }, busy: { atLeastMs: 0, share: 0.01 } };
/**
 * The share of one core above which the process counts as busy. It is low
 * because a process that spins gets only a part of a busy machine.
 */
const busyShare = 0.1;
const sweepAfterMs = 10_000;

/**
 * Repairs the changes of other programs on this machine, until it is stopped.
 */
export function startRepair(deps: RepairDeps): { stop(): Promise<void> } {
  const {
    names,
    doors,
    link,
    checkConfig,
    log,
    listening = listeningPlaces,
    watch = startWatch,
  } = deps;
  const started = performance.now();
  let swept = false;
  let lastLook = { at: started, cpuMs: cpuMs() };
  let lastMend = neverMended;
  let isAskingResolver = false;

  return watch({ moved, look, ownDevices: link.devices });

  function moved(what: Moved): void {
    log.info(`${movedTexts[what]}: ready connections are replaced, and ngrok is polled at once`);
    lastMend = neverMended;
    deps.discard();
    deps.kick();
  }

  async function look(): Promise<void> {
    checkConfig();
    guardResolver();
    if (await link.guard()) deps.kick();
    if (await names.guard()) deps.kick();
    await mendDoors();
    if (swept || performance.now() - started < sweepAfterMs) return;
    swept = true;
    await deps.sweep();
  }

  /**
   * Not waited for: programs that hang take longer than a look, and a long look
   * counts as sleep.
   */
  function guardResolver(): void {
    if (isAskingResolver) return;
    isAskingResolver = true;
    void deps.resolver.guard().finally(() => {
      isAskingResolver = false;
    });
  }

  async function mendDoors(): Promise<void> {
    const now = { at: performance.now(), cpuMs: cpuMs() };
    const isBusy = now.cpuMs - lastLook.cpuMs > busyShare * (now.at - lastLook.at);
    const { atLeastMs, share } = isBusy ? pace.busy : pace.idle;
    lastLook = now;
    const restMs = Math.max(atLeastMs, lastMend.tookMs / share);
    if (doors.present.size === 0 || now.at - lastMend.at < restMs) return;
    const mended = await doors.mend(listening);
    const at = performance.now();
    // A pause of the whole machine is no cost of the check.
    lastMend = { at, tookMs: Math.min(at - now.at, cpuMs() - now.cpuMs) };
    for (const { doorway, reason } of mended) log.warn(mendText(doorway, reason));
    if (mended.some(({ reason }) => reason !== undefined)) deps.kick();
  }
}

const neverMended = { at: Number.NEGATIVE_INFINITY, tookMs: 0 };

function mendText({ door, routes }: Doorway, reason: string | undefined): string {
  const urls = routes
    .map(({ target: { binding } }) => urlOf({ url: binding.url, hostname: binding.host }))
    .join(", ");
  return reason === undefined
    ? `The system had closed the listener of ${urls} on ${door.id}; it listens again`
    : `The system has closed the listener of ${urls}, and it cannot listen again: ${reason}`;
}

function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

const movedTexts: Readonly<Record<Moved, string>> = {
  time: "The machine slept, or its clock was set",
  network: "The network has changed",
};
