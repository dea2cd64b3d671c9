/**
 * machine/resolver/ makes this machine's own resolver ask our DNS server for
 * the zones of wildcards, and takes that back. It asks for nothing else: names
 * of others go where they went before.
 */
import { unlink } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { readFileIfThere } from "../../files/atomic.ts";
import { stateFiles } from "../../files/state-folder.ts";
import { type Change, readJournal } from "../../journal/journal.ts";
import { hintOf, NgrokdError, reasonOf } from "../../model/error.ts";
import { hostPortText } from "../../model/host-port.ts";
import type { Hostname } from "../../model/hostname.ts";
import type { Log } from "../../model/log.ts";
import { parsed } from "../../model/parsed.ts";
import { afterRepair, type Contest, mayRepair, noContest } from "../contest.ts";
import { type ResolverPlaces, resolverFacts, usualPlaces } from "./facts.ts";
import {
  dnsmasqKeeper,
  editResolvConf,
  folderKeeper,
  type Keeper,
  resolvConfKeeper,
  resolvedKeeper,
} from "./keepers.ts";
import { withoutGoLines } from "./resolv-conf.ts";
import { rivalsIn, type Wanted } from "./resolved.ts";
import { type Run, runProgram } from "./run.ts";
import { type ResolverFacts, resolvConfPath, type Way, wayFor } from "./way.ts";

export interface Resolver {
  /** How the machine's resolver is told, or what a person has to do. */
  readonly way: Way;
  /** Why the settings could not be made; empty if they are right. */
  readonly trouble: string;
  /**
   * Makes the settings as wanted; undefined takes them back. Returns whether
   * anything was changed. Never rejects: a failure is the {@link trouble}, and
   * the next call tries again.
   */
  want(wanted: Wanted | undefined): Promise<boolean>;
  /**
   * Puts settings back that are gone, for example after systemd-resolved was
   * restarted. Costs some file reads if nothing has changed. Returns whether
   * anything was changed. Never rejects.
   */
  guard(): Promise<boolean>;
  readonly facts: () => Promise<ResolverFacts>;
  /** Links of other programs that take names of this zone. Never rejects. */
  readonly rivals: (zone: Hostname) => Promise<readonly string[]>;
}

export interface ResolverOptions {
  readonly stateFolder: string;
  /** net.interface_name and dns.manage_resolv_conf, read at every call. */
  readonly settings: () => { readonly link: string; readonly mayEdit: boolean };
  readonly log: Log;
  /** Stand-ins for tests. */
  readonly places?: ResolverPlaces;
  readonly run?: Run;
  readonly now?: () => number;
}

/** A look that costs programs, beside the cheap ones. */
const fullLookMs = 60_000;

const noWay: Way = { kind: "by-hand", text: "no name below a wildcard is served" };

export function createResolver(options: ResolverOptions): Resolver {
  const { settings, places = usualPlaces, now = () => performance.now() } = options;
  const state: State = { ...options, way: noWay, trouble: "", contest: noContest, swept: false };
  const facts = (): Promise<ResolverFacts> =>
    resolverFacts(settings().link, settings().mayEdit, places);
  return {
    get way() {
      return state.way;
    },
    get trouble() {
      return state.trouble;
    },
    facts,
    async rivals(zone) {
      const { resolvectl, linkName } = await facts();
      if (resolvectl === undefined) return [];
      const { out } = await (options.run ?? runProgram)(resolvectl, ["domain"]);
      return rivalsIn(out, zone, linkName);
    },
    async want(wanted) {
      state.wish = wanted;
      const changed =
        wanted === undefined ? await takeBack(state) : await put(state, wanted, now());
      // Last, so that a name that leads here already does not fail meanwhile.
      if (!state.swept) await sweep(state);
      return changed;
    },
    async guard() {
      // The way may have come back, such as a link that was gone.
      return state.wish !== undefined && (await put(state, state.wish, now()));
    },
  };

  async function put(state: State, wanted: Wanted, at: number): Promise<boolean> {
    const found = await facts();
    const way = wayFor(found, wanted.server.host);
    if (state.current !== undefined && !isDeepStrictEqual(way, state.way)) await takeBack(state);
    state.way = way;
    if (isRight(state, wanted, at)) return false;
    const keeper = state.current?.keeper ?? keeperFor(way, found, options);
    if (keeper === undefined) {
      note(state, "");
      return false;
    }
    const again = state.current?.isMade === true && isDeepStrictEqual(state.current.wanted, wanted);
    try {
      if (again && !mayRepair(state.contest, at))
        throw new NgrokdError(
          "state",
          `Another program keeps changing the settings of ${way.text}`,
        );
      // From before the look: a change by another program after it is noticed.
      const before = keeper.stamp();
      const changed = await keeper.put(wanted);
      // An earlier run may have made them; then the log tells of them as well.
      if (changed || state.current === undefined) options.log.info(changeText(way, wanted, again));
      if (changed && again) state.contest = afterRepair(state.contest, at);
      // Another program may have undone it meanwhile: so the next look is full.
      const lookedAt = changed ? at - fullLookMs : at;
      const stamp = changed ? keeper.stamp() : before;
      state.current = { keeper, wanted, lookedAt, stamp, isMade: true };
      note(state, "");
      return changed;
    } catch (error) {
      state.current = { keeper, wanted, lookedAt: at, stamp: "", isMade: again };
      note(state, [reasonOf(error), hintOf(error)].filter((text) => text !== "").join("; "));
      return false;
    }
  }
}

