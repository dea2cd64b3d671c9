/**
 * files/ reads and writes files safely, and knows the paths of the daemon's own
 * files.
 */
import { constants, statSync } from "node:fs";
import {
  access,
  type FileHandle,
  mkdir,
  open,
  readFile,
  rename,
  stat,
  unlink,
} from "node:fs/promises";
import { dirname, join } from "node:path";
import process from "node:process";
import { errnoOf, errnoSentence } from "../model/errno.ts";
import { NgrokdError, reasonOf } from "../model/error.ts";
import { randomHex } from "../model/random.ts";

/**
 * Replaces a whole file or leaves it unchanged, also after a crash. It writes a
 * temporary file in the same folder, so that the rename stays on one file
 * system, and then does fsync, rename and fsync of the folder. The new file has
 * `mode` from the start, whatever the umask, and the owner of the old file.
 *
 * A file that is a mount of its own, as in a container, cannot be replaced. It
 * is written in place, and gets its old text back if that fails half way.
 *
 * `rename` replaces the system's rename. A caller uses it for a last check, and
 * tests use it too. If it rejects, the old file is unchanged. Rejects with
 * NgrokdError `state` or `permission`, with the cause.
 */
export async function writeFileAtomic(
  path: string,
  content: string | Uint8Array,
  options: { mode: number; rename?: (from: string, to: string) => Promise<void> },
): Promise<void> {
  const temporary = join(dirname(path), `.${randomHex(6)}.ngrokd.tmp`);
  let made = false;
  try {
    const old = await stat(path).catch(() => undefined);
    const file = await open(
      temporary,
      constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW,
      0o600,
    );
    made = true;
    try {
      await file.writeFile(content);
      await file.chmod(options.mode);
      // This comes last. A root without all rights, as under a service unit,
      // cannot change a file that belongs to another user.
      if (old !== undefined) await takeOwner(file, old);
      await file.sync();
    } finally {
      await file.close();
    }
    await (options.rename ?? rename)(temporary, path);
    await syncFolder(dirname(path));
  } catch (error) {
    const isMount = options.rename === undefined && isMountError(error, made);
    try {
      if (!isMount) throw error;
      await writeInPlace(path, Buffer.from(content), options.mode);
    } catch (failure) {
      throw fileError(`Cannot write "${path}"`, made && isMount ? failure : error);
    } finally {
      if (made) await unlink(temporary).catch(() => undefined);
    }
  }
}

/**
 * Removes a file; a missing file is a success. Rejects with NgrokdError
 * `permission` or `state`.
 */
export async function removeFile(path: string): Promise<void> {
  await unlink(path).catch((error: unknown) => {
    if (errnoOf(error) !== "ENOENT") throw fileError(`Cannot remove "${path}"`, error);
  });
}

/** Bytes of one file. The last list of endpoints is by far the largest. */
const readLimit = 128 * 1024 * 1024;

/**
 * The file is a mount (EBUSY). If its folder is read-only (EROFS), it may also
 * be one, so writing in place is tried.
 */
const isMountError = (error: unknown, made: boolean): boolean =>
  errnoOf(error) === (made ? "EBUSY" : "EROFS");

async function writeInPlace(path: string, content: Buffer, mode: number): Promise<void> {
  const file = await open(path, constants.O_RDWR | constants.O_NOFOLLOW);
  try {
    const info = await file.stat();
    if (!info.isFile()) throw new Error("it is not a regular file");
    // Never allow more while the file is written than before.
    if ((info.mode & 0o7777 & ~mode) !== 0) await file.chmod(info.mode & mode & 0o7777);
    const old = await file.readFile();
    try {
      await put(file, content);
    } catch (error) {
      await put(file, old);
      throw error;
    }
  } finally {
    await file.close();
  }
}

async function put(file: FileHandle, content: Buffer): Promise<void> {
  for (let at = 0; at < content.length; ) {
    const { bytesWritten } = await file.write(content, at, content.length - at, at);
    at += bytesWritten;
  }
  await file.truncate(content.length);
  await file.sync();
}

/**
 * The text of a file (UTF-8) without a byte order mark, or undefined if there
 * is no file. Rejects as {@link readBytesIfThere} does.
 */
export async function readFileIfThere(path: string, limit?: number): Promise<string | undefined> {
  const bytes = await readBytesIfThere(path, limit);
  return bytes?.toString("utf8").replace(/^\ufeff/, "");
}

