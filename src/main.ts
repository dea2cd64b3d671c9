#!/usr/bin/env -S deno run -A
import { isatty } from "node:tty";
import type { Io } from "./cli/command.ts";
import { runCli } from "./cli/run.ts";
import { cleanEnvironment, confinedEnvironment, foldersToCreateIn } from "./model/environment.ts";
import type { Net } from "./net/types.ts";
import { isNgrokctl, translated } from "./predecessor/predecessor.ts";
import { createSay, type Output } from "./terminal/say.ts";

/**
 * The entry: picks this runtime's sockets, runs the CLI, and is the only place
 * that ends the process.
 */
await startAgain();
const { argv, advice } = translated(process.argv.slice(2));
const debug = argv.includes("--debug");
const say = createSay({
  json: argv.includes("--json"),
  debug,
  out: outputOf("stdout"),
  err: outputOf("stderr"),
  env: process.env,
});

process.on("uncaughtException", (error) => fail(error));
process.on("unhandledRejection", (error) => fail(error));

if (advice !== "") say.note(advice);
process.exit(await run(createIo(await runtimeNet())));

async function run(io: Io): Promise<number> {
  const { net, env, say } = io;
  const print = (text: string): void => say.result(text, text);
  if (!isNgrokctl(process.argv0)) return await runCli(argv, io);
  const { runNgrokctl } = await import("./predecessor/ngrokctl.ts");
  return (await runNgrokctl(argv, { net, env, print })) ?? (await runCli(argv, io));
}

/**
 * The runtime has read its variables when this runs, and its threads are there
 * already. So where variables are left out, or rights given up, the process
 * begins again. Only the compiled program can: its path and its words are all
 * there is to it.
 */
async function startAgain(): Promise<void> {
  if (process.argv[1]?.startsWith("/$bunfs/") !== true) return;
  const folders = foldersToCreateIn(process.env);
  const wanted =
    folders === undefined
      ? process.env
      : confinedEnvironment(
          process.env,
          await (await import("./net/bun.ts")).makeFilesOnlyIn(folders),
        );
  const env = cleanEnvironment(wanted) ?? (folders === undefined ? undefined : wanted);
  if (env !== undefined)
    process.execve?.(process.execPath, [process.argv0, ...process.argv.slice(2)], env);
}

async function runtimeNet(): Promise<Net> {
  return "Bun" in globalThis
    ? (await import("./net/bun.ts")).bunNet
    : (await import("./net/node.ts")).nodeNet;
}

function createIo(net: Net): Io {
  let signals: Signals | undefined;
  const listening = () => {
    signals ??= listenForSignals();
    return signals;
  };
  return {
    net,
    say,
    env: process.env,
    get stop() {
      return listening().stop;
    },
    get hurry() {
      return listening().hurry;
    },
    onHangUp: (listener) => listening().onHangUp(listener),
  };
}

type Signals = Pick<Io, "stop" | "hurry" | "onHangUp">;

function listenForSignals(): Signals {
  const stop = new AbortController();
  const hurry = new AbortController();
  const onSignal = (): void => (stop.signal.aborted ? hurry.abort() : stop.abort());
  for (const name of ["SIGINT", "SIGTERM"] as const) process.on(name, onSignal);
  // A terminal that has gone is a terminal no more, and takes with it what was
  // typed there.
  const terminals = [0, 1, 2].filter((fd) => isatty(fd));
  const terminalIsGone = (): boolean => terminals.some((fd) => !isatty(fd));
  let onHangUp: (() => void) | undefined;
  process.on("SIGHUP", () =>
    onHangUp === undefined || terminalIsGone() ? onSignal() : onHangUp(),
  );
  return {
    stop: stop.signal,
    hurry: hurry.signal,
    onHangUp(listener) {
      onHangUp = listener;
    },
  };
}

/**
 * Whole lines go through the console, which writes at once and leaves nothing
 * to flush at the end; making the stream alone would take a third of a
 * command's time.
 */
function outputOf(name: "stdout" | "stderr"): Output {
  const isTerminal = isatty(name === "stdout" ? 1 : 2);
  const line = name === "stdout" ? console.log : console.error;
  let fed = false;
  return {
    write: (text) => {
      if (text.endsWith("\n")) line(text.slice(0, -1));
      else process[name].write(text);
    },
    feed: (text) => {
      if (!fed)
        process[name].on("error", ({ code }: NodeJS.ErrnoException) =>
          process.exit(code === "EPIPE" ? 0 : 1),
        );
      fed = true;
      process[name].write(text);
    },
    isTerminal,
    // Both change while the terminal's window does.
    get columns() {
      return isTerminal ? process[name].columns : undefined;
    },
    get rows() {
      return isTerminal ? process[name].rows : undefined;
    },
  };
}

/**
 * A fault of ours that nothing caught: said whole, since somebody has to mend
 * it, and the process ends.
 */
function fail(error: unknown): void {
  say.error(error);
  if (!debug && error instanceof Error) say.note(`this is a bug in ngrokd: ${error.stack ?? ""}`);
  process.exit(70);
}