interface State extends ResolverOptions {
  wish?: Wanted | undefined;
  way: Way;
  trouble: string;
  /** The settings that are made, or could not be made yet. */
  current?:
    | {
        readonly keeper: Keeper;
        readonly wanted: Wanted;
        readonly lookedAt: number;
        readonly stamp: string;
        /** They were made: a difference is the work of another program. */
        readonly isMade: boolean;
      }
    | undefined;
  contest: Contest;
  /** What a killed run has left was looked for. */
  swept: boolean;
}

/** Compares file stamps only. A full look follows after `fullLookMs`. */
function isRight({ current, trouble }: State, wanted: Wanted, at: number): boolean {
  return (
    current !== undefined &&
    trouble === "" &&
    at - current.lookedAt <= fullLookMs &&
    isDeepStrictEqual(current.wanted, wanted) &&
    current.keeper.stamp() === current.stamp
  );
}

const changeText = ({ text }: Way, { server, zones }: Wanted, again: boolean): string =>
  again
    ? `Put back what another program had removed: ${text} asks ${hostPortText(server)}`
    : `This machine asks ${hostPortText(server)} for names below ${zones.join(", ")} (${text})`;

/** The log gets a trouble once. */
function note(state: State, trouble: string): void {
  if (trouble !== "" && trouble !== state.trouble) state.log.warn(trouble);
  state.trouble = trouble;
}

function keeperFor(
  way: Way,
  { resolvectl, linkName }: Pick<ResolverFacts, "resolvectl" | "linkName">,
  { stateFolder, places = usualPlaces, run = runProgram }: ResolverOptions,
): Keeper | undefined {
  switch (way.kind) {
    case "resolved":
      return resolvectl === undefined
        ? undefined
        : resolvedKeeper(linkName, { run, program: resolvectl, stateFolder, links: places.links });
    case "dnsmasq":
      return dnsmasqKeeper(way.folder, stateFolder, run);
    case "folder":
      return folderKeeper(way.folder, stateFolder);
    case "resolv-conf":
      return resolvConfKeeper(places.resolvConf, stateFolder);
    case "by-hand":
      return undefined;
  }
}

async function takeBack(state: State): Promise<boolean> {
  const { current, log } = state;
  state.way = noWay;
  note(state, "");
  if (current === undefined) return false;
  state.current = undefined;
  state.contest = noContest;
  try {
    return await current.keeper.take();
  } catch (error) {
    log.warn(reasonOf(error), { hint: "the next start, or `ngrokd undo`, takes it back" });
    return false;
  }
}

/**
 * Undoes the settings in the journal of an earlier run, except those that this
 * run has taken over: after a kill or a handover, names resolve without a gap.
 */
async function sweep(state: State): Promise<void> {
  const { stateFolder, settings, places = usualPlaces, log } = state;
  state.swept = true;
  await giveBackGoCopy(stateFolder, places.resolvConf, log);
  const warn = (error: unknown): void =>
    log.warn(`Cannot take back the resolver settings of an earlier run: ${reasonOf(error)}`);
  const changes = await readJournal(stateFolder).catch(warn);
  if (changes === undefined || changes.length === 0) return;
  const found = await resolverFacts(settings().link, settings().mayEdit, places);
  for (const change of changes) {
    const way = leftWay(change, found);
    if (way === undefined || isTakenOver(state, way)) continue;
    const keeper = keeperFor(way, { ...found, linkName: basename(change.path) }, state);
    if (await keeper?.take().catch(warn))
      log.info(`Took back what an earlier run had set: ${way.text}`);
  }
}

const isTakenOver = ({ current, way }: State, left: Way): boolean =>
  current !== undefined && isDeepStrictEqual(way, left);

/** Pure: the way by which an earlier run made a change; it had its own link. */
function leftWay(
  { kind, path }: Change,
  { zoneFolder, dnsmasqFolder }: Pick<ResolverFacts, "zoneFolder" | "dnsmasqFolder">,
): Way | undefined {
  if (kind === "resolved") return { kind, text: `systemd-resolved, on ${basename(path)}` };
  if (kind === "resolv-conf") return { kind, text: resolvConfPath };
  if (kind !== "file") return undefined;
  const folder = dirname(path);
  if (folder === zoneFolder) return { kind: "folder", text: folder, folder };
  return folder === dnsmasqFolder
    ? { kind: "dnsmasq", text: "NetworkManager's dnsmasq", folder }
    : undefined;
}

/**
 * Gives resolv.conf back as the Go program found it. That program keeps a copy
 * of it, and a crash leaves the copy. A file that another program has written
 * since is newer, and stays.
 */
async function giveBackGoCopy(stateFolder: string, path: string, log: Log): Promise<void> {
  const copy = stateFiles(stateFolder).resolvConfGo;
  try {
    if ((await readFileIfThere(copy)) === undefined) return;
    const changed = await editResolvConf(path, (text) => parsed(withoutGoLines(text) ?? text));
    await unlink(copy);
    log.info(
      changed
        ? `Gave "${path}" back as it was before the Go program changed it`
        : `Removed "${copy}": "${path}" is newer`,
    );
  } catch (error) {
    log.warn(`Cannot give "${path}" back from "${copy}": ${reasonOf(error)}`);
  }
}
