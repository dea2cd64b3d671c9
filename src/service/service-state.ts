import { type UnitFile, unitFile } from "./manage.ts";
import { run } from "./run-command.ts";
import { type Manager, showCommand } from "./service-steps.ts";

/** The state of the service, from its manager. */
export interface ServiceState {
  readonly installed: UnitFile["kind"];
  readonly path: string;
  /** `active`, `inactive`, `failed`, …; `unknown` if systemd is silent. */
  readonly state: string;
  readonly detail: string;
  /** `enabled` means that it starts with the machine. */
  readonly at_boot: string;
  readonly pid: number | null;
  /** The status line of the daemon itself. */
  readonly says: string;
  readonly since: string;
  readonly restarts: number;
  /** The reason of a failure; empty without one. */
  readonly result: string;
  /** systemd has not loaded the last change of the file. */
  readonly needs_reload: boolean;
}

export async function serviceState(manager: Manager): Promise<ServiceState> {
  const there = await unitFile(manager);
  const { code, out } = await run(showCommand(manager));
  const path = "path" in there ? there.path : manager.path;
  return {
    installed: there.kind,
    path,
    ...(manager.kind === "systemd" ? readShown(code, out) : readPrinted(code, out)),
  };
}

type ManagerReport = Omit<ServiceState, "installed" | "path">;

/** Pure: reads the output of `systemctl show`. */
export function readShown(code: number, out: string): ManagerReport {
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
 * Pure: reads the output of `launchctl print`. Its format is not stable, so
 * only simple lines are used.
 */
export function readPrinted(code: number, out: string): ManagerReport {
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
