import { accessSync, constants, existsSync, readFileSync } from "node:fs";
import process from "node:process";
import { inspectConfig, readConfigFile } from "../config/load.ts";
import type { Loaded } from "../config/loaded.ts";
import type { Env } from "../config/paths.ts";
import { configError, type Problem, problemText, withHint } from "../config/problem.ts";
import { configTemplate } from "../config/template.ts";
import { targetOf } from "../config/write.ts";
import { isAlive } from "../control/alive.ts";
import { trustFolder } from "../ingress/ngrok-ca.ts";
import { resolverFacts, resolverNeeds } from "../machine/resolver/facts.ts";
import { wayFor } from "../machine/resolver/way.ts";
import { groupIn, isUserName, socketGroup } from "../model/access.ts";
import { hintOf, reasonOf } from "../model/error.ts";
import type { Net } from "../net/types.ts";
import { managerRuns, planInstall, thisManager, unitFile } from "../service/manage.ts";
import { serviceState } from "../service/service-state.ts";
import { refuseExposed, serviceFacts } from "../service/this-service.ts";
import { type Ability, type Facts, isServiceSetUp, type Scope } from "./facts.ts";
import type { ServiceDraft } from "./plan.ts";

export interface Place {
  readonly net: Net;
  /** Of this process. */
  readonly env: Env;
  /** The configuration; undefined for the usual one. */
  readonly config: string | undefined;
  readonly socket: string | undefined;
}

/**
 * The configuration as the daemon of a service would have it, without the
 * variables that have a key.
 */
export interface Reading {
  readonly text: string | undefined;
  readonly path: string;
  readonly problems: readonly Problem[];
  /** Undefined if there are problems. */
  readonly loaded: Loaded | undefined;
}

/** Rejects as `inspectConfig` does, but not for a missing file. */
export async function readConfiguration(place: Place, path: string): Promise<Reading> {
  const source = await readConfigFile(await targetOf(path));
  const { problems, loaded } = await readDraft(place, source?.text ?? configTemplate());
  return { text: source?.text, path, problems, loaded };
}

/** The configuration with another text in its file. */
export const readDraft = (place: Place, draft: string) =>
  inspectConfig({
    file: place.config,
    env: withoutKey(place.env),
    flags: { "server.socket_path": place.socket },
    draft,
  });

const withoutKey = (env: Env): Env => ({
  ...env,
  NGROK_API_KEY: undefined,
  NGROK_API_KEY_FILE: undefined,
});

/** Pure: otherwise the faults are in variables or flags. */
export const isFileBroken = ({ path, problems }: Reading): boolean =>
  problems.some(({ source }) => source === path);

/** The error for a file with faults, which is not touched unless asked for. */
export function brokenConfig({ path, problems }: Reading): unknown {
  return withHint(
    configError(path, problems),
    "`ngrokd setup --set-aside` keeps it beside, and begins with a new one",
  );
}

export const problemLines = ({ problems }: Reading): string[] =>
  problems.slice(0, 20).map((problem) => problemText(problem));

/** Reads all facts, and changes nothing. Rejects if the file is broken. */
export async function gatherFacts(place: Place, scope: Scope, reading: Reading): Promise<Facts> {
  const usable = reading.loaded ?? (await readDraft(place, configTemplate())).loaded ?? undefined;
  if (usable === undefined) throw brokenConfig(reading);
  const isBroken = reading.loaded === undefined;
  const text = isBroken ? undefined : reading.text;
  const common = { scope, loaded: usable, text, isBroken };
  const { interface_name } = usable.config.net;
  const found = await resolverFacts(interface_name, true);
  const way = wayFor({ ...found, link: true }, "127.0.0.1").kind;
  if (scope === "user") return { ...common, ...forOneUser, way };
  const sudoUser = place.env.SUDO_USER ?? "";
  const facts: Facts = {
    ...common,
    way,
    isRunning: await isAlive(place.net, usable.config.server.socket_path),
    ...(await managed()),
    sudoUser: isUserName(sudoUser) && sudoUser !== "root" ? sudoUser : undefined,
    members: groupIn(textOf("/etc/group"), socketGroup)?.members,
    abilities: {
      interface: interfaceAbility(),
      service: { can: true },
      group: groupAbility(),
    },
  };
  const draft = facts.text ?? configTemplate();
  const service = await able(async () => {
    const manager = thisManager();
    if (!managerRuns(manager)) return `${manager.kind} does not run here`;
    await draftService(place, facts, { draft, takeOver: true, member: undefined });
    return undefined;
  });
  return { ...facts, abilities: { ...facts.abilities, service } };
}

