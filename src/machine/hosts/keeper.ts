import { lookOf } from "../../files/look.ts";
import { reasonOf } from "../../model/error.ts";
import type { Hostname } from "../../model/hostname.ts";
import type { Ip } from "../../model/ip.ts";
import type { Log } from "../../model/log.ts";
import { createSerial } from "../../model/serial.ts";
import { afterRepair, mayRepair, noContest } from "./contest.ts";
import { type HostsOptions, updateHostsFile } from "./file.ts";

/**
 * Our section of the hosts file over the daemon's life: what it shall say, and
 * that it goes on saying it.
 */
export interface HostsKeeper {
  /**
   * Makes the section hold exactly these; answers the names that a line of the
   * user's own overrides. Rejects as updateHostsFile does.
   */
  advertise(entries: ReadonlyMap<Hostname, Ip>): Promise<readonly Hostname[]>;
  /**
   * Looks whether the section is still what it shall be, and puts it back where
   * it is not. One stat while nobody changes the file; never rejects.
   */
  guard(): Promise<void>;
  /**
   * Takes the section out; answers whether there was one. Rejects as
   * updateHostsFile does.
   */
  clear(): Promise<boolean>;
  /**
   * Why the section does not say what it shall, where another program is the
   * cause or it cannot be put back.
   */
  readonly trouble: string | undefined;
}

export interface HostsKeeperOptions extends Omit<HostsOptions, "before"> {
  readonly path: string;
  readonly log: Log;
  /**
   * Told before the section is first written, which is not done where this
   * rejects, and after it was taken out.
   */
  readonly journal: { record(): Promise<void>; forget(): Promise<void> };
  /** Milliseconds of a monotonic clock; for tests. */
  readonly now?: () => number;
}

/**
 * A keeper that has nothing to say yet. Its calls wait for each other: passes
 * and guards may come at any time.
 */
export function createHostsKeeper(options: HostsKeeperOptions): HostsKeeper {
  const { path, log, journal, now = () => performance.now() } = options;
  let entries: ReadonlyMap<Hostname, Ip> = new Map();
  let contest = noContest;
  let trouble: string | undefined;
  /**
   * Whether the file has said what it shall since that was last changed: only
   * then is a difference another program's doing.
   */
  let settled = false;
  /** Whether a repair is due that the contest forbids for now. */
  let held = false;
  /** How the file looked when the section was last found right. */
  let seen: string | undefined;
  const inTurn = createSerial();

  return {
    get trouble() {
      const minutes = Math.max(1, Math.ceil((contest.until - now()) / 60_000));
      return held
        ? `${trouble}; the next try is in ${minutes} min; find out which program writes that file`
        : trouble;
    },
    advertise: (next) =>
      inTurn(async () => {
        settled &&= sameEntries(entries, next);
        entries = next;
        return await settle();
      }),
    guard: () =>
      inTurn(async () => {
        try {
          const look = await lookOf(path);
          const due = held && mayRepair(contest, now());
          if ((look === seen && !due) || entries.size === 0) return;
          await settle();
          seen = look;
        } catch (error) {
          seen = undefined;
          tell(`The hosts file "${path}" cannot be checked: ${reasonOf(error)}`);
        }
      }),
    clear: () =>
      inTurn(async () => {
        entries = new Map();
        const { change } = await updateHostsFile(path, entries, options);
        allIsWell();
        await journal.forget();
        return change !== "none";
      }),
  };

  async function settle(): Promise<readonly Hostname[]> {
    const repair = settled && entries.size > 0;
    const before = async (): Promise<boolean> => {
      if (repair && !mayRepair(contest, now())) return false;
      if (entries.size > 0) await journal.record();
      return true;
    };
    const { change, repairs, shadowed } = await updateHostsFile(path, entries, {
      ...options,
      before,
    });
    for (const sentence of repairs) log.warn(`Repaired the hosts file "${path}": ${sentence}`);
    if (change === "withheld") {
      tell(
        `Another program keeps taking ngrokd's section out of "${path}", or changing it; it is left alone for now, and names may not resolve`,
      );
      held = true;
      return shadowed;
    }
    if (change !== "none") {
      if (entries.size === 0) await journal.forget();
      if (repair) {
        contest = afterRepair(contest, now());
        log.info(
          `Put ngrokd's section of "${path}" back: another program had taken it out or changed it`,
        );
      } else log.debug(`Wrote ${entries.size} names into "${path}"`);
    }
    allIsWell();
    return shadowed;
  }

  function allIsWell(): void {
    settled = true;
    trouble = undefined;
    held = false;
  }

  /** The log hears of a trouble once. */
  function tell(text: string): void {
    if (trouble === undefined) log.warn(text);
    trouble = text;
    held = false;
  }
}

function sameEntries(a: ReadonlyMap<Hostname, Ip>, b: ReadonlyMap<Hostname, Ip>): boolean {
  return a.size === b.size && [...a].every(([name, ip]) => b.get(name) === ip);
}
