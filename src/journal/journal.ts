/**
 * journal/ lists the changes that ngrokd made on this machine, so that
 * `ngrokd undo` can take them back.
 */

import { createHash } from "node:crypto";
import { existsSync, readFileSync, renameSync } from "node:fs";
import { link, open, stat, unlink } from "node:fs/promises";
import { isAbsolute } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { fileError, readFileIfThere, writeFileAtomic } from "../files/atomic.ts";
import { stateFiles } from "../files/state-folder.ts";
import { absent } from "../files/sweep.ts";
import { errnoOf } from "../model/errno.ts";
import { NgrokdError } from "../model/error.ts";
import { type AnyIp, parseIp, parseIp6 } from "../model/ip.ts";
import { type Log, silentLog } from "../model/log.ts";
import { type Parsed, parsed, unparsed } from "../model/parsed.ts";

/**
 * A change of this machine that is not taken back yet. It is recorded before it
 * is made and forgotten after it is taken back. So a crash can leave an extra
 * entry but never lose one, and {@link undo} checks the machine first.
 */
export type Change =
  /** Our section is in this hosts file. */
  | { readonly kind: "hosts"; readonly path: string }
  /** ngrokd wrote this file; `sha256` (hex) is the digest of its content. */
  | { readonly kind: "file"; readonly path: string; readonly sha256: string }
  /** Our section is in this resolv.conf. */
  | { readonly kind: "resolv-conf"; readonly path: string }
  /** systemd-resolved has our settings for `/sys/class/net/<link>`. */
  | { readonly kind: "resolved"; readonly path: string }
  /** Aliases of the loopback interface, made by the program `path` (macOS). */
  | { readonly kind: "aliases"; readonly path: string; readonly addresses: readonly AnyIp[] };

/**
 * The changes in the journal of a state folder, the oldest first. Rejects with
 * NgrokdError `state` if the journal has a later version or cannot be
 * understood, and leaves it unchanged. Rejects with `permission` or `state` if
 * it cannot be read.
 */
export async function readJournal(stateFolder: string): Promise<readonly Change[]> {
  const path = stateFiles(stateFolder).journal;
  const changes = knownIn(await readFileIfThere(path));
  if (changes.ok) return changes.value;
  throw new NgrokdError("state", `Cannot understand the journal "${path}": ${changes.reason}`, {
    hint:
      "it lists ngrokd's changes on this machine; " +
      "the version of ngrokd that wrote it can read it",
  });
}

/**
 * Records a change before it is made. The journal keeps one entry for each kind
 * and path, the latest. A journal that cannot be understood is kept beside a
 * new one, with a warning in `log`. Rejects with NgrokdError `permission` or
 * `state`; then the change must not be made.
 */
export async function recordChange(
  stateFolder: string,
  change: Change,
  log: Log = silentLog,
): Promise<void> {
  const known = (other: Change): boolean => isDeepStrictEqual(other, change);
  await rewrite(
    stateFolder,
    (all) =>
      all.some(known) ? all : [...all.filter((other) => !sameTarget(other, change)), change],
    log,
  );
}

/**
 * Removes a change that was taken back. It is not an error if the change is not
 * in the journal. Rejects with NgrokdError `permission` or `state`.
 */
export async function forgetChange(
  stateFolder: string,
  change: Pick<Change, "kind" | "path">,
  log: Log = silentLog,
): Promise<void> {
  await rewrite(stateFolder, (all) => all.filter((other) => !sameTarget(other, change)), log);
}

/** {@link recordChange} for a file, before it is written with `content`. */
export async function recordFile(
  stateFolder: string,
  path: string,
  content: string | Uint8Array,
  log: Log = silentLog,
): Promise<void> {
  await recordChange(stateFolder, { kind: "file", path, sha256: sha256(content) }, log);
}

/** The SHA-256 digest in hex. */
export const sha256 = (content: string | Uint8Array): string =>
  createHash("sha256").update(content).digest("hex");

const formatVersion = 1;

const sameTarget = (a: Pick<Change, "kind" | "path">, b: Pick<Change, "kind" | "path">): boolean =>
  a.kind === b.kind && a.path === b.path;

type Next = (changes: readonly Change[]) => readonly Change[];

async function rewrite(stateFolder: string, next: Next, log: Log): Promise<void> {
  const path = stateFiles(stateFolder).journal;
  // Before the lock, so that a missing or read-only folder is no error if there
  // is nothing to record.
  if (unchanged(knownIn(await readFileIfThere(path)), next)) return;
  await withLock(path, () => rewriteLocked(path, next, log));
}

