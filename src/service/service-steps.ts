import { dirname } from "node:path";
import { socketGroup } from "../model/access.ts";
import { macLabel, macLogPath, plistText } from "./plist.ts";
import type { ServiceFacts } from "./service-facts.ts";
import { unitText } from "./unit.ts";

/** One step of an action. `--dry-run` prints the steps. */
export type Step =
  | { readonly kind: "folder"; readonly path: string; readonly mode: number }
  | { readonly kind: "write"; readonly path: string; readonly text: string; readonly mode: number }
  | { readonly kind: "remove"; readonly path: string }
  /** `mayFail`: a failure means that there was nothing to do. */
  | { readonly kind: "run"; readonly command: Command; readonly mayFail?: true };

/** The absolute path of a program, and its arguments. */
export type Command = readonly [program: string, ...words: string[]];

/** A service manager. */
export interface Manager {
  readonly kind: "systemd" | "launchd";
  /** The file that describes the service. */
  readonly path: string;
  readonly text: (facts: ServiceFacts) => string;
  readonly programs: { readonly control: string; readonly logs: string };
  /** Undefined if the group of the socket is not made here. */
  readonly groups?: { readonly add: string; readonly change: string };
}

export const unitName = "ngrokd.service";

/** `find` returns the first path that exists. */
export function systemd(find: (paths: readonly string[]) => string): Manager {
  const programs = {
    control: find(["/usr/bin/systemctl", "/bin/systemctl"]),
    logs: find(["/usr/bin/journalctl", "/bin/journalctl"]),
  };
  const groups = {
    add: find(["/usr/sbin/groupadd", "/sbin/groupadd"]),
    change: find(["/usr/sbin/usermod", "/sbin/usermod"]),
  };
  const path = `/etc/systemd/system/${unitName}`;
  return { kind: "systemd", path, text: unitText, programs, groups };
}

export const launchd: Manager = {
  kind: "launchd",
  path: `/Library/LaunchDaemons/${macLabel}.plist`,
  text: plistText,
  programs: { control: "/bin/launchctl", logs: "/usr/bin/tail" },
};

export interface InstallChoices {
  /** The file exists and has the wanted text. */
  readonly same: boolean;
  readonly start: boolean;
  /** A user who becomes a member of the socket's group. */
  readonly member?: string | undefined;
}

/**
 * Pure: the steps of an installation. Folders come first, since systemd refuses
 * a unit that may write into a missing one.
 */
export function installSteps(
  manager: Manager,
  facts: ServiceFacts,
  { same, start, member }: InstallChoices,
): Step[] {
  const { control } = manager.programs;
  const write: Step = { kind: "write", path: manager.path, text: manager.text(facts), mode: 0o644 };
  const steps: Step[] = [...new Set(facts.folders)].map((path) => ({
    kind: "folder",
    path,
    mode: 0o700,
  }));
  if (member !== undefined) steps.push(...memberSteps(manager, member));
  if (!same) steps.push(write);
  if (manager.kind === "launchd") {
    if (!same) steps.push({ kind: "run", command: [control, "bootout", macTarget], mayFail: true });
    steps.push({ kind: "run", command: [control, "enable", macTarget] });
    if (start) steps.push({ kind: "run", command: [control, "bootstrap", "system", manager.path] });
    return steps;
  }
  if (!same) steps.push({ kind: "run", command: [control, "daemon-reload"] });
  steps.push({ kind: "run", command: [control, "enable", "--quiet", unitName] });
  if (start) steps.push({ kind: "run", command: [control, "start", unitName] });
  return steps;
}

/** Pure: before the daemon starts, which gives its socket to the group. */
function memberSteps({ groups }: Manager, member: string): Step[] {
  if (groups === undefined) return [];
  return [
    { kind: "run", command: [groups.add, "--force", "--system", socketGroup] },
    { kind: "run", command: [groups.change, "--append", "--groups", socketGroup, member] },
  ];
}

/** Pure: whether a systemd unit was written by the Go program's installer. */
export const isOfTheGoProgram = (unit: string): boolean =>
  /^ExecStart=(?:"?\/[^\s"]*)?\/ngrokd"?(?: run)?(?: --?config[= ]\S+)?(?: -v)?\s*$/m.test(unit);

/**
 * Pure: the Go program's daemon stops, and its unit stays beside the new one.
 */
export function takeOverSteps({ path, programs: { control } }: Manager, unit: string): Step[] {
  return [
    { kind: "run", command: [control, "stop", unitName] },
    { kind: "write", path: `${path}.go-program`, text: unit, mode: 0o644 },
  ];
}

/** Pure: the steps of a removal. */
export function uninstallSteps({ kind, path, programs: { control } }: Manager): Step[] {
  if (kind === "launchd") {
    return [
      { kind: "run", command: [control, "bootout", macTarget], mayFail: true },
      { kind: "remove", path },
    ];
  }
  return [
    { kind: "run", command: [control, "disable", "--quiet", "--now", unitName] },
    { kind: "remove", path },
    { kind: "run", command: [control, "daemon-reload"] },
    { kind: "run", command: [control, "reset-failed", unitName], mayFail: true },
  ];
}

export type Verb = "start" | "stop" | "restart";

/** Pure: the step of a verb. */
export function verbSteps({ kind, path, programs: { control } }: Manager, verb: Verb): Step[] {
  if (kind === "systemd") return [{ kind: "run", command: [control, verb, unitName] }];
  const commands: Readonly<Record<Verb, Command>> = {
    start: [control, "bootstrap", "system", path],
    stop: [control, "bootout", macTarget],
    restart: [control, "kickstart", "-k", macTarget],
  };
  return [{ kind: "run", command: commands[verb] }];
}

/** Pure: shows the last `lines`, and with `follow` also later ones. */
export function logsCommand(
  { kind, programs: { logs } }: Manager,
  { lines, follow }: { lines: number; follow: boolean },
): Command {
  if (kind === "launchd") return [logs, "-n", `${lines}`, ...(follow ? ["-F"] : []), macLogPath];
  return [
    logs,
    "--unit",
    unitName,
    "--output",
    "cat",
    "--lines",
    `${lines}`,
    ...(follow ? ["--follow"] : ["--no-pager"]),
  ];
}

/** Pure: `key=value` lines, or launchd's own text. */
export function showCommand({ kind, programs: { control } }: Manager): Command {
  return kind === "launchd"
    ? [control, "print", macTarget]
    : [control, "show", unitName, `--property=${shownProperties.join(",")}`];
}

export const shownProperties = [
  "LoadState",
  "ActiveState",
  "SubState",
  "UnitFileState",
  "MainPID",
  "StatusText",
  "NRestarts",
  "Result",
  "FragmentPath",
  "NeedDaemonReload",
  "ActiveEnterTimestamp",
] as const;

const macTarget = `system/${macLabel}`;

/** The unit's paths in systemd's other folders. A file there is foreign. */
export const foreignUnits = [
  "/run/systemd/system",
  "/usr/local/lib/systemd/system",
  "/usr/lib/systemd/system",
  "/lib/systemd/system",
].map((folder) => `${folder}/${unitName}`);

/** The folder for changes of the administrator, which ngrokd never touches. */
export const dropInFolder = (manager: Manager): string => `${dirname(manager.path)}/${unitName}.d`;