const needsRoot: Ability = { can: false, why: "it needs root", hint: undefined };
const forOneUser = {
  isRunning: false,
  unit: "none",
  service: { isUp: false, isAtBoot: false },
  sudoUser: undefined,
  members: undefined,
  abilities: { interface: needsRoot, service: needsRoot, group: needsRoot },
} as const;

async function managed(): Promise<Pick<Facts, "unit" | "service">> {
  try {
    const manager = thisManager();
    const { kind } = await unitFile(manager);
    if (kind !== "ours" && kind !== "packaged") return { unit: kind, service: nothing };
    const { state, at_boot } = await serviceState(manager);
    return { unit: kind, service: { isUp: state === "active", isAtBoot: at_boot === "enabled" } };
  } catch {
    // What is wrong becomes the reason of the ability.
    return { unit: "none", service: nothing };
  }
}

const nothing = { isUp: false, isAtBoot: false };

export interface ServiceWish {
  /** The text that the configuration is going to have. */
  readonly draft: string;
  readonly takeOver: boolean;
  readonly member: string | undefined;
  readonly start?: boolean;
}

/**
 * What `ngrokd service install` would do. Rejects as it does, also if others
 * can change what the service trusts.
 */
export async function draftService(
  { env, config, socket }: Place,
  facts: Facts,
  { draft, takeOver, member, start = true }: ServiceWish,
): Promise<ServiceDraft> {
  const manager = thisManager();
  const service = await serviceFacts({
    config,
    socket,
    env: withoutKey(env),
    trustFolder,
    draft,
    resolver: resolverNeeds(),
  });
  refuseExposed(service.exposed);
  const { steps, before, path } = await planInstall(manager, service.facts, {
    start,
    takeOver,
    member,
  });
  const isSettled = before === "same" && isServiceSetUp(facts);
  const remarks = isSettled ? [] : service.remarks;
  return { steps, before, path, stateFolder: service.stateFolder, remarks };
}

/** `work` returns or throws the reason why not. */
async function able(work: () => Promise<string | undefined>): Promise<Ability> {
  try {
    const why = await work();
    return why === undefined ? { can: true } : { can: false, why, hint: undefined };
  } catch (error) {
    return { can: false, why: reasonOf(error), hint: hintOf(error) };
  }
}

/** Bit 12 of a process's rights. */
const netAdmin = 1n << 12n;

function interfaceAbility(): Ability {
  if (process.platform === "darwin") return { can: true };
  const no = (why: string): Ability => ({ can: false, why, hint: undefined });
  try {
    accessSync("/dev/net/tun", constants.F_OK);
  } catch {
    return no("there is no /dev/net/tun");
  }
  const [, rights = "0"] = /^CapBnd:\s*([0-9a-f]+)$/m.exec(textOf("/proc/self/status")) ?? [];
  return (BigInt(`0x${rights}`) & netAdmin) === 0n
    ? no("the right CAP_NET_ADMIN is missing, as in most containers")
    : { can: true };
}

function groupAbility(): Ability {
  // The name does not matter here.
  const steps = thisManager().addMember?.("root") ?? [];
  const programs = steps.flatMap((step) => (step.kind === "run" ? [step.command[0]] : []));
  return programs.length > 0 && programs.every((program) => existsSync(program))
    ? { can: true }
    : { can: false, why: "this system has no groupadd and usermod", hint: undefined };
}

function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
