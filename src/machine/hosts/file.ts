/**
 * machine/hosts/ keeps the daemon's entries in /etc/hosts: text.ts edits the
 * text, this file reads and replaces it, in-place.ts writes one that cannot be
 * replaced, keeper.ts decides when.
 */

import { Buffer } from "node:buffer";
import { execFile } from "node:child_process";
import { constants, existsSync, renameSync, statSync } from "node:fs";
import { lstat, open } from "node:fs/promises";
import { promisify } from "node:util";
import { fileError, rootHint, writeFileAtomic } from "../../files/atomic.ts";
import { realFile } from "../../files/real-file.ts";
import { stampIn } from "../../files/stamp.ts";
import { errnoOf } from "../../model/errno.ts";
import { isNgrokdError, NgrokdError } from "../../model/error.ts";
import type { Hostname } from "../../model/hostname.ts";
import type { Ip, Subnet } from "../../model/ip.ts";
import {
  type Copies,
  copiesIn,
  finishInterrupted,
  type HostsContent,
  keepCopy,
  noRoom,
  overwrite,
} from "./in-place.ts";
import { carryTail } from "./tail.ts";
import { type Entries6, editHosts, type HostsEdit, pinsIn, type Written } from "./text.ts";

export interface HostsOptions {
  /**
   * The daemon's own folder, which exists, for the copies. `hosts.original` is
   * made once, before the first change. `hosts.before` and `hosts.after` exist
   * while the file is written in place.
   */
  readonly stateFolder: string;
  /** Ranges that entries of earlier runs come from, see editHosts. */
  readonly ranges?: readonly Subnet[];
  /** The addresses given to names. Lines with such a pair are ours. */
  readonly written?: () => Written;
  /** The second addresses of the names; none without it. */
  readonly six?: Entries6;
  /**
   * Write in place from the start. The default is a rename, except if that is
   * impossible or would lose the file's SELinux label or access control list.
   */
  readonly inPlace?: boolean;
  /**
   * Called when there is something to write; if it returns false, nothing is
   * written. Its rejection is passed on unchanged.
   */
  readonly before?: () => Promise<boolean>;
  /** Stand-ins for tests. */
  readonly fs?: Partial<HostsFs>;
}

export interface HostsUpdate {
  /**
   * `replaced`: by rename, readers saw the old file or the new one.
   * `overwritten`: in place. `withheld`: `before` said no.
   */
  readonly change: "none" | "replaced" | "overwritten" | "withheld";
  /** The repairs of the section, one sentence each. */
  readonly repairs: readonly string[];
  /**
   * Names to which the user's own lines give another address. They are not
   * written. Sorted.
   */
  readonly shadowed: readonly Hostname[];
}

export interface HostsFs {
  /** Undefined if the file does not exist. */
  read(path: string): Promise<HostsContent | undefined>;
  /**
   * `stamp`: of the file that is replaced. With another one it rejects as
   * overtaken().
   */
  rename(from: string, to: string, stamp?: string): Promise<void>;
  /**
   * Whether the file has an access control list, which a new file would lack.
   */
  hasAcl(path: string): Promise<boolean>;
}

/**
 * Makes our section of the hosts file hold exactly `entries` (see editHosts),
 * and writes only if a byte differs. Mode, owner and symbolic links stay. A
 * missing file is made (0644) if there is an entry. The file is compared again
 * right before the write: if another program has changed it, the new text is
 * edited instead.
 *
 * A file that cannot be replaced is written in place: a bind mount, as in
 * containers, or a file in a folder without write permission. Copies are kept
 * until the write is finished, and the next call repairs an interrupted write.
 * One call at a time.
 *
 * Symbolic links are followed once, to the real file. Only a regular file is
 * written. The path and the folders above it are trusted: they come from the
 * administrator.
 *
 * Rejects with NgrokdError `permission` or `hosts`, or with `state` if a copy
 * cannot be kept. Each has a hint, and the file is then unchanged.
 */