/**
 * The bytes of a file, or undefined if there is no file. Does not read a device
 * or a pipe, which may never end, or a file over `limit`. Rejects with
 * NgrokdError `state` or `permission` for these and all other errors.
 */
export async function readBytesIfThere(
  path: string,
  limit = readLimit,
): Promise<Buffer | undefined> {
  const refuse = (why: string): NgrokdError =>
    new NgrokdError("state", `Cannot read "${path}": ${why}`);
  try {
    const info = await stat(path);
    if (!info.isFile() && !info.isDirectory()) throw refuse("it is not a file");
    if (info.size > limit)
      throw refuse(`it has ${info.size} bytes, and no more than ${limit} are read`);
    return await readFile(path);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw fileError(`Cannot read "${path}"`, error);
  }
}

/**
 * Creates a folder, and those above it, with `mode` if it is missing. Then
 * proves that a file can be written in it. Rejects with NgrokdError `state` or
 * `permission`.
 */
export async function ensureWritableFolder(path: string, mode = 0o700): Promise<void> {
  try {
    await mkdir(path, { recursive: true, mode });
    await access(path, constants.W_OK | constants.X_OK);
    // access() does not detect a full disk, or a read-only mount as root. So
    // write a real file.
    const probe = join(path, `.${randomHex(6)}.ngrokd.tmp`);
    const file = await open(probe, "wx", 0o600);
    try {
      await file.writeFile("probe");
      await file.sync();
    } finally {
      await file.close();
      await unlink(probe);
    }
  } catch (error) {
    throw fileError(`Cannot write into the folder "${path}"`, error);
  }
}

/**
 * Rejects as {@link ensureWritableFolder} if no file can be created in a
 * folder. It checks the mode and a read-only mount without writing, so it does
 * not detect a full disk.
 */
export async function checkWritableFolder(path: string): Promise<void> {
  await access(path, constants.W_OK | constants.X_OK).catch((error: unknown) => {
    throw fileError(`Cannot write into the folder "${path}"`, error);
  });
}

/**
 * A file system error as NgrokdError: `permission` for EACCES, EPERM and EROFS,
 * `state` for the rest. The text has no temporary name, so it is the same each
 * time.
 */
export function fileError(action: string, cause: unknown): NgrokdError {
  if (cause instanceof NgrokdError) return cause;
  const errno = errnoOf(cause) ?? "";
  const what = errnoSentence(errno) ?? reasonOf(cause);
  const denied = errno === "EACCES" || errno === "EPERM" || errno === "EROFS";
  return new NgrokdError(denied ? "permission" : "state", `${action}: ${what}`, {
    cause,
    details: { errno },
    ...hintFor(errno, cause),
  });
}

function hintFor(errno: string, cause: unknown): { hint?: string } {
  if (errno === "ENOSPC" || errno === "EDQUOT")
    return { hint: "make room there (`df` shows how full it is), then try again" };
  if (errno === "EROFS")
    return {
      hint: "make this file system writable, or use another path; if it is a mount, mount its folder instead",
    };
  if (errno === "EBUSY")
    return { hint: "if the file is a mount, as in a container, mount its folder instead" };
  if (process.getuid?.() !== 0 || (errno !== "EACCES" && errno !== "EPERM")) return {};
  const path = cause instanceof Error && "path" in cause ? String(cause.path) : "";
  return path === "" ? {} : { hint: rootHint(path, errno) };
}

/**
 * The hint if root lacks a permission. Under a service unit, root cannot ignore
 * the owner and the mode of a file.
 */
export function rootHint(path: string, errno = "EACCES"): string {
  const immutable = errno === "EPERM" ? "is it immutable (`lsattr`)? if not, " : "";
  return `${immutable}root has not all rights here, as in a service: ${ownerOf(path)} give it to root (chown), or widen its mode`;
}

function ownerOf(path: string): string {
  try {
    const { uid, mode } = statSync(path);
    return `"${path}" belongs to the user ${uid}, with the mode ${(mode & 0o7777).toString(8)};`;
  } catch {
    return "the file or its folder belongs to another user;";
  }
}

async function takeOwner(file: FileHandle, old: { uid: number; gid: number }): Promise<void> {
  const mine = await file.stat();
  if (mine.uid !== old.uid || mine.gid !== old.gid) await file.chown(old.uid, old.gid);
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } catch (error) {
    // Some file systems cannot sync a folder. The file itself is already safe.
    if (errnoOf(error) !== "EINVAL" && errnoOf(error) !== "ENOTSUP") throw error;
  } finally {
    await folder.close();
  }
}
