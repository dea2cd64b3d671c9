#!/usr/bin/env -S deno run -A
import { isatty } from "node:tty";
import type { Io } from "./cli/command.ts";
import { exitCodes } from "./cli/exit-codes.ts";
import { runCli } from "./cli/run.ts";
import type { Net } from "./net/types.ts";
import { createSay, type Output } from "./terminal/say.ts";
import { unwritten, writeAll } from "./terminal/write-all.ts";

/**
 * The entry: picks this runtime's sockets, runs the CLI, and is the only place
 * that ends the process.
 */
const argv = process.argv.slice(2);
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

const code = await runCli(argv, createIo(await runtimeNet()));
process.exit(code);

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
 * Texts go straight to the descriptor, which leaves nothing to flush at the end
 * and tells of a failure; making the stream alone would take a third of a
 * command's time.
 */
function outputOf(name: "stdout" | "stderr"): Output {
  const fd = name === "stdout" ? 1 : 2;
  const isTerminal = isatty(fd);
  let fed = false;
  return {
    write: (text) => {
      try {
        writeAll(fd, text);
      } catch (error) {
        // Nobody is left to whom a failure of stderr could be told.
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
