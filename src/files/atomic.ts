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
 * Replaces a whole file or leaves it as it was, whatever happens in between:
 * temporary file in the same folder (so that rename stays on one file system),
 * fsync, rename, fsync of the folder. The new file has `mode` from its first
 * moment on, whatever the umask, and the owner of the file it replaces. Rejects
 * with the NgrokdError `state` or `permission`, the cause attached. `rename`
 * stands in for the system's: for a caller that must look once more before it,
 * and for tests; after a rejection of it the old file is still there.
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

/**
 * The text of a file, or undefined where there is none. Rejects with
 * NgrokdError `state` or `permission` for everything else.
 */
export async function readFileIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw fileError(`Cannot read "${path}"`, error);
  }
}

/**
 * Makes a folder (and those above it) with `mode` where it is missing, and
 * proves that files can be made in it.
 */
export async function ensureWritableFolder(path: string, mode = 0o700): Promise<void> {
  try {
    await mkdir(path, { recursive: true, mode });
    await access(path, constants.W_OK | constants.X_OK);
    // access() knows nothing of a full disk or a read-only mount met by root:
    // write for real.
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
 * Whether files can be made in a folder, as far as can be told without making
 * one: its mode and a read-only mount, but not a full disk. Rejects as
 * {@link ensureWritableFolder} where they cannot.
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

/** `ENOENT`, `EACCES`, …, where the value is a file system error. */
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
    // Some file systems cannot sync a folder; the file itself is safe by then.
    if (errnoOf(error) !== "EINVAL" && errnoOf(error) !== "ENOTSUP") throw error;
  } finally {
    await folder.close();
  }
}
