import type { ArgsDef, CommandDef, ParsedArgs } from "citty";
import { defineCommand } from "citty";
import type { Net } from "../net/types.ts";
import type { Say } from "./say.ts";

/**
 * What a command gets besides its arguments: everything that touches the
 * outside, so that tests can hand in their own.
 */
export interface Io {
  readonly net: Net;
  readonly say: Say;
  readonly env: Readonly<Record<string, string | undefined>>;
  /**
   * Aborts at the first SIGINT, SIGTERM or SIGHUP; a command that stays (serve,
   * cloud, demo) ends by it. The first look at it installs the handlers: a
   * command that never looks is ended by the signal itself, as any program is.
   */
  readonly stop: AbortSignal;
  /** Aborts at the second signal: no more patience. */
  readonly hurry: AbortSignal;
  /**
   * From now on SIGHUP calls this instead, unless it comes because the terminal
   * has gone.
   */
  readonly onHangUp: (listener: () => void) => void;
}

/**
 * Settles when the signal aborts. Take `io.stop` before the work begins: what a
 * signal finds half done is then taken back in order.
 */
export function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) =>
    signal.addEventListener("abort", () => resolve(), { once: true }),
  );
}

/** The exit code: 0 is success; docs/usage.md lists them all. */
export type ExitCode = number;

/** Flags that every command takes, before or after its name. */
export const globalArgs = {
  json: { type: "boolean", description: "Print JSON for programs instead of text for people" },
  socket: {
    type: "string",
    valueHint: "path",
    description: "The daemon's socket (NGROKD_SOCKET; else as configured)",
  },
  config: {
    type: "string",
    valueHint: "file",
    description: "Configuration (NGROKD_CONFIG; else /etc/ngrokd/config.yml)",
  },
  debug: { type: "boolean", description: "Show stack traces and debug logging" },
  help: { type: "boolean", alias: "h", description: "Show this help" },
} as const satisfies ArgsDef;

export type Args<T extends ArgsDef> = ParsedArgs<T & typeof globalArgs>;

export interface CommandSpec<T extends ArgsDef> {
  readonly name: string;
  readonly description: string;
  readonly args?: T;
  /**
   * Lines that work when typed; shown at the end of --help and run by the
   * tests.
   */
  readonly examples: readonly string[];
  /**
   * `rawArgs` are the words behind the command's name, for flags that may be
   * repeated: `args` has the last one only.
   */
  readonly run: (
    args: Args<T>,
    io: Io,
    rawArgs: readonly string[],
  ) => Promise<ExitCode | undefined>;
}

/** A leaf command: one file of cli/ exports one as default. */
export type Command = CommandDef<ArgsDef> & {
  readonly description: string;
  readonly examples: readonly string[];
};

export function command<const T extends ArgsDef = Record<never, never>>(
  spec: CommandSpec<T>,
): Command {
  const { name, description, args, examples, run } = spec;
  const definition = defineCommand({
    meta: { name, description },
    args: { ...args, ...globalArgs } as ArgsDef,
    // run.ts passes the Io as citty's `data`; citty types it as any.
    run: ({ args: parsedArgs, data, rawArgs }) =>
      run(parsedArgs as unknown as Args<T>, data as Io, rawArgs),
  });
  return Object.assign(definition, { description, examples });
}