async function rewriteLocked(path: string, next: Next, log: Log): Promise<void> {
  const before = await readFileIfThere(path);
  const known = knownIn(before);
  if (unchanged(known, next)) return;
  const changes = next(known.ok ? known.value : []);
  if (!known.ok) log.warn(await setAside(path, known.reason));
  let overtaken = false;
  // Synchronous, so that no other work runs between the check and the rename.
  // The lock is not enough: a process that waits for a stale lock may also
  // remove the new lock of another process.
  const ifUnchanged = async (from: string, to: string): Promise<void> => {
    overtaken = (existsSync(path) ? readFileSync(path, "utf8") : undefined) !== before;
    if (overtaken) throw new NgrokdError("state", `"${path}" was changed by another command`);
    renameSync(from, to);
  };
  try {
    await writeFileAtomic(path, journalText(changes), { mode: 0o600, rename: ifUnchanged });
  } catch (error) {
    if (!overtaken) throw error;
    await rewriteLocked(path, next, log);
  }
}

const knownIn = (text: string | undefined): Parsed<readonly Change[]> =>
  text === undefined ? parsed([]) : parseJournal(text);

const unchanged = (known: Parsed<readonly Change[]>, next: Next): boolean =>
  known.ok && isDeepStrictEqual(next(known.value), known.value);

/** A write takes milliseconds, so an older lock was left by a crash. */
const staleMs = 2000;

/**
 * Runs `work` under a lock file, since the daemon and a command may write at
 * the same time. Rejects with NgrokdError `permission` or `state`.
 */
async function withLock(path: string, work: () => Promise<void>): Promise<void> {
  const lock = `${path}.lock`;
  while (!(await acquire(lock))) {
    const held = await stat(lock).catch(absent);
    if (held !== undefined && Math.abs(Date.now() - held.mtimeMs) > staleMs)
      await unlink(lock).catch(absent);
    else await sleep(10 + 10 * Math.random());
  }
  try {
    await work();
  } finally {
    await unlink(lock).catch(absent);
  }
}

async function acquire(lock: string): Promise<boolean> {
  try {
    await (await open(lock, "wx", 0o600)).close();
    return true;
  } catch (error) {
    if (errnoOf(error) === "EEXIST") return false;
    throw fileError(`Cannot write "${lock}"`, error);
  }
}

/**
 * Keeps a journal under a second name and returns the warning. A downgrade must
 * not stop the daemon, and must not lose the entries of a later version.
 */
async function setAside(path: string, reason: string): Promise<string> {
  const aside = `${path}.old-${new Date().toISOString().replaceAll(/[-:.]/g, "")}`;
  await link(path, aside);
  const found = `The journal "${path}" cannot be understood, since ${reason}`;
  return `${found}; it is kept as "${aside}", and another one was begun`;
}

const journalText = (changes: readonly Change[]): string =>
  `${JSON.stringify({ version: formatVersion, changes }, undefined, 2)}\n`;

/** Pure: the changes in a journal's text. */
export function parseJournal(text: string): Parsed<readonly Change[]> {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch {
    return unparsed("it is not JSON");
  }
  if (typeof content !== "object" || content === null || !("version" in content))
    return unparsed("it has no version");
  if (content.version !== formatVersion)
    return unparsed(`its format has the version ${JSON.stringify(content.version)}, not 1`);
  if (!("changes" in content) || !Array.isArray(content.changes))
    return unparsed("it has no list of changes");
  const changes = content.changes.map(parseChange);
  const bad = changes.indexOf(undefined);
  return bad === -1
    ? parsed(changes.filter((change) => change !== undefined))
    : unparsed(`its change ${bad + 1} has an unknown kind`);
}

function parseChange(value: unknown): Change | undefined {
  const { kind, path, sha256, addresses } = (value ?? {}) as Record<string, unknown>;
  if (typeof path !== "string" || !isAbsolute(path)) return undefined;
  if (kind === "hosts" || kind === "resolv-conf" || kind === "resolved") return { kind, path };
  if (kind === "aliases") return aliasesOf(path, addresses);
  return kind === "file" && typeof sha256 === "string" && /^[0-9a-f]{64}$/.test(sha256)
    ? { kind, path, sha256 }
    : undefined;
}

function aliasesOf(path: string, listed: unknown): Change | undefined {
  if (!Array.isArray(listed)) return undefined;
  const addresses = listed.flatMap((text): AnyIp[] => {
    const [ip, ip6] = [parseIp(String(text)), parseIp6(String(text))];
    return ip.ok ? [ip.value] : ip6.ok ? [ip6.value] : [];
  });
  return addresses.length === listed.length ? { kind: "aliases", path, addresses } : undefined;
}
