/**
 * setup/ leads a newcomer from an installed program to the first endpoint: it
 * looks at the machine, asks for what is missing, shows the plan, carries it
 * out, and ends with the doctor. facts, modes and plan are pure.
 */
import process from "node:process";
import { configPath, type Env } from "../config/paths.ts";
import { configError } from "../config/problem.ts";
import { keysOf } from "../config/profiles.ts";
import { configTemplate } from "../config/template.ts";
import { withWishes } from "../config/write.ts";
import type { ListItem } from "../desk/reply-schemas.ts";
import { NgrokdError } from "../model/error.ts";
import type { Net } from "../net/types.ts";
import type { Say } from "../terminal/say.ts";
import { type Ask, cancelled } from "./ask.ts";
import { carryOutPlan } from "./carry-out.ts";
import { type Ending, endingOf } from "./ending.ts";
import type { Answers, Facts, KeyAnswer, Scope, Wishes } from "./facts.ts";
import {
  brokenConfig,
  draftService,
  gatherFacts,
  isFileBroken,
  type Place,
  problemLines,
  type Reading,
  readConfiguration,
  readDraft,
} from "./gather-facts.ts";
import { answersFor, interview, modesText } from "./interview.ts";
import { keyAnswer } from "./key.ts";
import { modesOf, wishesFor } from "./modes.ts";
import { checkService, newMember, type Plan, planOf, startsNow } from "./plan.ts";
import { planText } from "./plan-text.ts";

export interface SetupOptions {
  readonly net: Net;
  readonly env: Env;
  readonly say: Say;
  /** The values of `--config` and `--socket`. */
  readonly config: string | undefined;
  readonly socket: string | undefined;
  readonly wishes: Wishes;
  /** For this user alone; otherwise it is asked if this is not root. */
  readonly forUser: boolean;
  /** The configuration of this user alone. */
  readonly userConfig: string;
  readonly keyFile: string | undefined;
  /** The key is saved without a question to ngrok. */
  readonly offline: boolean;
  /** Move a broken configuration aside, and begin with a new one. */
  readonly setAside: boolean;
  /** Only show the plan. */
  readonly dryRun: boolean;
  /** Do it without a question. */
  readonly yes: boolean;
  /** Ask about what has been set up, too. */
  readonly all: boolean;
  /** Undefined if nobody can be asked. */
  readonly ask: Ask | undefined;
  readonly commands: Commands;
}

/** The commands that setup uses, for a configuration. */
export interface Commands {
  readonly askKey: () => Promise<string>;
  readonly readStdin: () => Promise<string>;
  readonly giveKey: (key: string, config: string | undefined, offline: boolean) => Promise<unknown>;
  readonly reload: (config: string | undefined) => Promise<unknown>;
  readonly untilReady: (config: string | undefined) => Promise<unknown>;
  readonly list: (config: string | undefined) => Promise<readonly ListItem[]>;
  /** Read once the changes begin: signals no longer end the process then. */
  readonly stop: () => AbortSignal;
}

export interface Outcome {
  readonly plan: Plan;
  readonly facts: Facts;
  /** Undefined for a dry run, and if there is no daemon to wait for. */
  readonly ending: Ending | undefined;
  /** The command that runs the daemon without a service. */
  readonly serve: string;
}

/**
 * Rejects with NgrokdError `usage` if something is missing that cannot be
 * asked, `cancelled` if the user ends it, and with the errors of each step.
 * Before the user has agreed to the plan, nothing is changed.
 */
export async function setup(options: SetupOptions): Promise<Outcome> {
  const { say, dryRun, commands } = options;
  const scope = await scopeOf(options);
  const place = placeFor(options, scope);
  if (options.ask !== undefined)
    say.note("Nothing is changed before you have seen the plan. Ctrl-C ends it at any time.\n");
  const reading = await usableReading(place, options);
  const facts = await gatherFacts(place, scope, reading);
  const key = await keyFor(facts, options);
  const answers = await answersOf(facts, options);
  const plan = await planFor(place, facts, answers, key);
  const serve = serveCommand(facts, options);
  if (dryRun) return { plan, facts, ending: undefined, serve };
  if (plan.changes.length === 0) say.note(unchangedText(facts));
  else {
    await agree(plan, options);
    const hands = {
      say,
      stop: commands.stop(),
      giveKey: (text: string, offline: boolean) => commands.giveKey(text, place.config, offline),
      reload: () => commands.reload(place.config),
    };
    await carryOutPlan(plan, facts, key, hands);
  }
  const starts = plan.changes.some((change) => change.kind === "service" && change.start);
  const waits = scope === "machine" && (facts.isRunning || starts);
  const ending = waits
    ? await endingOf({
        place,
        say,
        untilReady: () => commands.untilReady(place.config),
        list: () => commands.list(place.config),
        stop: commands.stop(),
      })
    : undefined;
  return { plan, facts, ending, serve };
}

const isRoot = (): boolean => process.getuid?.() === 0;

