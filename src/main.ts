#!/usr/bin/env -S deno run -A
import type { Io } from "./cli/command.ts";
import { runCli } from "./cli/run.ts";
import { createSay, type Output } from "./cli/say.ts";
import type { Net } from "./net/types.ts";

/** The entry: picks this runtime's sockets, runs the CLI, and is the only place that ends the process. */
const argv = process.argv.slice(2);
const out = outputOf(process.stdout);
const debug = argv.includes("--debug");
const say = createSay({ json: argv.includes("--json"), debug, out, err: outputOf(process.stderr), env: process.env });

// A reader that went away (`ngrokd list | head -1`) is no error of ours.
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));
process.on("uncaughtException", (error) => fail(error));
process.on("unhandledRejection", (error) => fail(error));

const code = await runCli(argv, createIo(await runtimeNet()));
await flush(process.stdout);
await flush(process.stderr);
process.exit(code);

async function runtimeNet(): Promise<Net> {
  return "Bun" in globalThis ? (await import("./net/bun.ts")).bunNet : (await import("./net/node.ts")).nodeNet;
}

function createIo(net: Net): Io {
  let signals: { stop: AbortSignal; hurry: AbortSignal } | undefined;
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
  };
}

function listenForSignals(): { stop: AbortSignal; hurry: AbortSignal } {
  const stop = new AbortController();
  const hurry = new AbortController();
  const onSignal = (): void => (stop.signal.aborted ? hurry.abort() : stop.abort());
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(name, onSignal);
  return { stop: stop.signal, hurry: hurry.signal };
}

function outputOf(stream: NodeJS.WriteStream): Output {
  return {
    write: (text) => void stream.write(text),
    isTerminal: stream.isTTY === true,
    // Both change while the terminal's window does.
    get columns() {
      return stream.columns;
    },
    get rows() {
      return stream.rows;
    },
  };
}

function flush(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => {
    stream.write("", () => resolve());
  });
}

/** A fault of ours that nothing caught: said whole, since somebody has to mend it, and the process ends. */
function fail(error: unknown): void {
  say.error(error);
  if (!debug && error instanceof Error) say.note(`this is a bug in ngrokd: ${error.stack ?? ""}`);
  process.exit(70);
}
