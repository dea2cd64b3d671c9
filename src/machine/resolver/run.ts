import { execFile } from "node:child_process";
import { reasonOf } from "../../model/error.ts";

/** Runs a program by its path, without a shell. */
export type Run = (path: string, words: readonly string[]) => Promise<Output>;

export interface Output {
  readonly ok: boolean;
  readonly out: string;
  /** The first line of an error; empty if it succeeded. */
  readonly error: string;
}

const limitMs = 5000;

/** Never rejects: a program that is missing or hangs is a failure. */
export const runProgram: Run = (path, words) =>
  new Promise((resolve) => {
    const env = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C", SYSTEMD_COLORS: "0" };
    execFile(path, [...words], { timeout: limitMs, env }, (error, out, err) => {
      const reason = err.trim().split("\n")[0] ?? "";
      const text = error === null ? "" : reason === "" ? reasonOf(error) : reason;
      resolve({ ok: error === null, out, error: text });
    });
  });
