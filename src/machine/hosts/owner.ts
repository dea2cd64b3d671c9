import { execFile } from "node:child_process";
import { constants } from "node:fs";
import { link, open, readFile, realpath, unlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import * as z from "zod/mini";
import { absent } from "../../files/sweep.ts";
import { errnoOf } from "../../model/errno.ts";
import { NgrokdError } from "../../model/error.ts";
import { randomHex } from "../../model/random.ts";

/**
 * The daemon that keeps its names in a hosts file. Two of them would take each
 * other's section out for ever.
 */
export interface Owner {
  readonly pid: number;
  /**
   * The start of the process, as the system reports it. With the pid it proves
   * that this very process lives. Empty if it is unknown.
   */
  readonly started: string;
  /** The daemon's control socket. */
  readonly socket: string;
}

export interface OwnerDeps {
  /** Whether a daemon listens on a control socket. */
  readonly isAlive: (socket: string) => Promise<boolean>;
  /** Replaced in tests. */
  readonly startOf?: (pid: number) => Promise<string>;
}

/**
 * The file that names the owner of a hosts file. It is beside the hosts file.
 * But the service may make no file in the system's folder, so the owner of the
 * system's hosts file is in the folder for files of running programs.
 */
export async function ownerPath(hostsPath: string): Promise<string> {
  const real = await realpath(hostsPath).catch(() => hostsPath);
  const folder = dirname(real);
  return join(runtimeFolders[folder] ?? folder, `.${basename(real)}.ngrokd-owner`);
}

const runtimeFolders: Readonly<Record<string, string>> = {
  "/etc": "/run",
  "/private/etc": "/private/var/run",
};

/**
 * Makes the daemon of `socket` the owner of a hosts file, and returns the
 * function that gives it up. A dead owner is replaced. Rejects with
 * `already-running` if another one lives. Without the right or the room to
 * write the file there is no owner, and no rejection.
 */
export async function claimHosts(
  hostsPath: string,
  socket: string,
  deps: OwnerDeps,
): Promise<() => Promise<void>> {
  const path = await ownerPath(hostsPath);
  const { pid } = process;
  const own = JSON.stringify({ pid, started: await (deps.startOf ?? startOf)(pid), socket });
  // Named like every temporary file of ours, so that one of a crash is swept.
  const draft = join(dirname(path), `.${randomHex(6)}.ngrokd.tmp`);
  try {
    const file = await open(draft, "wx", 0o644);
    await file.writeFile(`${own}\n`).finally(() => file.close());
    for (let turns = 0; !(await linked(draft, path)); turns++) {
      const found = await readOwner(path);
      const other = found?.owner;
      // We hold our socket, so an owner with the same one is dead: its socket
      // would seem alive, since it is ours.
      const isOther = other !== undefined && !(await isSamePath(other.socket, socket));
      if (isOther && (await lives(other, deps))) throw alreadyOwned(hostsPath, other);
      if (turns > 200) throw new Error("the owner keeps changing");
      if (found !== undefined) await inherit(path, found.text, draft, deps);
    }
  } catch (error) {
    if (error instanceof NgrokdError) throw error;
    return async () => undefined;
  } finally {
    await unlink(draft).catch(() => undefined);
  }
  return async () => {
    const found = await readOwner(path).catch(() => undefined);
    if (found?.text.trim() === own) await unlink(path).catch(absent);
  };
}

/** The living owner of a hosts file; undefined if none can be read. */
export async function livingOwner(hostsPath: string, deps: OwnerDeps): Promise<Owner | undefined> {
  const found = await readOwner(await ownerPath(hostsPath)).catch(() => undefined);
  return found?.owner !== undefined && (await lives(found.owner, deps)) ? found.owner : undefined;
}

/** Removes the file that names a dead owner. Never rejects. */
export async function forgetDeadOwner(hostsPath: string, deps: OwnerDeps): Promise<void> {
  if ((await livingOwner(hostsPath, deps)) !== undefined) return;
  const path = await ownerPath(hostsPath);
  if ((await readOwner(path).catch(() => undefined)) !== undefined)
    await unlink(path).catch(() => undefined);
}

/** `pid 12 on the control socket "…"`. */
export const ownerText = ({ pid, socket }: Owner): string =>
  `pid ${pid} on the control socket "${socket}"`;

/** `/var/run` is a link to `/run` on most machines. */
async function isSamePath(one: string, other: string): Promise<boolean> {
  const real = async (path: string): Promise<string> =>
    join(await realpath(dirname(path)).catch(() => dirname(path)), basename(path));
  return (await real(one)) === (await real(other));
}

async function linked(draft: string, path: string): Promise<boolean> {
  try {
    await link(draft, path);
    return true;
  } catch (error) {
    if (errnoOf(error) !== "EEXIST") throw error;
    return false;
  }
}

function alreadyOwned(hostsPath: string, owner: Owner): NgrokdError {
  return new NgrokdError(
    "already-running",
    `Cannot use the hosts file "${hostsPath}": another daemon keeps its names there, ${ownerText(owner)}`,
    {
      hint: "stop that daemon, or set NGROKD_HOSTS_PATH to a hosts file of this one's own",
      details: { pid: owner.pid },
    },
  );
}

const ownerSchema = z.object({
  pid: z.int().check(z.positive()),
  started: z.string(),
  socket: z.string(),
});

const limitBytes = 4096;

/**
 * Rejects if this can be no owner's file: its kind, its size, or a user other
 * than root and this one who has created it.
 */
async function readOwner(path: string): Promise<{ text: string; owner?: Owner } | undefined> {
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const file = await open(path, flags).catch(absent);
  if (file === undefined) return undefined;
  try {
    const info = await file.stat();
    const isTrusted = info.uid === 0 || info.uid === process.getuid?.();
    if (!info.isFile() || info.size > limitBytes || !isTrusted) throw new Error("it is no owner's");
    const text = await file.readFile("utf8");
    const owner = ownerSchema.safeParse(jsonIn(text));
    return owner.success ? { text, owner: owner.data } : { text };
  } finally {
    await file.close();
  }
}

function jsonIn(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/**
 * The pid alone proves nothing, since another process may have it by now. If
 * the system does not report that process's start, the owner's socket decides.
 */
async function lives(owner: Owner, deps: OwnerDeps): Promise<boolean> {
  if (!exists(owner.pid)) return false;
  const started = await (deps.startOf ?? startOf)(owner.pid);
  if (started === "" || owner.started === "") return await deps.isAlive(owner.socket);
  return started === owner.started;
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errnoOf(error) !== "ESRCH";
  }
}

/**
 * The start of a process; empty if the system does not report it, and `ended`
 * for a zombie. If its parent never asks for it, as in a container, a zombie
 * stays for ever. Never rejects.
 */
async function startOf(pid: number): Promise<string> {
  if (process.platform === "linux") {
    const text = await readFile(`/proc/${pid}/stat`, "latin1").catch(() => "");
    // The name in parentheses may have any character. The state is the 3rd
    // field, and the start is the 22nd.
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return /^[ZX]/.test(fields[0] ?? "") ? "ended" : (fields[19] ?? "");
  }
  const env = { LC_ALL: "C", TZ: "UTC" };
  const said = await promisify(execFile)("/bin/ps", ["-o", "lstart=", "-p", String(pid)], {
    env,
    timeout: 5000,
  }).catch(() => undefined);
  return said?.stdout.trim() ?? "";
}

/**
 * Removes the file of a dead owner. The second name of our own `draft`, which
 * one daemon can create at a time, is the right to do so. Only its holder
 * removes this dead owner's file, and it checks the file again first. If a
 * holder dies in between, it is swept like any other dead owner.
 */
async function inherit(path: string, dead: string, draft: string, deps: OwnerDeps): Promise<void> {
  const right = `${path}-heir`;
  if (!(await linked(draft, right))) {
    const holder = await readOwner(right);
    if (holder !== undefined && (holder.owner === undefined || !(await lives(holder.owner, deps))))
      await unlink(right).catch(absent);
    else await sleep(5 + 10 * Math.random());
    return;
  }
  try {
    if ((await readOwner(path))?.text === dead) await unlink(path).catch(absent);
  } finally {
    await unlink(right).catch(absent);
  }
}
