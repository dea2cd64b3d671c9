import { type UnitFile, unitFile } from "./manage.ts";
import { run } from "./run-command.ts";
import type { Manager, ManagerReport } from "./service-steps.ts";

/** The state of the service, from its manager. */
export interface ServiceState extends ManagerReport {
  readonly installed: UnitFile["kind"];
  readonly path: string;
}

export async function serviceState(manager: Manager): Promise<ServiceState> {
  const there = await unitFile(manager);
  const answers = await Promise.all(manager.questions.map(run));
  const path = "path" in there ? there.path : manager.path;
  const report = manager.report(answers);
  const at_boot = there.kind === "none" ? "" : report.at_boot;
  return { ...report, installed: there.kind, path, at_boot };
}
