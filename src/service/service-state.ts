import { type Installed, installed } from "./manage.ts";
import { run } from "./run-command.ts";
import { type Manager, showCommand } from "./service-steps.ts";

/** How the service fares, as systemd tells it. */
export interface ServiceState {
  readonly installed: Installed["kind"];
  readonly path: string;
  /**
   * `active`, `inactive`, `failed`, `activating`…; `unknown` where systemd does
   * not answer.
   */
  readonly state: string;
  readonly detail: string;
  /** `enabled`: it starts with the machine. */
  readonly at_boot: string;
  readonly pid: number | null;
  /** The daemon's own line. */
  readonly says: string;
  readonly since: string;
  readonly restarts: number;
  /** Why it ended, where it failed. */
  readonly result: string;
  /** Its file was changed and not read again. */
  readonly needs_reload: boolean;
}

export async function serviceState(manager: Manager): Promise<ServiceState> {
  const there = await installed(manager);
  const { code, out } = await run(showCommand(manager));
  const path = there.kind === "foreign" ? there.path : manager.path;
  return {
    installed: there.kind,
    path,
    ...(manager.kind === "systemd" ? readShown(code, out) : readPrinted(code, out)),
  };
}

type Shown = Omit<ServiceState, "installed" | "path">;

/** Pure: the answer of `systemctl show`. */
export function readShown(code: number, out: string): Shown {
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

/**
 * Pure: the answer of `launchctl print`, whose text is not meant for programs:
 * only its plainest lines are read.
 */
export function readPrinted(code: number, out: string): Shown {
  const value = (name: string): string =>
    new RegExp(`^\\t${name} = (.*)$`, "m").exec(out)?.[1] ?? "";
  const pid = Number(value("pid"));
  return {
    state:
      code !== 0
        ? "inactive"
        : value("state") === "running"
          ? "active"
          : value("state") || "unknown",
    detail: value("state"),
    at_boot: code === 0 ? "enabled" : "",
    pid: pid > 0 ? pid : null,
    says: "",
    since: "",
    restarts: Math.max(0, (Number(value("runs")) || 1) - 1),
    result: "",
    needs_reload: false,
  };
}