export async function updateHostsFile(
  path: string,
  entries: ReadonlyMap<Hostname, Ip>,
  options: HostsOptions,
): Promise<HostsUpdate> {
  const { ranges, written, six, before = async () => true } = options;
  const fs: HostsFs = { read: readHosts, rename: renameUnchanged, hasAcl, ...options.fs };
  const copies = copiesIn(options.stateFolder);
  const { file, rescued } = await told(path, async () => {
    const file = await fileAt(path);
    return { file, rescued: await finishInterrupted(file, fs.read, copies) };
  });
  for (let attempt = 1; attempt <= 5; attempt++) {
    const old = await told(path, () => fs.read(file));
    const text = old?.bytes.toString("latin1") ?? "";
    const edit = editHosts(text, entries, ranges, written?.(), six);
    if (edit.kind === "refused")
      throw new NgrokdError("hosts", `Cannot edit "${path}": ${edit.reason}`, {
        hint: chooseAnother,
      });
    const { shadowed } = edit;
    if (edit.kind === "same") return { change: "none", repairs: rescued, shadowed };
    if (!(await before())) return { change: "withheld", repairs: rescued, shadowed };
    const change = await told(path, async () => {
      if (old !== undefined) await keepOriginal(copies.original, old);
      const isLinked = (old?.links ?? 1) > 1;
      const inPlace = options.inPlace ?? (isLinked || hasSelinux() || (await fs.hasAcl(file)));
      return await write(file, old, Buffer.from(edit.text, "latin1"), { fs, copies, inPlace });
    });
    if (change !== "overtaken") return { change, repairs: [...rescued, ...edit.repairs], shadowed };
  }
  throw new NgrokdError("hosts", `Cannot edit "${path}": another program keeps changing it`, {
    hint: "the next pass tries again",
  });
}

/**
 * The change that {@link updateHostsFile} would make; writes nothing. Rejects
 * in the same way if the file cannot be read. A file that must not be edited is
 * a result here.
 */
export async function inspectHostsFile(
  path: string,
  entries: ReadonlyMap<Hostname, Ip>,
  { ranges, written, fs }: Pick<HostsOptions, "ranges" | "written" | "fs"> = {},
): Promise<HostsEdit & { readonly before: string }> {
  const old = await told(path, async () => await (fs?.read ?? readHosts)(await fileAt(path)));
  const before = old?.bytes.toString("latin1") ?? "";
  return { ...editHosts(before, entries, ranges, written?.()), before };
}

/**
 * Which of these names the user's own lines carry, with their addresses (see
 * pinsIn). None if the file cannot be read, which its next edit reports.
 */
export async function pinsInFile(
  path: string,
  names: ReadonlySet<Hostname>,
  written: Written,
): Promise<ReadonlyMap<Hostname, readonly string[]>> {
  const content = await fileAt(path)
    .then(readHosts)
    .catch(() => undefined);
  return pinsIn(content?.bytes.toString("latin1") ?? "", names, written);
}

/** 64 MiB: more than the largest block lists, and it still fits in memory. */
const sizeLimit = 64 * 1024 * 1024;

/**
 * Errors of a new file next to the hosts file, or of the rename over it. The
 * hosts file itself may still be writable.
 */
const irreplaceable = new Set(["EBUSY", "EXDEV", "EACCES", "EPERM", "EROFS", "ETXTBSY"]);

/** "overtaken": another program changed the file first; it was not written. */
async function write(
  file: string,
  old: HostsContent | undefined,
  bytes: Buffer,
  { fs, copies, inPlace }: { fs: HostsFs; copies: Copies; inPlace: boolean },
): Promise<"replaced" | "overwritten" | "overtaken"> {
  if (old !== undefined && inPlace) return await overwrite(file, old, bytes, copies);
  const renameIfUnchanged = async (from: string, to: string) => {
    await copyAttributes(to, from);
    const now = await fs.read(file);
    if (!sameContent(now, old)) throw overtaken(file);
    await fs.rename(from, to, now?.stamp);
  };
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const replaced = await open(file, flags).catch(() => undefined);
  try {
    await writeFileAtomic(file, bytes, { mode: old?.mode ?? 0o644, rename: renameIfUnchanged });
    if (replaced !== undefined && old !== undefined)
      await carryTail(replaced, old.bytes.length, file);
    return "replaced";
  } catch (error) {
    if (isOvertaken(error)) return "overtaken";
    if (old === undefined || !isNgrokdError(error)) throw error;
    const errno = String(error.details.errno);
    const isRoomy = bytes.length <= old.bytes.length && noRoom.has(errno);
    if (!irreplaceable.has(errno) && !isRoomy) throw error;
    return await overwrite(file, old, bytes, copies);
  } finally {
    await replaced?.close();
  }
}

