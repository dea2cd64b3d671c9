#!/usr/bin/env -S deno run -A
import type { Io } from "./cli/command.ts";
import { exitCodes } from "./cli/exit-codes.ts";
import {
  cleanEnvironment,
  confinedEnvironment,
  foldersToCreateIn,
  holdingEnvironment,
  leftDescriptors,
  passedDescriptors,
  withThreads,
} from "./model/environment.ts";
import type { Net } from "./net/types.ts";
import { isNgrokctl, translated } from "./predecessor/predecessor.ts";
import { isTerminal } from "./terminal/is-terminal.ts";
import { createSay, type Output } from "./terminal/say.ts";
import { unwritten, writeAll } from "./terminal/write-all.ts";
import { workerCommand } from "./workers/messages.ts";

/**
 * The entry: picks this runtime's sockets, runs the CLI, and is the only place
 * that ends the process.
 */
/** Commands whose work on files goes on beside lookups. */
const lookUps = new Set(["serve", "run", "doctor", "why"]);
const { argv, advice } = translated(process.argv.slice(2));
await beWorker(argv);
await startAgain(argv[0]);
// Behind `--` are the words of another program.
const own = argv.includes("--") ? argv.slice(0, argv.indexOf("--")) : argv;
const debug = own.includes("--debug");
const say = createSay({
  json: own.includes("--json"),
  debug,
  out: outputOf("stdout"),
  err: outputOf("stderr"),
  env: process.env,
});

process.on("uncaughtException", (error) => fail(error));
process.on("unhandledRejection", (error) => fail(error));

if (advice !== "") say.note(advice);
const io = createIo(await runtimeNet());
const code = await run(io);
if (io.next !== undefined) await become(io.next.path, io.next.env);
process.exit(code);

async function run(io: Io): Promise<number> {
  const { net, env, say } = io;
  const print = (text: string): void => say.result(text, text);
  const { runCli } = await import("./cli/run.ts");
  if (!isNgrokctl(process.argv0)) return await runCli(argv, io);
  const { runNgrokctl } = await import("./predecessor/ngrokctl.ts");
  return (await runNgrokctl(argv, { net, env, print })) ?? (await runCli(argv, io));
}

/**
 * The daemon starts this program as a worker, in an environment that needs no
 * cleaning. Returns if this is none.
 */
async function beWorker(words: readonly string[]): Promise<void> {
  if (words.length !== 1 || words[0] !== workerCommand || process.send === undefined) return;
  // They reach all processes of a service or a terminal; the daemon decides.
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(name, () => undefined);
  const net = await runtimeNet();
  const { lineOfWorker } = await import("./workers/process.ts");
  const line = lineOfWorker(await net.enclosure());
  if (line !== undefined) await (await import("./workers/worker.ts")).work(net, line);
  process.exit(exitCodes.ok);
}

/**
 * Starts the process again if variables must be left out, rights given up, or
 * threads added: the runtime has read its variables by now, and has threads.
 * Only the compiled program can do this, since its path and its arguments are
 * all it needs.
 */
async function startAgain(command: string | undefined): Promise<void> {
  if (process.argv[1]?.startsWith("/$bunfs/") !== true) return;
  const folders = foldersToCreateIn(process.env);
  const confined =
    folders === undefined
      ? undefined
      : confinedEnvironment(
          process.env,
          await (await import("./net/bun.ts")).makeFilesOnlyIn(folders),
        );
  const clean = cleanEnvironment(confined ?? process.env) ?? confined;
  const given =
    clean !== undefined && command === "exec" ? holdingEnvironment(clean, process.env) : clean;
  const looksUp = command !== undefined && lookUps.has(command);
  const env = (looksUp ? withThreads(given ?? process.env) : undefined) ?? given;
  if (env !== undefined) await become(process.execPath, env);
}

/** Returns only if that fails. */
async function become(
  path: string,
  env: Readonly<Record<string, string | undefined>>,
): Promise<void> {
  const words = [process.argv0, ...process.argv.slice(2)];
  // Only Linux has descriptors to inherit, and the C library for it.
  const passed = [...passedDescriptors(env, process.pid), ...leftDescriptors(env).values()];
  if (passed.length > 0)
    await (await import("./net/bun.ts")).becomeProgram(path, words, env, passed);
  process.execve?.(path, words, { ...(env as Record<string, string>) });
}

async function runtimeNet(): Promise<Net> {
  return "Bun" in globalThis
    ? (await import("./net/bun.ts")).createBunNet()
    : (await import("./net/node.ts")).createNodeNet();
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
    next: undefined,
  };
}

type Signals = Pick<Io, "stop" | "hurry" | "onHangUp">;

function listenForSignals(): Signals {
  const stop = new AbortController();
  const hurry = new AbortController();
  const onSignal = (): void => (stop.signal.aborted ? hurry.abort() : stop.abort());
  for (const name of ["SIGINT", "SIGTERM"] as const) process.on(name, onSignal);
  // After a terminal is closed, its descriptor is no terminal any more. The
  // command that was started there must end with it.
  const terminals = [0, 1, 2].filter(isTerminal);
  const terminalIsGone = (): boolean => terminals.some((fd) => !isTerminal(fd));
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
 * Texts go straight to the descriptor, so no text waits to be flushed at the
 * end, and a failure is known. The stream alone would take a third of a
 * command's time.
 */
function outputOf(name: "stdout" | "stderr"): Output {
  const fd = name === "stdout" ? 1 : 2;
  const onTerminal = isTerminal(fd);
  let fed = false;
  return {
    write: (text) => {
      try {
        writeAll(fd, text);
      } catch (error) {
        // A failure of stderr cannot be reported anywhere.
        if (name === "stdout") throw error;
      }
    },
    feed: (text) => {
      if (!fed)
        process[name].on("error", (error: NodeJS.ErrnoException) => {
          if (error.code === "EPIPE") process.exit(0);
          say.error(unwritten(error));
          process.exit(exitCodes.output);
        });
      fed = true;
      process[name].write(text);
    },
    isTerminal: onTerminal,
    // Both change while the terminal's window does.
    get columns() {
      return onTerminal ? process[name].columns : undefined;
    },
    get rows() {
      return onTerminal ? process[name].rows : undefined;
    },
  };
}

/**
 * An error that nothing caught is a bug. It is printed in full, and the process
 * ends.
 */
function fail(error: unknown): void {
  say.error(error);
  if (!debug && error instanceof Error) say.note(`this is a bug in ngrokd: ${error.stack ?? ""}`);
  process.exit(70);
}
