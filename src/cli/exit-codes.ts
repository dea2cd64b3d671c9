import type { ErrorCode } from "../model/error.ts";
import { errorValue } from "../terminal/say.ts";
import type { ExitCode } from "./command.ts";

/** docs/usage.md, "Exit codes". */
export const exitCodes = {
  ok: 0,
  failure: 1,
  usage: 2,
  cut: 3,
  notRunning: 4,
  permission: 5,
  alreadyRunning: 6,
  output: 7,
} as const;

export function exitCodeOf(error: unknown): ExitCode {
  const code = errorValue(error).code as ErrorCode | "internal";
  switch (code) {
    case "usage":
    case "config":
      return exitCodes.usage;
    case "not-running":
      return exitCodes.notRunning;
    case "permission":
      return exitCodes.permission;
    case "already-running":
      return exitCodes.alreadyRunning;
    case "output":
      return exitCodes.output;
    default:
      return exitCodes.failure;
  }
}