const overtaken = (path: string): NgrokdError =>
  new NgrokdError("hosts", `"${path}" was changed by another program`, {
    details: { overtaken: true },
  });
const isOvertaken = (error: unknown): boolean =>
  isNgrokdError(error) && error.details.overtaken === true;

/** In one go, so that no program comes in between the look and the rename. */
async function renameUnchanged(from: string, to: string, stamp?: string): Promise<void> {
  const now = statSync(to, { bigint: true, throwIfNoEntry: false });
  if (stamp !== undefined && (now === undefined || stampIn(now) !== stamp)) throw overtaken(to);
  renameSync(from, to);
}

/**
 * Gives the new file the extended attributes that users gave the old one. node:
 * has no call for them, and a `cp` that cannot copy them is on systems that
 * hardly know them.
 */
async function copyAttributes(from: string, to: string): Promise<void> {
  if (process.platform !== "linux" || !existsSync(from)) return;
  const words = ["--attributes-only", "--preserve=xattr", "--", from, to];
  await promisify(execFile)("/bin/cp", words, { timeout: 5000 }).catch(() => undefined);
}

function sameContent(a: HostsContent | undefined, b: HostsContent | undefined): boolean {
  return a === undefined || b === undefined
    ? a === b
    : a.mode === b.mode && a.bytes.equals(b.bytes);
}

async function keepOriginal(copy: string, { bytes, mode }: HostsContent): Promise<void> {
  try {
    await lstat(copy);
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") throw error;
    await keepCopy(copy, bytes, mode);
  }
}

async function fileAt(path: string): Promise<string> {
  const file = await realFile(path);
  if (file !== undefined) return file;
  throw new NgrokdError(
    "hosts",
    `Cannot edit "${path}": it is a symbolic link to a file that does not exist`,
    { hint: chooseAnother },
  );
}

async function readHosts(path: string): Promise<HostsContent | undefined> {
  // Not blocking: opening a named pipe would wait for a writer.
  const file = await open(
    path,
    constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK,
  ).catch((error) => {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  });
  if (file === undefined) return undefined;
  try {
    const info = await file.stat({ bigint: true });
    const wrong = !info.isFile()
      ? "it is not a regular file"
      : info.size > sizeLimit
        ? `it is ${info.size} bytes long`
        : undefined;
    if (wrong !== undefined)
      throw new NgrokdError("hosts", `Cannot edit "${path}": ${wrong}`, { hint: chooseAnother });
    const { mode, nlink } = info;
    const known = { mode: Number(mode) & 0o7777, stamp: stampIn(info), links: Number(nlink) };
    return { bytes: await file.readFile(), ...known };
  } finally {
    await file.close();
  }
}

/**
 * A new file gets the SELinux label of the folder. The runtime has no call to
 * copy the label of the old file.
 */
function hasSelinux(): boolean {
  try {
    return existsSync("/sys/fs/selinux/enforce");
  } catch {
    // Deno allows this look only with all rights.
    return true;
  }
}

/**
 * The runtime cannot read access control lists, but `ls` marks them with a plus
 * after the mode (POSIX; GNU and macOS do). The `ls` of busybox does not; its
 * systems rarely have such lists. Called only before a write.
 */
async function hasAcl(path: string): Promise<boolean> {
  const env = { LC_ALL: "C" };
  const said = await promisify(execFile)("/bin/ls", ["-ldn", "--", path], {
    env,
    timeout: 5000,
  }).catch(() => undefined);
  return said?.stdout.charAt(10) === "+";
}

const chooseAnother = "set NGROKD_HOSTS_PATH to the hosts file that this system reads";

/**
 * Runs work on the hosts file. Its error then says that the hosts file cannot
 * be edited, with a hint.
 */
async function told<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw hostsError(path, error);
  }
}

function hostsError(path: string, error: unknown): NgrokdError {
  if (error instanceof NgrokdError && error.hint !== undefined) return error;
  const known = fileError(`Cannot edit "${path}"`, error);
  const denied = known.code === "permission";
  const hint = denied
    ? process.getuid?.() === 0
      ? rootHint(path, String(known.details.errno))
      : "run the daemon as root, or set NGROKD_HOSTS_PATH to a file it may write"
    : "the next pass tries again; NGROKD_HOSTS_PATH can name another file";
  return new NgrokdError(denied ? "permission" : "hosts", known.message, {
    cause: error,
    hint: known.hint ?? hint,
    details: known.details,
  });
}
