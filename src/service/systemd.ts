import { dirname } from "node:path";
import { socketGroup } from "../model/access.ts";
import type { Answer, Manager, ManagerReport, Step } from "./service-steps.ts";
import { unitText } from "./unit.ts";

export const unitName = "ngrokd.service";

/** Pure but for `find`, which returns the first path that exists. */
export function systemd(find: (paths: readonly string[]) => string): Manager {
  const control = find(["/usr/bin/systemctl", "/bin/systemctl"]);
  const logs = find(["/usr/bin/journalctl", "/bin/journalctl"]);
  const addGroup = find(["/usr/sbin/groupadd", "/sbin/groupadd"]);
  const changeUser = find(["/usr/sbin/usermod", "/sbin/usermod"]);
  const path = `/etc/systemd/system/${unitName}`;
  const call = (...words: string[]): Step => ({ kind: "run", command: [control, ...words] });
  return {
    kind: "systemd",
    path,
    text: unitText,
    activate: ({ same, start }) => [
      ...(same ? [] : [call("daemon-reload")]),
      call("enable", "--quiet", unitName),
      ...(start ? [call("start", unitName)] : []),
    ],
    uninstall: () => [
      call("disable", "--quiet", "--now", unitName),
      { kind: "remove", path },
      call("daemon-reload"),
      { kind: "run", command: [control, "reset-failed", unitName], mayFail: true },
    ],
    verb: (verb) => [call(verb, unitName)],
    logs: ({ lines, follow }) => [
      ...([logs, "--unit", unitName, "--output", "cat"] as const),
      ...["--lines", `${lines}`, follow ? "--follow" : "--no-pager"],
    ],
    questions: [[control, "show", unitName, `--property=${shownProperties.join(",")}`]],
    report: ([shown]) => readShown(shown),
    addMember: (user) => [
      { kind: "run", command: [addGroup, "--force", "--system", socketGroup] },
      { kind: "run", command: [changeUser, "--append", "--groups", socketGroup, user] },
    ],
  };
}

/** Pure: whether a systemd unit was written by the Go program's installer. */
export const isOfTheGoProgram = (unit: string): boolean =>
  /^ExecStart=(?:"?\/[^\s"]*)?\/ngrokd"?(?: run)?(?: --?config[= ]\S+)?(?: -v)?\s*$/m.test(unit);

/**
 * Pure: the Go program's daemon stops, and its unit stays beside the new one.
 */
export const takeOverSteps = ({ path, verb }: Manager, unit: string): Step[] => [
  ...verb("stop"),
  { kind: "write", path: `${path}.go-program`, text: unit, mode: 0o644 },
];

const shownProperties = [
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

/** Pure: reads the output of `systemctl show`. */
export function readShown({ code, out }: Answer = { code: 1, out: "" }): ManagerReport {
  const values = new Map(
    out.split("\n").map((line) => line.split(/=(.*)/s, 2) as [string, string]),
  );
  const value = (name: string): string => values.get(name) ?? "";
  const pid = Number(value("MainPID"));
  return {
    state: code === 0 ? value("ActiveState") || "unknown" : "unknown",
    detail: value("SubState"),
    at_boot: value("UnitFileState"),
    pid: pid > 0 ? pid : null,
    says: value("StatusText"),
    since: value("ActiveEnterTimestamp"),
    restarts: Number(value("NRestarts")) || 0,
    result: value("Result") === "success" ? "" : value("Result"),
    needs_reload: value("NeedDaemonReload") === "yes",
  };
}

/** The unit's paths in systemd's other folders. A file there is foreign. */
export const foreignUnits = [
  "/run/systemd/system",
  "/usr/local/lib/systemd/system",
  "/usr/lib/systemd/system",
  "/lib/systemd/system",
].map((folder) => `${folder}/${unitName}`);

/** The folder for changes of the administrator, which ngrokd never touches. */
export const dropInFolder = ({ path }: Pick<Manager, "path">): string =>
  `${dirname(path)}/${unitName}.d`;
