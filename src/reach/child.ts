import type { ChildProcess } from "node:child_process";
import { constants } from "node:os";
import process from "node:process";
import { isatty } from "node:tty";

/**
 * The exit code of a program that has our streams. Signals that reach us are
 * passed on. A terminal sends those of its keys to the program as well.
 */
export async function exitOf(child: ChildProcess): Promise<number> {
  const onTerminal = [0, 1, 2].some((fd) => isatty(fd));
  const passed = [...asked, ...(onTerminal ? [] : ofKeys)];
  const pass = (signal: NodeJS.Signals): void => void child.kill(signal);
  const wait = (): void => undefined;
  for (const signal of passed) process.on(signal, pass);
  if (onTerminal) for (const signal of ofKeys) process.on(signal, wait);
  try {
    return await new Promise((resolve, reject) => {
      child.once("error", reject);
      child.once("exit", (code, signal) => resolve(code ?? 128 + numberOf(signal)));
    });
  } finally {
    for (const signal of passed) process.off(signal, pass);
    for (const signal of ofKeys) process.off(signal, wait);
  }
}

const asked = ["SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2"] as const;
/** Ctrl-C and Ctrl-\. */
const ofKeys = ["SIGINT", "SIGQUIT"] as const;

const numberOf = (signal: NodeJS.Signals | null): number =>
  signal === null ? 0 : constants.signals[signal];
