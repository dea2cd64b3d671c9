// The command line: finds the command of the words, and prints its result.

import { type ArgsDef, runCommand } from "citty";
import { NgrokdError } from "../model/error.ts";
import { quote } from "../model/parsed.ts";
import { closest } from "../model/similar.ts";
import type { Say } from "../terminal/say.ts";
import { version } from "../version.ts";
import { type Command, type ExitCode, globalArgs, type Io, type Tree } from "./command.ts";
import { commands } from "./commands.ts";
import { exitCodeOf, exitCodes } from "./exit-codes.ts";
import { checkFlags, usageError } from "./flags.ts";

/**
 * Runs the command of the words. Returns the exit code. Never rejects, since it
 * prints errors itself.
 */
export async function runCli(argv: readonly string[], io: Io): Promise<ExitCode> {
  try {
    return await dispatch(argv, io);
  } catch (error) {
    io.say.error(error);
    return exitCodeOf(error);
  }
}

async function dispatch(argv: readonly string[], io: Io): Promise<ExitCode> {
  const { path, node, rest } = resolve(argv);
  if (typeof node !== "function") return await explainGroup(node, path, rest, io.say);
  const command = await node();
  // Behind `--` are the words of another program.
  const own = rest.includes("--") ? rest.slice(0, rest.indexOf("--")) : rest;
  if (own.some((arg) => arg === "--help" || arg === "-h")) {
    const { commandHelp } = await import("./help.ts");
    const text = commandHelp(command, path, io.say);
    io.say.result({ usage: text }, text);
    return exitCodes.ok;
  }
  checkFlags(rest, command.args as ArgsDef, path);
  const { result } = await runCommand(command, { rawArgs: rest, data: io }).catch(
    (error: unknown) => {
      // citty's own error for a missing argument.
      if (error instanceof Error && error.name === "CLIError")
        throw usageError(error.message, path);
      throw error;
    },
  );
  return typeof result === "number" ? result : exitCodes.ok;
}

interface CommandMatch {
  readonly path: readonly string[];
  readonly node: Tree | (() => Promise<Command>);
  readonly rest: string[];
}

/**
 * Follows the words from the root of the tree to a command. Flags may be
 * between them.
 */
function resolve(argv: readonly string[]): CommandMatch {
  const path: string[] = [];
  const rest: string[] = [];
  let node: CommandMatch["node"] = commands;
  for (let i = 0; i < argv.length; i += 1) {
    const word = argv[i] ?? "";
    if (typeof node === "function" || word === "--") {
      rest.push(...argv.slice(i));
      break;
    }
    if (word.startsWith("-")) {
      rest.push(word);
      // In `ngrokd --socket PATH list`, PATH is the flag's value and no
      // command.
      if (takesValue(word) && i + 1 < argv.length) rest.push(argv[++i] ?? "");
      continue;
    }
    // `ngrokd help list`, as in other programs.
    if (word === "help" && path.length === 0) {
      rest.push("--help");
      continue;
    }
    const entry: Tree[string] | undefined = Object.hasOwn(node, word) ? node[word] : undefined;
    if (entry === undefined) {
      const near = meant(word, node);
      throw new NgrokdError("usage", `Unknown command ${quote([...path, word].join(" "))}`, {
        hint:
          near === undefined
            ? `\`${["ngrokd", ...path, "--help"].join(" ")}\` lists the commands`
            : `did you mean \`${["ngrokd", ...path, near].join(" ")}\`?`,
      });
    }
    path.push(word);
    node = entry.of;
  }
  return { path, node, rest };
}

/**
 * The command that an unknown word most likely means. It is a command of a
 * group, or has another name in other programs, or has a typing error.
 */
function meant(word: string, node: Tree): string | undefined {
  const group = Object.entries(node).find(
    ([, { of }]) => typeof of !== "function" && Object.hasOwn(of, word),
  );
  if (group !== undefined) return `${group[0]} ${word}`;
  const ours = otherWords.get(word) ?? "";
  return Object.hasOwn(node, ours) ? ours : closest(word, Object.keys(node));
}

/** Names in other programs; `run` is the Go program's. */
const otherWords: ReadonlyMap<string, string> = new Map([
  ["run", "serve"],
  ["daemon", "serve"],
  ["ls", "list"],
  ["login", "set-api-key"],
]);

const takesValue = (flag: string): boolean => {
  const name = flag.replace(/^--/, "");
  return (
    Object.hasOwn(globalArgs, name) && globalArgs[name as keyof typeof globalArgs].type === "string"
  );
};

/**
 * Prints the help of a group of commands. Throws NgrokdError `usage` if help
 * was not requested, since a group alone is not a command.
 */
async function explainGroup(
  tree: Tree,
  path: readonly string[],
  rest: readonly string[],
  say: Say,
): Promise<ExitCode> {
  checkFlags(
    rest,
    path.length === 0 ? { ...globalArgs, version: { type: "boolean", alias: "v" } } : globalArgs,
    path,
  );
  if (path.length === 0 && rest.some((arg) => arg === "--version" || arg === "-v")) {
    say.result({ version }, `ngrokd ${version}`);
    return exitCodes.ok;
  }
  if (path.length === 0 || rest.includes("--help") || rest.includes("-h")) {
    const { groupHelp } = await import("./help.ts");
    say.result({ commands: Object.keys(tree) }, groupHelp(tree, path, say));
    return exitCodes.ok;
  }
  throw new NgrokdError(
    "usage",
    `\`ngrokd ${path.join(" ")}\` needs one of: ${Object.keys(tree).join(", ")}`,
    {
      hint: `\`ngrokd ${path.join(" ")} --help\` explains them`,
    },
  );
}
