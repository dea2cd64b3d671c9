// The service: ngrokd under systemd and launchd. unit.ts and plist.ts write the
// files as texts, service-steps.ts decides, manage.ts acts, notify.ts reports.

import { existsSync } from "node:fs";
import { lstat, mkdir } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileError, readFileIfThere, removeFile, writeFileAtomic } from "../files/atomic.ts";
import { forgetChange, recordFile } from "../journal/journal.ts";
import { errnoOf } from "../model/errno.ts";
import { NgrokdError, oneLine } from "../model/error.ts";
import { launchd } from "./launchd.ts";
import { sameService } from "./packaged.ts";
import { run } from "./run-command.ts";
import { marker, packageMarker, type ServiceFacts } from "./service-facts.ts";
import {
  type Command,
  type InstallChoices,
  installSteps,
  type Manager,
  type RunStep,
  type Step,
  type Verb,
} from "./service-steps.ts";
import { foreignUnits, isOfTheGoProgram, systemd, takeOverSteps } from "./systemd.ts";

const startOtherwise = "start `ngrokd serve` with the service manager of this system";

/**
 * The service manager of this system. Throws `refused` on systems without
 * systemd and launchd.
 */
export function thisManager(platform: string = process.platform): Manager {
  if (platform === "darwin") return launchd();
  if (platform === "linux")
    return systemd((paths) => paths.find((path) => existsSync(path)) ?? paths[0] ?? "");
  throw new NgrokdError(
    "refused",
    `Cannot manage a service on "${platform}": only systemd and launchd are known`,
    {
      hint: startOtherwise,
    },
  );
}

/** The file at the path of the service's file. */
export type UnitFile =
  | { readonly kind: "none" }
  | { readonly kind: "ours"; readonly text: string }
  /** The unit of ngrokd's package. One of ours would count instead of it. */
  | { readonly kind: "packaged"; readonly path: string; readonly text: string }
  /** The unit of the Go program of the same name. */
  | { readonly kind: "predecessor"; readonly path: string; readonly text: string }
  /** Not made by ngrokd, or masked. Never touched. */
  | { readonly kind: "foreign"; readonly path: string; readonly what: string };

/** Rejects with `permission` or `state` if the file cannot be read. */
export async function unitFile(manager: Manager): Promise<UnitFile> {
  const there = await lookAt(manager.path);
  if (there.kind !== "none" || manager.kind === "launchd") return there;
  for (const path of foreignUnits) {
    const other = await lookAt(path);
    if (other.kind === "packaged") return other;
    if (other.kind !== "none") return { kind: "foreign", path, what: notOurs };
  }
  return there;
}

const notOurs = "it was not made by ngrokd";

const mostOfUnit = 1024 * 1024;

async function lookAt(path: string): Promise<UnitFile> {
  try {
    const info = await lstat(path);
    if (!info.isFile())
      return {
        kind: "foreign",
        path,
        what: info.isSymbolicLink() ? "it is a link, as of a masked unit" : "it is not a file",
      };
    const text = (await readFileIfThere(path, mostOfUnit)) ?? "";
    const head = text.split("\n", 2);
    if (head.some((line) => line.includes(marker))) return { kind: "ours", text };
    if (head.some((line) => line.includes(packageMarker))) return { kind: "packaged", path, text };
    return isOfTheGoProgram(text)
      ? { kind: "predecessor", path, text }
      : { kind: "foreign", path, what: notOurs };
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return { kind: "none" };
    throw fileError(`Cannot read "${path}"`, error);
  }
}

/** Whether the manager runs here; for systemd this is sd_booted(3). */
export const managerRuns = ({ kind, path }: Manager): boolean =>
  existsSync(kind === "systemd" ? "/run/systemd/system" : dirname(path));

/** Throws `refused` if the manager does not run on this machine. */
export function requireManager(manager: Manager): void {
  if (managerRuns(manager)) return;
  throw new NgrokdError(
    "refused",
    `Cannot install the service: ${manager.kind} does not run here, and nothing was changed`,
    {
      hint: startOtherwise,
    },
  );
}

export interface InstallPlan {
  readonly steps: readonly Step[];
  /** The unit before the installation. */
  readonly before: "none" | "same" | "different" | "predecessor";
  /** The unit in effect afterwards. */
  readonly path: string;
}

/**
 * The steps of an installation. Rejects with `refused` if a foreign service has
 * the name, or if the Go program's service has it and must not be taken over.
 */
export async function planInstall(
  manager: Manager,
  facts: ServiceFacts,
  { takeOver, ...choices }: Omit<InstallChoices, "same"> & { readonly takeOver: boolean },
): Promise<InstallPlan> {
  const there = await unitFile(manager);
  if (there.kind === "predecessor" && takeOver) {
    const steps = installSteps(manager, facts, { ...choices, same: false });
    const { path } = manager;
    return { steps: [...takeOverSteps(manager, there.text), ...steps], before: there.kind, path };
  }
  refuseForeign(there, "install the service");
  const wanted = manager.text(facts);
  const same =
    (there.kind === "ours" && there.text === wanted) ||
    (there.kind === "packaged" && sameService(there.text, wanted));
  const before = there.kind === "none" ? "none" : same ? "same" : "different";
  const path = same && "path" in there ? there.path : manager.path;
  return { steps: installSteps(manager, facts, { ...choices, same }), before, path };
}

