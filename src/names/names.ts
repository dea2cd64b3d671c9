/**
 * names/ knows what the names of the endpoints mean without ngrokd, and which
 * of them are paused. It asks the name servers, and keeps the answers in the
 * state folder. The decision itself is pure (`judgeName` in exposure/).
 */
import { clearTimeout, setTimeout } from "node:timers";
import {
  lineFor,
  meaningOf,
  plainStanding,
  type Standing,
  type Subject,
  type Verdict,
} from "../exposure/verdict.ts";
import { stateFiles } from "../files/state-folder.ts";
import { reasonOf } from "../model/error.ts";
import type { Log } from "../model/log.ts";
import { createSerial } from "../model/serial.ts";
import { type LookUpDeps, lookUp } from "./look-up.ts";
import { type KnownNames, nothingKnown, readKnownNames, writeKnownNames } from "./names-file.ts";
import type { Answer, Ask } from "./question.ts";
import { isPrivate, loadSuffixes, noSuffixes } from "./suffixes.ts";

export interface Names {
  /** Reads the file. Never rejects. */
  load(): Promise<void>;
  /**
   * Finds out about these names, the subjects of all endpoints. The set must
   * not change later. `word` is the user's about a name; undefined if there is
   * none. Waits at most `withinMs` for the name servers, and only for names
   * that are new. False if an answer is missing then: `changed` is called when
   * it is here. Never rejects.
   */
  look(subjects: ReadonlySet<Subject>, word: Word, withinMs: number): Promise<boolean>;
  standing(subject: Subject): Standing;
  readonly paused: ReadonlySet<Subject>;
  /**
   * Notes that a name is paused, or no longer. Returns whether that is a
   * change. Rejects with NgrokdError `permission` or `state`.
   */
  pause(subject: Subject, paused: boolean): Promise<boolean>;
  /** Another number means that a standing or a pause has changed. */
  readonly changes: number;
}

export type Word = (subject: Subject) => Verdict | undefined;

export interface NamesDeps {
  readonly stateFolder: string;
  /** The addresses of names, by which a name that was served is known. */
  readonly assignment: () => ReadonlyMap<string, string>;
  readonly ask: Ask;
  /** How this machine looks names up now, without our own name server. */
  readonly conf: () => LookUpDeps["conf"];
  readonly log: Log;
  /** Called when answers have come that no caller waits for. */
  readonly changed: () => void;
  /** False: the file is not written, as for a preview. Default: true. */
  readonly keeps?: boolean;
  /** Milliseconds of a steady clock; for tests. */
  readonly now?: () => number;
}

/** A refused name is looked up again: its other meaning may have ended. */
const refusedAgainMs = 600_000;
/** The name servers are asked again about a name on which they were silent. */
const silentAgainMs = 60_000;

export function createNames(deps: NamesDeps): Names {
  const state: State = {
    ...deps,
    file: stateFiles(deps.stateFolder).names,
    now: deps.now ?? (() => performance.now()),
    found: new Map(),
    asking: new Map(),
    paused: new Set(),
    listed: new Set(),
    reported: false,
    answered: new Set(),
    waiting: 0,
    changes: 0,
    saved: "",
    save: createSerial(),
  };
  return {
    load: () => load(state),
    look: (subjects, word, withinMs) => look(state, subjects, word, withinMs),
    standing: (subject) => standingOf(state, subject),
    get paused() {
      return state.paused;
    },
    pause: (subject, paused) => pause(state, subject, paused),
    get changes() {
      return state.changes;
    },
  };
}

interface State extends NamesDeps {
  readonly file: string;
  readonly now: () => number;
  /** What is known beyond the assignment. */
  readonly found: Map<Subject, Found>;
  /** Names whose answers are on their way. */
  readonly asking: Map<Subject, Promise<void>>;
  paused: ReadonlySet<Subject>;
  /** The subjects of the latest pass. */
  listed: ReadonlySet<Subject>;
  /** Whether the names of an earlier version were looked up and reported. */
  reported: boolean;
  /** Those of them about which the name servers have replied. */
  readonly answered: Set<Subject>;
  /** How many calls wait for answers. */
  waiting: number;
  changes: number;
  /** The text of the file. */
  saved: string;
  readonly save: ReturnType<typeof createSerial>;
}

interface Found {
  readonly standing: Standing;
  /** False: the name is served, and the name servers have said nothing yet. */
  readonly settled: boolean;
  readonly at: number;
}

const free: Standing = { kind: "free" };
const isRefused = ({ kind }: Standing): boolean => kind !== "free" && kind !== "kept";

