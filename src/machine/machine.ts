/**
 * machine/ applies an exposure to this machine: its addresses, and its names in
 * the hosts file. It keeps the assignment of addresses, and repairs the changes
 * of other programs.
 */
import { existsSync } from "node:fs";
import type { Assignment } from "../exposure/allocate.ts";
import type { Exposure } from "../exposure/exposure.ts";
import { checkWritableFolder, ensureWritableFolder } from "../files/atomic.ts";
import { stampOf } from "../files/stamp.ts";
import { stateFiles } from "../files/state-folder.ts";
import { forgetChange, recordChange } from "../journal/journal.ts";
import { hintOf, NgrokdError, reasonOf } from "../model/error.ts";
import type { Hostname } from "../model/hostname.ts";
import type { Log } from "../model/log.ts";
import { createSerial } from "../model/serial.ts";
import { type AskedNames, createAskedNames } from "./asked-names.ts";
import { loadAssignment, saveAssignment } from "./assignment-file.ts";
import { createHostsKeeper } from "./hosts/keeper.ts";
import { claimHosts, type OwnerDeps } from "./hosts/owner.ts";
import { createSavedPorts, type SavedPorts } from "./ports-file.ts";

export interface Machine {
  /**
   * The addresses of all names; kept in memory if the file cannot be written.
   */
  readonly assignment: Assignment;
  /** The names below wildcards that clients have looked up. */
  readonly asked: AskedNames;
  /** The ports of bindings for other machines; kept in memory likewise. */
  readonly ports: SavedPorts;
  /** Why the hosts file lacks names or is wrong; undefined if it is right. */
  readonly trouble: string | undefined;
  /**
   * Becomes the owner of the hosts file, makes the state folder, and reads the
   * assignment. Rejects with `already-running` if another daemon keeps its
   * names there, and if the state folder can never be used.
   */
  prepare(): Promise<void>;
  /** Rejects with NgrokdError `permission` or `state`. */
  saveAssignment(next: Assignment): Promise<void>;
  /**
   * Uses this assignment from now on, and saves it soon, with the names that
   * were asked for. A failure is left to the next {@link saveAssignment}.
   */
  keepAssignment(next: Assignment): void;
  /**
   * Makes the hosts file have exactly these names of ours. Returns the names to
   * which a line of the user's own gives another address. Rejects as
   * updateHostsFile.
   */
  apply(exposure: Pick<Exposure, "addresses" | "names">): Promise<readonly Hostname[]>;
  /**
   * Puts the names back if another program took them out. Returns whether other
   * names than before are left to the user's own lines. Never rejects.
   */
  guard(): Promise<boolean>;
  /** Takes all names back; returns whether there were any. Never rejects. */
  clear(): Promise<boolean>;
  /** Leaves the hosts file to other daemons. Never rejects. */
  release(): Promise<void>;
  /**
   * The state of all files that a reconcile reads or writes: an equal text
   * means that none has changed.
   */
  stamp(): Promise<string>;
}

export interface MachineOptions {
  readonly hostsPath: string;
  readonly stateFolder: string;
  /** This daemon's control socket, by which others know the owner. */
  readonly socketPath: string;
  readonly owners: OwnerDeps;
  readonly log: Log;
}

export function createMachine(options: MachineOptions): Machine {
  const { hostsPath, stateFolder, log } = options;
  const { assignment: assignmentPath, ports: portsPath } = stateFiles(stateFolder);
  const change = { kind: "hosts", path: hostsPath } as const;
  const hosts = createHostsKeeper({
    path: hostsPath,
    stateFolder,
    log,
    journal: {
      record: () => recordChange(stateFolder, change, log),
      forget: () => forgetChange(stateFolder, change, log),
    },
    written: () => saved.assignment,
  });
  const saved = createSaved(assignmentPath, log);
  const ports = createSavedPorts(portsPath, log);
  let release: () => Promise<void> = async () => undefined;

  return {
    get assignment() {
      return saved.assignment;
    },
    get asked() {
      return saved.asked;
    },
    ports,
    get trouble() {
      return hosts.trouble;
    },
    async prepare() {
      release = await claimHosts(hostsPath, options.socketPath, options.owners);
      await ensureWritableFolder(stateFolder).catch((error: unknown) => waitOut(error, log));
      await saved.load();
      await ports.load();
    },
    async saveAssignment(next) {
      saved.assignment = next;
      // If the folder was removed, memory has the only copy.
      if (!existsSync(stateFolder)) await ensureWritableFolder(stateFolder);
      const written = await saved.save();
      // An unchanged file shows nothing: a folder that became read-only would
      // be noticed only with the next new name.
      if (!written) await checkWritableFolder(stateFolder);
    },
    keepAssignment(next) {
      saved.assignment = next;
      saved.saveSoon();
    },
    apply: ({ names }) =>
      hosts.advertise(
        new Map(names.map(({ host, ip }) => [host, ip])),
        new Map(names.flatMap(({ host, ip6 }) => (ip6 === undefined ? [] : [[host, ip6]]))),
      ),
    guard: hosts.guard,
    async clear() {
      try {
        return await hosts.clear();
      } catch (error) {
        // No pass follows a stop.
        const isLater = hintOf(error).startsWith("the next pass");
        const hint = isLater
          ? "the next start, or `ngrokd undo`, takes its names out"
          : hintOf(error);
        log.warn(reasonOf(error), { hint: hint || undefined });
        return false;
      }
    },
    async release() {
      await saved.settle();
      await release().catch(() => undefined);
    },
    async stamp() {
      const paths = [hostsPath, assignmentPath, portsPath];
      const files = await Promise.all(paths.map(stampOf));
      const writable = await checkWritableFolder(stateFolder).then(() => "writable", reasonOf);
      return [...files, writable].join("\n");
    },
  };
}

/** The addresses in memory, and their file. */
interface Saved {
  assignment: Assignment;
  readonly asked: AskedNames;
  /** Rejects as loadAssignment. */
  load(): Promise<void>;
  /** Returns whether the file was written. Rejects as saveAssignment. */
  save(): Promise<boolean>;
  saveSoon(): void;
  /** Ends a wait of {@link saveSoon}. Never rejects. */
  settle(): Promise<void>;
}

function createSaved(path: string, log: Log): Saved {
  const inTurn = createSerial();
  let asked = createAskedNames(new Set());
  let soon: ReturnType<typeof setTimeout> | undefined;
  const saved: Saved = {
    assignment: new Map(),
    get asked() {
      return asked;
    },
    async load() {
      const found = await loadAssignment(path);
      saved.assignment = found.assignment;
      asked = createAskedNames(found.asked);
      if (found.warning !== undefined) log.warn(found.warning);
    },
    save: () => inTurn(() => saveAssignment(path, saved.assignment, asked.all)),
    saveSoon() {
      soon ??= setTimeout(() => void saved.settle(), saveSoonMs);
    },
    async settle() {
      if (soon === undefined) return;
      clearTimeout(soon);
      soon = undefined;
      await saved.save().catch((error: unknown) => log.debug(reasonOf(error)));
    },
  };
  return saved;
}

/** Many names may come at once, and the file is written as a whole. */
const saveSoonMs = 250;

/**
 * A disk that is full or read-only may become writable again, and the files on
 * it are still good. Missing rights stay missing.
 */
function waitOut(error: unknown, log: Log): void {
  const errno = error instanceof NgrokdError ? String(error.details.errno) : "";
  if (!["EROFS", "ENOSPC", "EDQUOT", "EIO"].includes(errno)) throw error;
  log.warn(reasonOf(error), {
    hint: "the daemon continues without it, and every poll tries again",
  });
}
