import { type ChildProcess, spawn } from "node:child_process";
import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import { isAbsolute } from "node:path";
import process from "node:process";
import { self, wayTo, writerOf } from "../files/writers.ts";
import { errnoOf } from "../model/errno.ts";
import { NgrokdError, reasonOf } from "../model/error.ts";
import { withoutInherited } from "./inherited.ts";
import type { Child } from "./leaving.ts";

/**
 * Rejects with NgrokdError `refused` unless the daemon may become this program:
 * nobody but root and the daemon's own user can change it.
 */
export async function checkProgram(path: string): Promise<void> {
  const refused = (why: string, hint?: string): NgrokdError =>
    new NgrokdError("refused", `Cannot hand over to "${path}": ${why}`, { hint });
  if (!isAbsolute(path)) throw refused("it is not an absolute path");
  const info = await stat(path).catch(() => undefined);
  if (info === undefined)
    throw refused(
      "the daemon sees no such file",
      "a service sees neither the homes of users nor the /tmp of others; put it beside the installed program",
    );
  if (!info.isFile()) throw refused("it is not a file");
  const mayRun = await access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
  if (!mayRun) throw refused("it is not executable", `run \`chmod 0755 ${path}\``);
  const writer = writerOf(await wayTo(path), self());
  if (writer !== undefined)
    throw refused(
      `other users could change it: ${writer.why}`,
      `run \`sudo ${writer.fix}\`, or copy it to /usr/local/bin`,
    );
}

/** The compiled program that runs, with its arguments. */
export interface OwnProgram {
  readonly path: string;
  readonly args: readonly string[];
}

/** Throws `refused` if this process is no compiled program. */
export function ownProgram(): OwnProgram {
  if (process.argv[1]?.startsWith("/$bunfs/") !== true)
    throw new NgrokdError("refused", "Cannot hand over: this daemon runs from its sources", {
      hint: "only the compiled program can; stop it, and start it again",
    });
  return { path: process.execPath, args: process.argv.slice(2) };
}

/**
 * The environment of the next program. The watchdog counts for a process that
 * systemd has started, and for its successor.
 */
export function environmentOfNext(
  env: Readonly<Record<string, string | undefined>>,
  more: Readonly<Record<string, string>>,
): Record<string, string> {
  const { WATCHDOG_PID: _, ...rest } = withoutInherited(env);
  return { ...(rest as Record<string, string>), ...more };
}

function spawned(
  path: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): ChildProcess {
  try {
    return spawn(path, args, { stdio: ["ignore", "inherit", "inherit"], env });
  } catch (error) {
    const isNone = errnoOf(error) === "ENOEXEC";
    const why = isNone ? "it is no program for this machine" : reasonOf(error);
    throw new NgrokdError("refused", why, { cause: error });
  }
}

/** Starts a program beside this one. It outlives this process. */
export function startProgram(
  path: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Child {
  const child = spawned(path, args, env);
  const ended = new Promise<string>((resolve) => {
    child.once("error", (error) => resolve(`at once: ${reasonOf(error)}`));
    child.once("exit", (code, signal) =>
      resolve(signal === null ? `with exit code ${code}` : `by ${signal}`),
    );
  });
  child.unref();
  return { pid: child.pid ?? 0, ended, kill: () => child.kill("SIGKILL") };
}
