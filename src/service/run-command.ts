import { spawn } from "node:child_process";
import { onAbort } from "../model/abort.ts";
import { reasonOf } from "../model/error.ts";
import type { Command } from "./service-steps.ts";

export interface CommandResult {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs a program to its end. Code 127 if there is none. Never rejects. */
export async function run([program, ...words]: Command): Promise<CommandResult> {
  const { promise, resolve } = Promise.withResolvers<CommandResult>();
  const child = spawn(program, words, { stdio: ["ignore", "pipe", "pipe"] });
  let [out, err] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    err += text;
  });
  child.once("error", (error) => resolve({ code: 127, out, err: reasonOf(error) }));
  child.once("close", (code) => resolve({ code: code ?? 1, out, err }));
  return await promise;
}

/**
 * Runs a program on this terminal, to its end or until `stop` aborts. Returns
 * its exit code, or 127 if there is none. Never rejects.
 */
export async function runHere([program, ...words]: Command, stop: AbortSignal): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<number>();
  const child = spawn(program, words, { stdio: "inherit" });
  onAbort(stop, () => child.kill("SIGTERM"));
  child.once("error", () => resolve(127));
  child.once("exit", (code) => resolve(stop.aborted ? 0 : (code ?? 1)));
  return await promise;
}
