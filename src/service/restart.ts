import type { Stats } from "node:fs";
import { lstat } from "node:fs/promises";
import { thisManager, unitFile } from "./manage.ts";
import { type ServiceState, serviceState } from "./service-state.ts";
import type { Manager } from "./service-steps.ts";
import { dropInFolder, unitName } from "./systemd.ts";

/** How `service restart` changes to the program of the unit. */
export type RestartWay =
  /** The daemon hands over to this program. */
  | { readonly kind: "handover"; readonly program: string }
  /** The service manager stops the daemon and starts it; why it has to. */
  | { readonly kind: "manager"; readonly why: string };

export interface RestartFacts {
  readonly manager: Manager["kind"];
  readonly state: Pick<ServiceState, "state" | "pid" | "needs_reload">;
  /** The process that answers on the control socket. */
  readonly answering: number;
  /** The text of the unit, if it is ours. */
  readonly unit: string | undefined;
  /** Milliseconds since the epoch; undefined if it is unknown. */
  readonly startedAt: number | undefined;
  /** The latest change of the unit and of its drop-ins. */
  readonly changedAt: number;
}

/**
 * Pure: a handover keeps the environment and the rights of the process, so a
 * changed unit needs a real restart.
 */
export function restartWay(facts: RestartFacts): RestartWay {
  const { state, answering, unit, startedAt, changedAt } = facts;
  const manager = (why: string): RestartWay => ({ kind: "manager", why });
  if (state.state !== "active" || state.pid === null) return manager("it does not run");
  if (facts.manager !== "systemd") return manager(`${facts.manager} keeps to one process`);
  if (answering !== state.pid) return manager("another daemon answers");
  if (unit === undefined) return manager("its unit was not made by ngrokd");
  if (state.needs_reload || startedAt === undefined || changedAt >= startedAt)
    return manager("its unit has changed since it was started");
  const program = programIn(unit);
  return program === undefined
    ? manager("its unit names no program")
    : { kind: "handover", program };
}

/** Pure: the program that a unit of ours starts. */
export function programIn(unit: string): string | undefined {
  const [, quoted, plain] = /^ExecStart=(?:"((?:[^"\\]|\\.)+)"|(\S+))/m.exec(unit) ?? [];
  const text = quoted?.replaceAll(/\\(.)/g, "$1") ?? plain;
  return text?.replaceAll("%%", "%").replaceAll("$$", "$");
}

/** The facts of this machine. `answering` as in {@link RestartFacts}. */
export async function restartFacts(answering: number): Promise<RestartFacts> {
  const manager = thisManager();
  const there = await unitFile(manager);
  const changes = await Promise.all([manager.path, dropInFolder(manager)].map(changeOf));
  return {
    manager: manager.kind,
    state: await serviceState(manager),
    answering,
    unit: there.kind === "ours" ? there.text : undefined,
    startedAt: await startOf(manager),
    changedAt: Math.max(0, ...changes.flatMap((at) => at ?? [])),
  };
}

/** systemd makes this link at each start of a unit. */
const startOf = async ({ kind }: Manager): Promise<number | undefined> =>
  kind === "systemd" ? await changeOf(`/run/systemd/units/invocation:${unitName}`) : undefined;

const changeOf = async (path: string): Promise<number | undefined> =>
  await lstat(path).then(
    ({ mtimeMs }: Stats) => mtimeMs,
    () => undefined,
  );
