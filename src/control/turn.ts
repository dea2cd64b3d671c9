import { mkdirSync } from "node:fs";
import { link, readdir, rename, rmdir, unlink } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { errnoOf } from "../files/atomic.ts";
import { NgrokdError } from "../model/error.ts";
import type { Net } from "../net/types.ts";
import { isAlive } from "./alive.ts";

/** How long another daemon's turn is waited for. */
const patienceMs = 10_000;

export interface TurnOptions {
  readonly net: Net;
  /** What is worked at: only one daemon at a time has its turn. */
  readonly path: string;
  /**
   * Our own listening socket, in the same folder as `path`, and a name that
   * nobody else has: together they tell that we live.
   */
  readonly socket: string;
  readonly name: string;
}

/**
 * Runs `work` while no other daemon does so for the same path, so that what it
 * has looked at is still there when it replaces it. There is no lock that the
 * system would take from a dead process, so the turn is a folder,
 * `<path>.turn`, with a second name of our socket in it: rename(2) puts it in
 * place only where there is none or an empty one, and it answers for as long as
 * we live. One that a crash has left is emptied by that one name, which is
 * never another's. Rejects with `already-running` where the turn does not come
 * within 10 s.
 */
export async function inTurn<T>(
  { net, path, socket, name }: TurnOptions,
  work: () => Promise<T>,
): Promise<T> {
  const turn = `${path}.turn`;
  const ours = `${socket}.turn`;
  // At once and not in a thread: the umask is the whole process's, and a unix
  // listener that opens meanwhile narrows it for a moment.
  mkdirSync(ours, { mode: 0o700 });
  try {
    await link(socket, join(ours, name));
    const deadline = Date.now() + patienceMs;
    while (!(await placed(ours, turn))) {
      if (Date.now() > deadline)
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
    // The next one may have taken the empty folder's place by now.
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
