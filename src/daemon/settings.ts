import { afterReload, type Change, changesBetween } from "../config/changes.ts";
import type { Inspection, Loaded } from "../config/load.ts";
import { configError, type Problem, problemText } from "../config/problem.ts";
import type { Config } from "../config/schema.ts";
import { valueCode } from "../config/template.ts";
import { withValueAt } from "../config/value-at.ts";
import type { ReloadReport } from "../desk/reply-schemas.ts";
import type { ApiKey } from "../model/api-key.ts";
import { reasonOf } from "../model/error.ts";
import type { Log } from "../model/log.ts";
import { defaultProfile } from "../model/profile.ts";
import { createSerial } from "../model/serial.ts";
import { type Job, jobsOf } from "./jobs.ts";

/** The settings in effect. Nothing else replaces them while the daemon runs. */
export interface Settings {
  readonly current: Loaded;
  /**
   * Sentences for the user: why the configuration in the file cannot be used,
   * which changes wait for a restart, and which settings have no effect.
   */
  readonly warnings: readonly string[];
  /**
   * Reads the configuration again and takes over the settings that differ. A
   * wrong configuration changes nothing. Reloads run one after the other, and
   * wait for {@link follow}. Never rejects.
   */
  reload(): Promise<ReloadReport>;
  /** Registers the function that does the jobs of a change. */
  follow(apply: Apply): void;
  /**
   * Notes a key that ngrokd itself wrote into the file, so that the next reload
   * finds no change.
   */
  savedKey(key: ApiKey, profile?: string): void;
}

export interface SettingsDeps {
  readonly loaded: Loaded;
  /**
   * Reads the configuration as the start of the daemon did. May reject if the
   * file cannot be read at all.
   */
  readonly read: () => Promise<Inspection>;
  /**
   * Finds reasons why this machine cannot use these settings, for example a
   * missing CA file. Called before anything changes.
   */
  readonly check: (next: Loaded, current: Loaded) => Promise<readonly Problem[]>;
  readonly log: Log;
}

/** Does the jobs of a change; {@link Settings.current} is already new. */
export type Apply = (jobs: ReadonlySet<Job>) => Promise<void>;

export function createSettings(deps: SettingsDeps): Settings {
  const follower = Promise.withResolvers<Apply>();
  const state: State = {
    ...deps,
    current: deps.loaded,
    refused: [],
    waiting: [],
    odd: deps.loaded.warnings.map(problemText),
  };
  const inTurn = createSerial();
  return {
    get current() {
      return state.current;
    },
    get warnings() {
      return [refusalText(state.refused), ...state.waiting].filter((text) => text !== "");
    },
    follow: follower.resolve,
    reload: () => inTurn(async () => await reload(state, await follower.promise)),
    savedKey(key, profile = defaultProfile) {
      const { config, origins } = state.current;
      const below = profile === defaultProfile ? [] : ["profiles", profile];
      const name = [...below, "api.key"].join(".");
      if (name === "api.key" && origins[name].startsWith("environment")) return;
      state.current = {
        ...state.current,
        config: withValueAt(config, [...below, "api", "key"], key) as Config,
        origins: { ...origins, [name]: "file" },
      };
    },
  };
}

interface State extends Pick<SettingsDeps, "read" | "check" | "log"> {
  current: Loaded;
  /** Why the configuration in the file cannot be used. */
  refused: readonly Problem[];
  /** Changes that need a restart, a sentence each. */
  waiting: readonly string[];
  /** Unknown keys and the like, a sentence each. */
  odd: readonly string[];
}

async function reload(state: State, apply: Apply): Promise<ReloadReport> {
  const { current: before, log } = state;
  const { loaded: next, problems, warnings } = await inspect(state);
  noteRefused(state, problems);
  noteOdd(state, warnings);
  const changes = next === undefined ? [] : changesBetween(before, next);
  if (next !== undefined) {
    state.current = afterReload(before, next);
    noteWaiting(state, changes);
    await takeOver(changes, apply, log);
  }
  return {
    ok: next !== undefined,
    config_path: before.path,
    changes,
    problems: [...problems],
    warnings: [...warnings],
  };
}

async function inspect({
  read,
  check,
  current,
}: State): Promise<Pick<Inspection, "loaded" | "problems" | "warnings">> {
  try {
    const inspection = await read();
    const { loaded: next } = inspection;
    if (next === undefined) return inspection;
    const problems = [...lossOf(inspection, current, next), ...(await check(next, current))];
    return problems.length === 0 ? inspection : { ...inspection, problems, loaded: undefined };
  } catch (error) {
    const message = reasonOf(error).replace(
      `Cannot read the configuration "${current.path}"`,
      "it cannot be read",
    );
    return {
      loaded: undefined,
      warnings: [],
      problems: [{ kind: "wrong-value", source: current.path, message }],
    };
  }
}

async function takeOver(changes: readonly Change[], apply: Apply, log: Log): Promise<void> {
  const effective = changes.filter(({ counts }) => counts === "now");
  if (effective.length === 0) return;
  await apply(jobsOf(effective));
  log.info(`Reloaded the configuration: ${effective.map(changeText).join("; ")}`);
}

function noteRefused(state: State, problems: readonly Problem[]): void {
  const { current, log } = state;
  const [before, now] = [refusalText(state.refused), refusalText(problems)];
  state.refused = problems;
  if (now === before) return;
  if (now === "") log.info(`The configuration "${current.path}" is valid again`);
  else log.warn(now, { hint: configError(current.path, problems).hint });
}

function noteWaiting(state: State, changes: readonly Change[]): void {
  const before = state.waiting;
  state.waiting = changes.filter(({ counts }) => counts === "restart").map(waitingText);
  for (const text of state.waiting) if (!before.includes(text)) state.log.warn(text);
}

function noteOdd(state: State, warnings: readonly Problem[]): void {
  const before = state.odd;
  state.odd = warnings.map(problemText);
  for (const text of state.odd) if (!before.includes(text)) state.log.warn(text);
}

/**
 * A file that is missing or empty would set every setting to its default, and
 * delete the API key. That is a mistake of a person or an editor.
 */
function lossOf({ exists, blank }: Inspection, before: Loaded, next: Loaded): Problem[] {
  if ((exists && !blank) || changesBetween(before, next).length === 0) return [];
  const what = exists ? "it is empty now" : "there is no such file any more";
  return [
    {
      kind: "wrong-value",
      source: before.path,
      message: `${what}; if this is intended, restart the daemon`,
    },
  ];
}

/** At most this many problems are shown; `config check` shows all. */
const shown = 5;

/** Empty if there are no problems. */
function refusalText(problems: readonly Problem[]): string {
  if (problems.length === 0) return "";
  const rest = problems.length > shown ? `; and ${problems.length - shown} more` : "";
  const texts = problems.slice(0, shown).map(problemText).join("; ");
  return `The configuration cannot be used, and the daemon keeps the one in effect: ${texts}${rest}`;
}

const changeText = ({ key, to }: Change): string => `${key} is ${valueCode(to)}`;

const waitingText = ({ key, from, to }: Change): string =>
  `${key} has changed to ${valueCode(to)}, which needs a restart of the daemon; until then it is ${valueCode(from)}`;
