import type { ArgsDef, CommandDef, ParsedArgs } from "citty";
import { defineCommand } from "citty";
import { onAbort } from "../model/abort.ts";
import type { Net } from "../net/types.ts";
import type { Say } from "../terminal/say.ts";

/**
 * Everything outside the process that a command uses besides its arguments.
 * Tests pass their own.
 */
export interface Io {
  readonly net: Net;
  readonly say: Say;
  readonly env: Readonly<Record<string, string | undefined>>;
  /**
   * Aborts at the first SIGINT, SIGTERM or SIGHUP. It ends the commands that
   * run until they are stopped (serve, cloud, demo). The handlers are installed
   * when a command first reads it. Other commands end by the signal itself, as
   * any program does.
   */
  readonly stop: AbortSignal;
  /** Aborts at the second signal: open connections are cut. */
  readonly hurry: AbortSignal;
  /** From now on, SIGHUP calls this instead, unless the terminal was closed. */
  readonly onHangUp: (listener: () => void) => void;
  /** Set by a command: this process becomes that program after it. */
  next?: { readonly path: string; readonly env: Io["env"] } | undefined;
}

/**
 * Resolves when the signal aborts. Read `io.stop` before the work begins, so
 * that a signal in the middle of it is handled and the work is undone in order.
 */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => onAbort(signal, resolve));
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

/** For commands that are about one account. */
export const profileArg = {
  profile: {
    type: "string",
    valueHint: "name",
    description: "Only this profile of the configuration",
  },
} as const satisfies ArgsDef;

/** For commands that may reach the ingress without a daemon. */
export const ownWayArgs = {
  ephemeral: { type: "boolean", description: "Use an identity for this run alone" },
  own: { type: "boolean", description: "Use an identity of your own even if a daemon runs" },
  ca: { type: "string", valueHint: "file", description: "An additional CA for the ingress" },
} as const satisfies ArgsDef;

export type Args<T extends ArgsDef> = ParsedArgs<T & typeof globalArgs>;

export interface CommandSpec<T extends ArgsDef> {
  readonly name: string;
  readonly description: string;
  readonly args?: T;
  /**
   * Command lines that work unchanged. --help shows them, and the tests run
   * them.
   */
  readonly examples: readonly string[];
  /**
   * `rawArgs` are the words after the command's name. They have all values of a
   * repeated flag, and `args` has only the last one.
   */
  readonly run: (
    args: Args<T>,
    io: Io,
    rawArgs: readonly string[],
  ) => Promise<ExitCode | undefined>;
}

/** A command that can be run. Each file of cli/ exports one as its default. */
export type Command = CommandDef<ArgsDef> & {
  readonly description: string;
  readonly examples: readonly string[];
};

/**
 * A command or a group of commands. Each command's code is loaded when it runs,
 * so `ngrokd list` starts without the daemon's code.
 */
export interface Entry {
  readonly description: string;
  readonly of: Tree | (() => Promise<Command>);
}
export type Tree = { readonly [word: string]: Entry };

export function command<const T extends ArgsDef = Record<never, never>>(
  spec: CommandSpec<T>,
): Command {
  const { name, description, args, examples, run } = spec;
  const definition = defineCommand({
    meta: { name, description },
    args: { ...args, ...globalArgs } as ArgsDef,
    // run.ts passes the Io as citty's `data`, whose type is any.
    run: ({ args: parsedArgs, data, rawArgs }) =>
      run(parsedArgs as unknown as Args<T>, data as Io, rawArgs),
  });
  return Object.assign(definition, { description, examples });
}