async function load(state: State): Promise<void> {
  const { known, warning } = await readKnownNames(state.file, state.keeps !== false);
  if (warning !== undefined) state.log.warn(warning);
  const { paused, elsewhere, open, free: zones, reported } = known ?? nothingKnown;
  const at = Number.NEGATIVE_INFINITY;
  state.paused = new Set(paused);
  for (const [subject, addresses] of Object.entries(elsewhere))
    state.found.set(subject, { standing: { kind: "elsewhere", addresses }, settled: true, at });
  for (const subject of open) state.found.set(subject, { standing: free, settled: false, at });
  for (const subject of zones) state.found.set(subject, { standing: free, settled: true, at });
  state.reported = known === undefined ? state.assignment().size === 0 : reported;
  state.listed = new Set(state.found.keys());
  // A missing file is written, since it would mean an earlier version.
  state.saved = known === undefined ? "" : JSON.stringify(knownOf(state));
}

function standingOf(state: State, subject: Subject): Standing {
  const found = state.found.get(subject);
  if (found !== undefined) return found.standing;
  if (state.assignment().has(subject)) return { kind: "kept" };
  return state.listed.has(subject) ? { kind: "pending" } : free;
}

async function look(
  state: State,
  subjects: ReadonlySet<Subject>,
  word: Word,
  withinMs: number,
): Promise<boolean> {
  const { found, asking, answered } = state;
  const kept = state.assignment();
  state.listed = subjects;
  forget(state);
  const isKnown = (subject: Subject): boolean => found.has(subject) || kept.has(subject);
  const undecided: Subject[] = [];
  for (const subject of subjects) {
    const verdict = word(subject);
    if (verdict === undefined) undecided.push(subject);
    // Without the user's word it has to be looked up later.
    else if (verdict.kind === "served" && !isKnown(subject)) settle(state, subject, silence);
  }
  const fresh = undecided.filter((subject) => !isKnown(subject));
  const again = undecided.filter((subject) => isDue(state, found.get(subject)));
  const before = state.reported
    ? []
    : undecided.filter((one) => kept.has(one) && !found.has(one) && !answered.has(one));
  const unasked = [...fresh, ...again].filter((subject) => !asking.has(subject));
  if (unasked.length > 0) ask(state, unasked);
  if (!state.reported && !asking.has(reportMark)) report(state, before);
  const here = await waitFor(state, new Set(fresh.map((subject) => asking.get(subject))), withinMs);
  await save(state);
  return here;
}

/**
 * Drops the names that the assignment has anyway, and those that are no longer
 * listed.
 */
function forget({ found, listed, assignment }: State): void {
  const kept = assignment();
  for (const [subject, { standing, settled }] of found) {
    const isKept = kept.has(subject);
    if (isKept ? settled && !isRefused(standing) : !listed.has(subject)) found.delete(subject);
  }
}

const silence: Answer = { kind: "silent" };
/** Stands for all names of an earlier version. */
const reportMark = "";

function isDue({ now }: State, found: Found | undefined): boolean {
  if (found === undefined) return false;
  if (found.settled && !isRefused(found.standing)) return false;
  return now() - found.at > (found.settled ? refusedAgainMs : silentAgainMs);
}

/** True if all the answers are here in time. */
async function waitFor(
  state: State,
  answers: ReadonlySet<Promise<void> | undefined>,
  withinMs: number,
): Promise<boolean> {
  if (answers.size === 0) return true;
  const late = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => late.resolve(false), withinMs);
  state.waiting += 1;
  try {
    return await Promise.race([Promise.all(answers).then(() => true), late.promise]);
  } finally {
    state.waiting -= 1;
    clearTimeout(timer);
  }
}

/** Asks about these names, and tells of the answers. */
function ask(state: State, subjects: readonly Subject[]): void {
  const { changes } = state;
  const end = inquire(state, subjects, (subject, answer) => settle(state, subject, answer)).then(
    async () => {
      for (const subject of subjects) state.asking.delete(subject);
      if (state.waiting > 0 || state.changes === changes) return;
      await save(state);
      state.changed();
    },
  );
  for (const subject of subjects) state.asking.set(subject, end);
}

/** The standing of each name: from the name servers, or from its form alone. */
async function inquire(
  state: State,
  subjects: readonly Subject[],
  found: (subject: Subject, answer: Answer | Standing) => void,
): Promise<void> {
  if (subjects.length === 0) return;
  const conf = state.conf();
  const { isSuffix, isPublic } = subjects.every(isPrivate) ? noSuffixes : await loadSuffixes();
  const facts = { searched: conf.search, isSuffix };
  const asked = subjects.filter((subject) => {
    const standing = plainStanding(subject, facts);
    if (standing !== undefined) found(subject, standing);
    return standing === undefined;
  });
  if (asked.length === 0) return;
  const own = new Set(state.assignment().values());
  // A name below a wildcard may get its address in the meantime.
  const isOwn = (address: string): boolean =>
    own.has(address) ||
    state
      .assignment()
      .values()
      .some((one) => one === address);
  // There may not be time for all. A public name is the likeliest in use.
  const { likely = [], others = [] } = Object.groupBy(asked, (one) =>
    isPublic(one) ? "likely" : "others",
  );
  const inOrder = [...likely, ...others];
  await lookUp(inOrder, { ask: state.ask, conf, isOwn }, found);
}

