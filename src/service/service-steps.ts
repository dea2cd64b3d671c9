import type { ServiceFacts } from "./service-facts.ts";

/** One step of an action. `--dry-run` prints the steps. */
export type Step =
  | { readonly kind: "folder"; readonly path: string; readonly mode: number }
  | { readonly kind: "write"; readonly path: string; readonly text: string; readonly mode: number }
  | { readonly kind: "remove"; readonly path: string }
  | RunStep
  /** Waits until `command` fails, for at most `limitMs`. */
  | { readonly kind: "wait"; readonly command: Command; readonly limitMs: number };

export interface RunStep {
  readonly kind: "run";
  readonly command: Command;
  /** A failure, or one of these exit codes, means: there was nothing to do. */
  readonly mayFail?: true | readonly number[];
  /** It is left out unless this command succeeds, or unless it fails. */
  readonly if?: { readonly command: Command; readonly succeeds: boolean };
  /** This exit code means "not yet", and it is tried again for a while. */
  readonly againOn?: number;
}

/** The absolute path of a program, and its arguments. */
export type Command = readonly [program: string, ...words: string[]];

/** A service manager: systemd.ts or launchd.ts. */
export interface Manager {
  readonly kind: "systemd" | "launchd";
  /** The file that describes the service. */
  readonly path: string;
  readonly text: (facts: ServiceFacts) => string;
  /** Pure: the steps after the file was written, or is `same` as before. */
  readonly activate: (choices: Pick<InstallChoices, "same" | "start">) => readonly Step[];
  readonly uninstall: () => readonly Step[];
  readonly verb: (verb: Verb) => readonly Step[];
  /** Shows the last `lines`, and with `follow` also later ones. */
  readonly logs: (wish: { readonly lines: number; readonly follow: boolean }) => Command;
  /** Questions about the state of the service. */
  readonly questions: readonly Command[];
  /** Pure: the state in the answers to the questions, in their order. */
  readonly report: (answers: readonly Answer[]) => ManagerReport;
  /** Pure: the steps for a member of the socket's group, if it is made here. */
  readonly addMember?: (user: string) => readonly Step[];
}

export type Verb = "start" | "stop" | "restart";

export interface Answer {
  readonly code: number;
  readonly out: string;
}

/** The state of a service, as its manager tells it. */
export interface ManagerReport {
  /** `active`, `inactive`, `failed`, …; `unknown` if the manager is silent. */
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

export interface InstallChoices {
  /** The file exists and has the wanted text. */
  readonly same: boolean;
  readonly start: boolean;
  /** A user who becomes a member of the socket's group. */
  readonly member?: string | undefined;
}

/**
 * Pure: the steps of an installation. Folders come first, since systemd refuses
 * a unit that may write into a missing one. The group comes before the daemon
 * starts, which gives its socket to the group.
 */
export function installSteps(
  manager: Manager,
  facts: ServiceFacts,
  { same, start, member }: InstallChoices,
): Step[] {
  const { path, text, addMember } = manager;
  const folders = [...new Set(facts.folders)];
  return [
    ...folders.map((folder): Step => ({ kind: "folder", path: folder, mode: 0o700 })),
    ...(member === undefined ? [] : (addMember?.(member) ?? [])),
    ...(same ? [] : [{ kind: "write", path, text: text(facts), mode: 0o644 } as const]),
    ...manager.activate({ same, start }),
  ];
}