async function scopeOf({ forUser, config, env, dryRun, ask }: SetupOptions): Promise<Scope> {
  if (forUser && isRoot())
    throw new NgrokdError("usage", "--user sets up a user without root, and this is root", {
      hint: "run it without sudo",
    });
  if (forUser) return "user";
  const isNamed = configPath(config, env).origin !== "default";
  if (isRoot() || dryRun || (isNamed && ask === undefined)) return "machine";
  const choice = await ask?.choose(
    "You are not root. For whom do you set up ngrokd?",
    [
      {
        value: "user",
        name: "For me alone, without root",
        about: "`ngrokd exec` and `ngrokd connect` reach your endpoints. Nothing else changes.",
      },
      {
        value: "machine",
        name: "For all programs of this machine",
        about: "The names work everywhere. That needs root.",
      },
    ],
    "user",
  );
  if (choice === "user" || (choice === "machine" && isNamed)) return choice;
  throw new NgrokdError("permission", "Cannot set up this machine: that needs root", {
    hint: `\`sudo ${ownCommand()} setup\` does it; \`ngrokd setup --user\` needs no root, and is for you alone`,
  });
}

/** sudo has a PATH of its own, without the folders of users. */
const ownCommand = (): string =>
  /^\/usr\/(?:local\/)?s?bin\/|^\/s?bin\//.test(process.execPath) ? "ngrokd" : process.execPath;

function serveCommand({ loaded, sudoUser }: Facts, { config, env }: SetupOptions): string {
  const sudo = isRoot() && sudoUser === undefined ? "" : "sudo ";
  const named = configPath(config, env).origin === "default" ? "" : ` --config ${loaded.path}`;
  return `${sudo}${ownCommand()} serve${named}`;
}

function placeFor({ net, env, config, socket, userConfig }: SetupOptions, scope: Scope): Place {
  const named = configPath(config, env);
  const own = scope === "user" && named.origin === "default" ? userConfig : undefined;
  return { net, env, config: own ?? config, socket };
}

/** Rejects if the configuration is broken, and is not to be set aside. */
async function usableReading(place: Place, { say, ask, setAside }: SetupOptions): Promise<Reading> {
  const reading = await readConfiguration(place, configPath(place.config, place.env).path);
  if (reading.loaded !== undefined) return reading;
  if (!isFileBroken(reading)) throw configError(reading.path, reading.problems);
  if (setAside) return reading;
  if (ask === undefined) throw brokenConfig(reading);
  for (const line of problemLines(reading)) say.warn(line);
  const choice = await ask.choose(
    `The configuration "${reading.path}" cannot be used. What now?`,
    [
      { value: "stop", name: "Leave it as it is, and end here" },
      { value: "set-aside", name: "Keep it beside under another name, and begin with a new one" },
    ],
    "stop",
  );
  if (choice === "stop") throw brokenConfig(reading);
  return reading;
}

const keyFor = (facts: Facts, options: SetupOptions): Promise<KeyAnswer> =>
  keyAnswer({
    net: options.net,
    env: options.env,
    say: options.say,
    loaded: facts.loaded,
    file: options.keyFile,
    offline: options.offline,
    dryRun: options.dryRun,
    readStdin: options.commands.readStdin,
    askKey: options.ask === undefined ? undefined : options.commands.askKey,
  });

async function answersOf(facts: Facts, { ask, wishes, all }: SetupOptions): Promise<Answers> {
  const answers =
    ask === undefined ? answersFor(facts, wishes) : await interview(ask, facts, wishes, { all });
  checkService(facts, answers);
  return answers;
}

async function planFor(
  place: Place,
  facts: Facts,
  answers: Answers,
  key: KeyAnswer,
): Promise<Plan> {
  const { path } = facts.loaded;
  const wishes = facts.scope === "user" ? [] : wishesFor(facts, answers);
  const draft = withWishes(facts.text ?? configTemplate(), wishes, path);
  const { loaded: after } = await readDraft(place, draft);
  if (after === undefined)
    throw new NgrokdError("config", `Cannot change "${path}": the result would be wrong`, {
      hint: "change it by hand, with `ngrokd config edit`",
    });
  const service = answers.service
    ? await draftService(place, facts, {
        draft,
        takeOver: answers.takeOver,
        member: newMember(facts, answers.member),
        start: startsNow(facts),
      })
    : undefined;
  return planOf({ facts, answers, key, wishes, after, service });
}

async function agree(plan: Plan, { say, ask, yes }: SetupOptions): Promise<void> {
  say.note(planText(plan, say.paint, say.width));
  if (yes) return;
  if (ask === undefined)
    throw new NgrokdError(
      "usage",
      "Nothing was changed: this needs a confirmation, and there is no terminal to ask on",
      { hint: "--yes carries out the plan without a question" },
    );
  if (!(await ask.confirm("Go on?", true))) throw cancelled();
}

function unchangedText({ scope, loaded }: Facts): string {
  const modes = scope === "user" ? "" : `, with ${modesText(modesOf(loaded.config))}`;
  const key = keysOf(loaded).length > 0 ? " has a key" : "";
  return (
    `Nothing to change: ${loaded.path}${key}${modes}.\n` +
    "`ngrokd setup --ask-all` asks about everything, and its other flags change single parts.\n"
  );
}
