import { join } from "node:path";
import { macLabel, macLogPath, plistText } from "./plist.ts";
import type {
  Answer,
  Command,
  InstallChoices,
  Manager,
  ManagerReport,
  RunStep,
  Step,
} from "./service-steps.ts";

/** Where things are on macOS; tests have other places. */
export interface LaunchdPlaces {
  readonly control: string;
  readonly logs: string;
  /** The folder of the property lists. */
  readonly folder: string;
}

const usualPlaces: LaunchdPlaces = {
  control: "/bin/launchctl",
  logs: "/usr/bin/tail",
  folder: "/Library/LaunchDaemons",
};

/** A service has the drain timeout and its reserve before it is killed. */
const longestUnloadMs = 120_000;

// The exit codes of launchctl are error numbers of macOS.
/** Input/output error: launchd still removes the service of this label. */
const stillUnloading = 5;
const [noProcess, inProgress, alreadyRuns] = [3, 36, 37];

/**
 * Pure: launchd by launchctl(1). Its verbs fail if there is nothing to do
 * (`bootstrap` of a loaded service: 5, `bootout` of one that is not: 3), and
 * `bootout` returns before the service has ended. So each is asked for only if
 * it is needed, and the end is waited for.
 */
export function launchd(places: LaunchdPlaces = usualPlaces): Manager {
  const { control, logs, folder } = places;
  const path = join(folder, `${macLabel}.plist`);
  const target = `system/${macLabel}`;
  const loaded: Command = [control, "print", target];
  const call = (words: readonly string[], more: Omit<RunStep, "kind" | "command"> = {}): Step => ({
    kind: "run",
    command: [control, ...words],
    ...more,
  });
  const unload: readonly Step[] = [
    call(["bootout", target], {
      mayFail: [noProcess, inProgress],
      if: { command: loaded, succeeds: true },
    }),
    { kind: "wait", command: loaded, limitMs: longestUnloadMs },
  ];
  const load = call(["bootstrap", "system", path], {
    if: { command: loaded, succeeds: false },
    againOn: stillUnloading,
  });
  // A loaded service may have ended by itself. One that runs goes on.
  const wake = call(["kickstart", target], {
    mayFail: [alreadyRuns],
    if: { command: loaded, succeeds: true },
  });
  return {
    kind: "launchd",
    path,
    text: plistText,
    activate: ({ same, start }: Pick<InstallChoices, "same" | "start">) => [
      ...(same ? [] : unload),
      call(["enable", target]),
      ...(start ? [wake, load] : []),
    ],
    uninstall: () => [...unload, { kind: "remove", path }],
    verb: (verb) =>
      (({ start: [wake, load], stop: unload, restart: [...unload, load] }) as const)[verb],
    logs: ({ lines, follow }) => [logs, "-n", `${lines}`, ...(follow ? ["-F"] : []), macLogPath],
    questions: [loaded, [control, "print-disabled", "system"]],
    report: ([printed, disabled]) => readPrinted(printed, disabled),
  };
}

const noAnswer: Answer = { code: 1, out: "" };

/**
 * Pure: reads the output of `launchctl print` and of `print-disabled`. Their
 * formats are not stable, so only simple lines are used.
 */
export function readPrinted(
  { code, out }: Answer = noAnswer,
  disabled: Answer = noAnswer,
): ManagerReport {
  const value = (name: string): string =>
    new RegExp(`^\\t${name} = (.*)$`, "m").exec(out)?.[1]?.trim() ?? "";
  const pid = Number(value("pid"));
  const ended = value("last exit code");
  const result = /^[1-9]/.test(ended) ? `exit code ${ended}` : "";
  const isDisabled = new RegExp(`"${macLabel}" => (?:disabled|true)`).test(disabled.out);
  return {
    state: code === 0 ? stateIn(value("state"), result) : "inactive",
    detail: value("state"),
    at_boot: isDisabled ? "disabled" : "enabled",
    pid: pid > 0 ? pid : null,
    says: "",
    since: "",
    restarts: Math.max(0, (Number(value("runs")) || 1) - 1),
    result,
    needs_reload: false,
  };
}

function stateIn(word: string, result: string): string {
  if (word === "running") return "active";
  if (word === "not running") return result === "" ? "inactive" : "failed";
  return word === "" ? "unknown" : word;
}