/**
 * The steps of a removal. Rejects with `refused` if there is no service, or a
 * foreign one.
 */
export async function planUninstall(manager: Manager): Promise<readonly Step[]> {
  const there = await unitFile(manager);
  refuseForeign(there, "remove the service");
  if (there.kind === "none")
    throw new NgrokdError("refused", "Cannot remove the service: it is not installed", {
      details: { path: manager.path },
    });
  if (there.kind === "packaged")
    throw new NgrokdError(
      "refused",
      `Cannot remove the service: "${there.path}" belongs to the package ngrokd`,
      {
        hint:
          "`sudo systemctl disable --now ngrokd` stops it for good, and removing the package " +
          "removes it",
        details: { path: there.path },
      },
    );
  return manager.uninstall();
}

/**
 * The steps of a verb. Foreign services may be started and stopped. Rejects
 * with `refused` if no service of this name is installed.
 */
export async function planVerb(manager: Manager, verb: Verb): Promise<readonly Step[]> {
  if ((await unitFile(manager)).kind === "none") throw notInstalled(verb);
  return manager.verb(verb);
}

export const notInstalled = (verb: string): NgrokdError =>
  new NgrokdError("refused", `Cannot ${verb} the service: it is not installed`, {
    hint: "`sudo ngrokd service install` installs it",
  });

function refuseForeign(there: UnitFile, action: string): void {
  if (there.kind === "predecessor")
    throw new NgrokdError(
      "refused",
      `Cannot ${action}: "${there.path}" is the service of the Go program named ngrokd`,
      {
        hint:
          "`sudo ngrokd service install --take-over` stops it, keeps its unit beside, and goes " +
          "on with its configuration, key and certificate",
        details: { path: there.path },
      },
    );
  if (there.kind !== "foreign") return;
  throw new NgrokdError(
    "refused",
    `Cannot ${action}: "${there.path}" is there, and ${there.what}`,
    {
      hint: "nothing was changed; if it is no longer needed, stop its service and rename the file first",
      details: { path: there.path },
    },
  );
}

/**
 * Runs the steps in order. Files are recorded in the journal of `stateFolder`,
 * for `ngrokd undo`; steps without files need no folder. Rejects with
 * `permission`, `state` or `refused` at the first step that fails.
 */
export async function carryOut(steps: readonly Step[], stateFolder = ""): Promise<void> {
  try {
    for (const step of steps) await carryOutOne(step, stateFolder);
  } catch (error) {
    throw needsRoot(error);
  }
}

async function carryOutOne(step: Step, stateFolder: string): Promise<void> {
  switch (step.kind) {
    case "folder":
      return await makeFolder(step.path, step.mode);
    case "write":
      await recordFile(stateFolder, step.path, step.text);
      return await writeFileAtomic(step.path, step.text, { mode: step.mode });
    case "remove":
      await removeFile(step.path);
      // Without the folder there is no journal.
      if (existsSync(stateFolder))
        await forgetChange(stateFolder, { kind: "file", path: step.path });
      return;
    case "run":
      return await runStep(step);
    case "wait":
      return await waitForFailure(step.command, step.limitMs);
  }
}

const pauseMs = 200;
const mostTries = 25;

async function runStep({ command, mayFail, if: only, againOn }: RunStep): Promise<void> {
  if (only !== undefined && ((await run(only.command)).code === 0) !== only.succeeds) return;
  for (let tries = 1; ; tries += 1) {
    const { code, err } = await run(command);
    if (code === 0 || mayFail === true || mayFail?.includes(code)) return;
    if (code !== againOn || tries === mostTries) throw commandFailed(command, code, err);
    await setTimeout(pauseMs);
  }
}

async function waitForFailure(command: Command, limitMs: number): Promise<void> {
  const deadline = performance.now() + limitMs;
  while ((await run(command)).code === 0) {
    if (performance.now() > deadline)
      throw new NgrokdError("refused", "Cannot go on: the service has not ended", {
        hint: `\`${command.join(" ")}\` shows its state`,
      });
    await setTimeout(pauseMs);
  }
}

async function makeFolder(path: string, mode: number): Promise<void> {
  try {
    await mkdir(path, { recursive: true, mode });
  } catch (error) {
    throw fileError(`Cannot make the folder "${path}"`, error);
  }
}

/** The error message of systemctl itself, with advice. */
function commandFailed([program, ...words]: Command, code: number, err: string): NgrokdError {
  const reason = err.trim() === "" ? `it ended with exit code ${code}` : oneLine(err);
  const denied =
    /access denied|permission denied|interactive authentication|not permitted|not privileged/i.test(
      err,
    );
  const absent = /not been booted with systemd|failed to connect to bus/i.test(err);
  const hint = denied
    ? runAsRoot
    : absent
      ? `systemd does not run here: ${startOtherwise}`
      : "`sudo ngrokd service logs` shows the daemon's log";
  return new NgrokdError(
    denied ? "permission" : "refused",
    `"${[program, ...words].join(" ")}" failed: ${reason}`,
    { hint },
  );
}

const runAsRoot = "run it with sudo";
function needsRoot(error: unknown): unknown {
  if (!(error instanceof NgrokdError) || error.code !== "permission") return error;
  return new NgrokdError("permission", error.message, {
    cause: error,
    hint: runAsRoot,
    details: error.details,
  });
}
