/**
 * files/ reads and writes files safely, and knows the paths of the daemon's own
 * files.
 */
import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
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
import { NgrokdError } from "../model/error.ts";

/**
 * Replaces a whole file or leaves it unchanged, also after a crash. It writes a
 * temporary file in the same folder, so that the rename stays on one file
 * system, and then does fsync, rename and fsync of the folder. The new file has
 * `mode` from the start, whatever the umask, and the owner of the old file.
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
  const temporary = join(dirname(path), `.${randomBytes(6).toString("hex")}.ngrokd.tmp`);
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
      if (old !== undefined) await takeOwner(file, old);
      await file.chmod(options.mode);
      await file.sync();
    } finally {
      await file.close();
    }
    await (options.rename ?? rename)(temporary, path);
    await syncFolder(dirname(path));
  } catch (error) {
    if (made) await unlink(temporary).catch(() => undefined);
    throw fileError(`Cannot write "${path}"`, error);
  }
}

/** Of one file; the last list of endpoints is by far the largest. */
const readLimit = 128 * 1024 * 1024;

/**
 * The text of a file (UTF-8), or undefined if there is no file. A device or a
 * pipe, which would not end, is not read, nor is a file over `limit`. Rejects
 * with NgrokdError `state` or `permission` for these and all other errors.
 */
export async function readFileIfThere(
  path: string,
  limit = readLimit,
): Promise<string | undefined> {
  const refuse = (why: string): NgrokdError =>
    new NgrokdError("state", `Cannot read "${path}": ${why}`);
  try {
    const info = await stat(path);
    if (!info.isFile() && !info.isDirectory()) throw refuse("it is not a file");
    if (info.size > limit)
      throw refuse(`it has ${info.size} bytes, and no more than ${limit} are read`);
    return await readFile(path, "utf8");
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
    const probe = join(path, `.${randomBytes(6).toString("hex")}.ngrokd.tmp`);
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
 * `state` for the rest.
 */
export function fileError(action: string, cause: unknown): NgrokdError {
  if (cause instanceof NgrokdError) return cause;
  const errno = errnoOf(cause) ?? "";
  const what = sentences[errno] ?? (cause instanceof Error ? cause.message : String(cause));
  const denied = errno === "EACCES" || errno === "EPERM" || errno === "EROFS";
  return new NgrokdError(denied ? "permission" : "state", `${action}: ${what}`, {
    cause,
    details: { errno },
  });
}

/** `ENOENT`, `EACCES`, … of a file system error; undefined for others. */
export function errnoOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string"
    ? error.code
    : undefined;
}

const sentences: Readonly<Record<string, string>> = {
  EACCES: "permission denied",
  EPERM: "not permitted",
  EROFS: "the file system is read-only",
  ENOSPC: "no space left on the device",
  ENOENT: "no such file or folder",
  ENOTDIR: "a part of the path is not a folder",
  EISDIR: "it is a folder",
  EDQUOT: "the disk quota is used up",
  ELOOP: "too many symbolic links",
};

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