function settle(state: State, subject: Subject, answer: Answer | Standing): void {
  const before = state.found.get(subject);
  const known = standingIn(answer);
  // Without an answer the one of before counts. Other addresses of the same
  // name are no news: some names have others each time.
  const isNews = known !== undefined && known.kind !== before?.standing.kind;
  const standing = (isNews ? known : before?.standing) ?? free;
  const settled = known !== undefined || (before?.settled ?? false);
  if (before === undefined || isNews) state.changes += 1;
  state.found.set(subject, { standing, settled, at: state.now() });
}

/** Undefined if the name servers are silent. */
function standingIn(answer: Answer | Standing): Standing | undefined {
  switch (answer.kind) {
    case "addresses":
      return { kind: "elsewhere", addresses: answer.addresses.slice(0, mostKept) };
    case "none":
    case "empty":
      return free;
    case "silent":
      return undefined;
    default:
      return answer;
  }
}

/** Of the addresses of one name. */
const mostKept = 4;

/**
 * Names that an earlier version has served stay. Those that would be refused
 * now are reported, each once. Names on which the name servers were silent are
 * left to the next pass.
 */
function report(state: State, subjects: readonly Subject[]): void {
  const { answered } = state;
  const odd = new Map<Subject, Standing>();
  const end = inquire(state, subjects, (subject, answer) => {
    const standing = standingIn(answer);
    if (standing === undefined) return;
    answered.add(subject);
    if (isRefused(standing)) odd.set(subject, standing);
  }).then(async () => {
    state.asking.delete(reportMark);
    state.reported = subjects.every((subject) => answered.has(subject));
    if (state.reported) {
      answered.clear();
      await save(state);
    }
    tell(state, odd);
  });
  state.asking.set(reportMark, end);
}

const mostTold = 10;

function tell({ log }: State, odd: ReadonlyMap<Subject, Standing>): void {
  if (odd.size === 0) return;
  const some = [...odd].slice(0, mostTold);
  const texts = some.map(([subject, standing]) => meaningOf(subject, standing));
  const more = odd.size > mostTold ? `; and ${odd.size - mostTold} more names` : "";
  log.warn(
    `These names stay served, though they would be refused if they were new: ${texts.join("; ")}${more}`,
    {
      hint: `${some.map(([subject]) => lineFor(subject)).join(", ")} confirms; names.deny refuses`,
    },
  );
}

async function pause(state: State, subject: Subject, wanted: boolean): Promise<boolean> {
  return await state.save(async () => {
    if (state.paused.has(subject) === wanted) return false;
    const paused = new Set(state.paused);
    if (wanted) paused.add(subject);
    else paused.delete(subject);
    const known = knownOf({ ...state, paused });
    await writeKnownNames(state.file, known);
    state.saved = JSON.stringify(known);
    state.paused = paused;
    state.changes += 1;
    return true;
  });
}

/** Writes the file if it differs. The next call tries a failed write again. */
async function save(state: State): Promise<void> {
  if (state.keeps === false) return;
  await state.save(async () => {
    const known = knownOf(state);
    const text = JSON.stringify(known);
    if (text === state.saved) return;
    try {
      await writeKnownNames(state.file, known);
      state.saved = text;
    } catch (error) {
      state.log.debug(reasonOf(error));
    }
  });
}

/** What the file has: all that is known of names that are listed or served. */
function knownOf(state: Pick<State, "found" | "paused" | "reported" | "listed" | "assignment">) {
  const kept = state.assignment();
  const elsewhere: [Subject, readonly string[]][] = [];
  const open: Subject[] = [];
  const zones: Subject[] = [];
  for (const [subject, { standing, settled }] of state.found) {
    if (!state.listed.has(subject) && !kept.has(subject)) continue;
    if (standing.kind === "elsewhere") elsewhere.push([subject, standing.addresses]);
    else if (!settled) open.push(subject);
    else if (standing.kind === "free" && subject.startsWith("*.")) zones.push(subject);
  }
  return {
    paused: [...state.paused].sort(),
    elsewhere: Object.fromEntries(elsewhere.sort(([a], [b]) => (a < b ? -1 : 1))),
    open: open.sort(),
    free: zones.sort(),
    reported: state.reported,
  } satisfies KnownNames;
}
