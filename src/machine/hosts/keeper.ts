import { isDeepStrictEqual } from "node:util";
import { stampOf } from "../../files/stamp.ts";
import { reasonOf } from "../../model/error.ts";
import type { Hostname } from "../../model/hostname.ts";
import type { Ip } from "../../model/ip.ts";
import type { Log } from "../../model/log.ts";
import { createSerial } from "../../model/serial.ts";
import { afterRepair, type Contest, mayRepair, noContest } from "../contest.ts";
import { type HostsOptions, updateHostsFile } from "./file.ts";
import type { Entries6 } from "./text.ts";

/** Keeps our section of the hosts file right over the life of the daemon. */
export interface HostsKeeper {
  /**
   * Makes the section have exactly these names, with the second addresses of
   * `six`. Returns the names to which a line of the user's own gives another
   * address. Rejects as updateHostsFile.
   */
  advertise(entries: ReadonlyMap<Hostname, Ip>, six?: Entries6): Promise<readonly Hostname[]>;
  /**
   * Puts the section back if another program has changed it. Costs one stat as
   * long as the file is unchanged. Returns whether other names than before are
   * left to the user's own lines. Never rejects.
   */
  guard(): Promise<boolean>;
  /**
   * Takes the section out, and returns whether there was one. Rejects as
   * updateHostsFile.
   */
  clear(): Promise<boolean>;
  /**
   * Why the section is not right: another program changes it, or it cannot be
   * written. Undefined if it is right.
   */
  readonly trouble: string | undefined;
}

export interface HostsKeeperOptions extends Omit<HostsOptions, "before" | "six"> {
  readonly path: string;
  readonly log: Log;
  /**
   * `record` is called before the section is written; if it rejects, nothing is
   * written. `forget` is called after the section was removed.
   */
  readonly journal: { record(): Promise<void>; forget(): Promise<void> };
  /** Milliseconds of a monotonic clock; for tests. */
  readonly now?: () => number;
}

/**
 * A keeper without names. Its calls wait for each other, so passes and guards
 * may come at any time.
 */
export function createHostsKeeper(options: HostsKeeperOptions): HostsKeeper {
  const { now = () => performance.now() } = options;
  const state: State = {
    ...options,
    now,
    entries: new Map(),
    six: new Map(),
    contest: noContest,
    trouble: undefined,
    settled: false,
    seen: undefined,
    pinned: [],
  };
  const inTurn = createSerial();
  return {
    get trouble() {
      return troubleText(state);
    },
    advertise: (next, six = new Map()) =>
      inTurn(async () => {
        state.settled &&= sameEntries(state.entries, next) && sameEntries(state.six, six);
        state.entries = next;
        state.six = six;
        state.pinned = await settle(state);
        return state.pinned;
      }),
    guard: () => inTurn(() => guard(state)),
    clear: () =>
      inTurn(async () => {
        state.entries = new Map();
        state.six = new Map();
        const { change } = await updateHostsFile(options.path, state.entries, options);
        allIsWell(state);
        // One entry too many does no harm, since undo checks the file first.
        await options.journal.forget().catch((error: unknown) => {
          options.log.warn(reasonOf(error));
        });
        return change !== "none";
      }),
  };
}

interface State extends HostsKeeperOptions {
  readonly now: () => number;
  /** The names that the section should have. */
  entries: ReadonlyMap<Hostname, Ip>;
  six: Entries6;
  contest: Contest;
  /** `held`: a repair is due, and the contest forbids it for now. */
  trouble: { readonly text: string; readonly held: boolean } | undefined;
  /**
   * Whether the file has had these names since they last changed. Only then is
   * a difference the work of another program.
   */
  settled: boolean;
  /** The stamp of the file when the section was last found right. */
  seen: string | undefined;
  /** The names that are left to the user's own lines. */
  pinned: readonly Hostname[];
}

/** Writes the section if it is not right. Returns the overridden names. */
async function settle(state: State): Promise<readonly Hostname[]> {
  const { path, entries, log, journal, now } = state;
  const isRepair = state.settled && entries.size > 0;
  const before = async (): Promise<boolean> => {
    if (isRepair && !mayRepair(state.contest, now())) return false;
    if (entries.size > 0) await journal.record();
    return true;
  };
  const update = await updateHostsFile(path, entries, { ...state, before });
  for (const sentence of update.repairs) log.warn(`Repaired the hosts file "${path}": ${sentence}`);
  if (update.change === "withheld") {
    noteTrouble(state, {
      text: `Another program keeps removing or changing ngrokd's section of "${path}"; it is not repaired for now, and names may not resolve`,
      held: true,
    });
    return update.shadowed;
  }
  if (update.change !== "none") {
    if (entries.size === 0) await journal.forget();
    if (isRepair) {
      state.contest = afterRepair(state.contest, now());
      log.info(`Restored ngrokd's section of "${path}": another program had removed or changed it`);
    } else log.debug(`Wrote ${entries.size} names into "${path}"`);
  }
  allIsWell(state);
  return update.shadowed;
}

async function guard(state: State): Promise<boolean> {
  const { path, now, pinned } = state;
  try {
    const stamp = await stampOf(path);
    const isDue = state.trouble?.held === true && mayRepair(state.contest, now());
    if ((stamp === state.seen && !isDue) || state.entries.size === 0) return false;
    state.pinned = await settle(state);
    state.seen = stamp;
    return !isDeepStrictEqual(pinned, state.pinned);
  } catch (error) {
    state.seen = undefined;
    const text = `The hosts file "${path}" cannot be checked: ${reasonOf(error)}`;
    noteTrouble(state, { text, held: false });
    return false;
  }
}

function allIsWell(state: State): void {
  state.settled = true;
  state.trouble = undefined;
}

/** The log gets a trouble once. */
function noteTrouble(state: State, trouble: NonNullable<State["trouble"]>): void {
  if (state.trouble === undefined) state.log.warn(trouble.text);
  state.trouble = trouble;
}

function troubleText({ trouble, contest, now }: State): string | undefined {
  if (trouble?.held !== true) return trouble?.text;
  const minutes = Math.max(1, Math.ceil((contest.until - now()) / 60_000));
  return `${trouble.text}; the next try is in ${minutes} min; find out which program writes that file`;
}

function sameEntries(a: ReadonlyMap<Hostname, string>, b: ReadonlyMap<Hostname, string>): boolean {
  return a.size === b.size && [...a].every(([name, ip]) => b.get(name) === ip);
}
