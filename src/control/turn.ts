import { mkdirSync } from "node:fs";
import { link, readdir, rename, rmdir, unlink } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { errnoOf } from "../model/errno.ts";
import { NgrokdError } from "../model/error.ts";
import type { Net } from "../net/types.ts";
import { isAlive } from "./alive.ts";

/** How long to wait for another daemon's turn to end. */
const patienceMs = 10_000;

export interface TurnOptions {
  readonly net: Net;
  /** The path of the control socket. */
  readonly path: string;
  /**
   * Our own listening socket, in the folder of `path`, and a name that no other
   * daemon has. Together they prove that we are alive.
   */
  readonly socket: string;
  readonly name: string;
}

/**
 * Runs `work` while no other daemon does so for the same path. So if it found a
 * socket dead, the socket is still dead when it is replaced.
 *
 * A lock file would outlive the death of its process. So the turn is a folder,
 * `<path>.turn`, with a second name of our socket in it. rename(2) puts the
 * folder in place only if there is none or an empty one. The socket in it
 * replies as long as its process lives. After a crash the next daemon empties
 * the folder by that name, which no other socket ever has. Rejects with
 * `already-running` if the turn does not come within 10 s.
 */
export async function inTurn<T>(
  { net, path, socket, name }: TurnOptions,
  work: () => Promise<T>,
): Promise<T> {
  const turn = `${path}.turn`;
  const ours = `${socket}.turn`;
  // Synchronous, since the umask belongs to the whole process: a unix listener
  // that opens meanwhile changes it for a moment.
  mkdirSync(ours, { mode: 0o700 });
  try {
    await link(socket, join(ours, name));
    const deadline = performance.now() + patienceMs;
    while (!(await placed(ours, turn))) {
      if (performance.now() > deadline)
        throw new NgrokdError(
          "already-running",
          `Another daemon keeps starting on the control socket "${path}"`,
        );
      await removeDead(net, turn);
      await sleep(5 + 20 * Math.random());
    }
  } catch (error) {
    await unlink(join(ours, name)).catch(absent);
    await rmdir(ours);
    throw error;
  }
  try {
    return await work();
  } finally {
    await unlink(join(turn, name));
    // The next daemon may have put its own folder here by now.
    await rmdir(turn).catch(unless("ENOENT", "ENOTEMPTY", "EEXIST"));
  }
}

async function placed(folder: string, at: string): Promise<boolean> {
  try {
    await rename(folder, at);
    return true;
  } catch (error) {
    unless("ENOTEMPTY", "EEXIST")(error);
    return false;
  }
}

async function removeDead(net: Net, turn: string): Promise<void> {
  for (const name of (await readdir(turn).catch(absent)) ?? []) {
    const socket = join(turn, name);
    if (!(await isAlive(net, socket))) await unlink(socket).catch(absent);
  }
}

const unless =
  (...codes: string[]) =>
  (error: unknown): undefined => {
    if (!codes.includes(errnoOf(error) ?? "")) throw error;
  };
const absent = unless("ENOENT");
