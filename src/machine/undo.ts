import { existsSync } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import type { Assignment } from "../exposure/allocate.ts";
import { ensureWritableFolder, fileError, removeFile } from "../files/atomic.ts";
import { stateFiles } from "../files/state-folder.ts";
import { type Change, forgetChange, readJournal, sha256 } from "../journal/journal.ts";
import { errnoOf } from "../model/errno.ts";
import { NgrokdError } from "../model/error.ts";
import { readAssignment } from "./assignment-file.ts";
import { inspectHostsFile, updateHostsFile } from "./hosts/file.ts";
import { forgetDeadOwner, livingOwner, type OwnerDeps, ownerText } from "./hosts/owner.ts";
import { type AliasUndo, aliasesThere, takeAliasesBack } from "./link/darwin.ts";
import { afterRemoval, isZoneFile, resolverStep, takeResolverBack } from "./resolver/undo.ts";

/**
 * The result for one change: taken back, already gone, or kept with a reason.
 */
export interface Step {
  readonly change: Change;
  readonly action: "take back" | "nothing to do" | "keep";
  /** Empty unless the change is kept. */
  readonly reason: string;
}

/**
 * The changes that can be taken back now: those of the journal, the latest
 * first, and the section of `hostsPath`, even if it is not in the journal (an
 * earlier version kept none). Changes nothing. Rejects as readJournal and
 * updateHostsFile do.
 */
export async function planUndo(
  stateFolder: string,
  hostsPath: string,
  owners: OwnerDeps,
  aliases: AliasUndo = {},
): Promise<readonly Step[]> {
  const recorded = await readJournal(stateFolder);
  const known = recorded.some(({ kind, path }) => kind === "hosts" && path === hostsPath);
  const changes: Change[] = [
    ...recorded,
    ...(known ? [] : [{ kind: "hosts", path: hostsPath } as const]),
  ].reverse();
  const written = await writtenIn(stateFolder);
  const steps = await Promise.all(
    changes.map((change) => stepFor(change, { written, owners, aliases })),
  );
  return steps.filter(
    ({ change, action }) => action !== "nothing to do" || recorded.includes(change),
  );
}

/**
 * The settings of the machine's resolver and interfaces that are in the journal
 * and still there. Without a daemon they lead to a name server that does not
 * run. A journal that cannot be read names none. Never rejects.
 */
export async function settingsLeft(
  stateFolder: string,
  aliases: AliasUndo = {},
): Promise<readonly Change[]> {
  const changes = await readJournal(stateFolder).catch(() => []);
  const left = await Promise.all(changes.map((change) => isSettingThere(change, aliases)));
  return changes.filter((_, i) => left[i]);
}

async function isSettingThere(change: Change, aliases: AliasUndo): Promise<boolean> {
  switch (change.kind) {
    case "hosts":
      return false;
    case "file":
      return isZoneFile(change.path) && existsSync(change.path);
    case "aliases":
      return aliasesThere(change.addresses, aliases).length > 0;
    case "resolv-conf":
    case "resolved":
      return (await resolverStep(change)).isThere;
  }
}

export interface UndoDeps {
  readonly owners: OwnerDeps;
  readonly remove?: typeof removeFile;
  /** Replaced in tests. */
  readonly aliases?: AliasUndo;
}

/**
 * Does the steps of {@link planUndo} in their order, and removes each from the
 * journal. Rejects with the first failure; the steps before it are done.
 * `remove` can do more than delete the file, such as stop a service. A section
 * that a living daemon owns is kept.
 */
export async function undo(
  stateFolder: string,
  steps: readonly Step[],
  { owners, remove = removeFile, aliases = {} }: UndoDeps,
): Promise<void> {
  for (const { change, action } of steps) {
    if (action === "keep") continue;
    if (action === "take back") await takeBack(stateFolder, change, { owners, remove, aliases });
    await forgetChange(stateFolder, change);
  }
}

/**
 * The addresses in the assignment file. A damaged file has none; then only the
 * section is removed.
 */
async function writtenIn(stateFolder: string): Promise<() => Assignment> {
  const saved = await readAssignment(stateFiles(stateFolder).assignment);
  const written: Assignment = saved?.ok === true ? saved.value.assignment : new Map();
  return () => written;
}

async function stepFor(
  change: Change,
  {
    written,
    owners,
    aliases = {},
  }: { written: () => Assignment; owners: OwnerDeps; aliases?: AliasUndo },
): Promise<Step> {
  if (change.kind === "hosts") {
    const owner = await livingOwner(change.path, owners);
    if (owner !== undefined) {
      const reason = `a running daemon keeps its names there, ${ownerText(owner)}`;
      return { change, action: "keep", reason };
    }
    const edit = await inspectHostsFile(change.path, new Map(), { written });
    if (edit.kind === "refused") return { change, action: "keep", reason: edit.reason };
    return { change, action: edit.kind === "same" ? "nothing to do" : "take back", reason: "" };
  }
  if (change.kind === "resolv-conf" || change.kind === "resolved") {
    const { isThere, refusal } = await resolverStep(change);
    if (refusal !== "") return { change, action: "keep", reason: refusal };
    return { change, action: isThere ? "take back" : "nothing to do", reason: "" };
  }
  if (change.kind === "aliases") {
    const left = aliasesThere(change.addresses, aliases).length > 0;
    return { change, action: left ? "take back" : "nothing to do", reason: "" };
  }
  const content = await contentAt(change.path);
  if (content === "gone") return { change, action: "nothing to do", reason: "" };
  return content !== "foreign" && sha256(content) === change.sha256
    ? { change, action: "take back", reason: "" }
    : { change, action: "keep", reason: "it was changed since ngrokd wrote it" };
}

async function takeBack(
  stateFolder: string,
  change: Change,
  { owners, remove, aliases }: Required<UndoDeps>,
): Promise<void> {
  // Looked at once more: a person may have thought for long before saying yes.
  const written = await writtenIn(stateFolder);
  const { action, reason } = await stepFor(change, { written, owners, aliases });
  if (action === "keep")
    throw new NgrokdError("refused", `Cannot take back "${change.path}": ${reason}`);
  if (change.kind === "hosts") {
    // The folder has the copy of the original file. It may have been removed.
    await ensureWritableFolder(stateFolder);
    await updateHostsFile(change.path, new Map(), { stateFolder, written });
    await forgetDeadOwner(change.path, owners);
    return;
  }
  if (change.kind === "resolv-conf" || change.kind === "resolved")
    return await takeResolverBack(change);
  if (change.kind === "aliases") return await takeAliasesBack(change.addresses, aliases);
  await remove(change.path);
  await afterRemoval(change.path);
}

/** A unit or a CA has some KB. */
const mostOfOurs = 1024 * 1024;

/** Neither a pipe nor a device is read, since they may never end. */
async function contentAt(path: string): Promise<"gone" | "foreign" | Uint8Array> {
  try {
    const info = await stat(path);
    return info.isFile() && info.size <= mostOfOurs ? await readFile(path) : "foreign";
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return "gone";
    throw fileError(`Cannot read "${path}"`, error);
  }
}
