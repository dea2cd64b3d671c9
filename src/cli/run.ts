import { type ArgDef, type ArgsDef, runCommand } from "citty";
import { NgrokdError } from "../model/error.ts";
import { closest } from "../model/similar.ts";
import { version } from "../version.ts";
import { type Command, type ExitCode, globalArgs, type Io } from "./command.ts";
import { commands, type Tree } from "./commands.ts";
import { exitCodeOf, exitCodes } from "./exit-codes.ts";
import { type Say, wrapped } from "./say.ts";

/**
 * Everything from the words on the command line to an exit code; what goes
 * wrong is said here, once.
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
  if (typeof node !== "function") return groupHelp(node, path, rest, io.say);
  const command = await node();
  if (rest.some((arg) => arg === "--help" || arg === "-h")) {
    const text = usage(command, path, io.say);
    io.say.result({ usage: text }, text);
    return exitCodes.ok;
  }
  checkFlags(rest, command.args as ArgsDef, path);
  const { result } = await runCommand(command, { rawArgs: rest, data: io }).catch(
    (error: unknown) => {
      // citty's own complaint about a missing argument.
      if (error instanceof Error && error.name === "CLIError")
        throw usageError(error.message, path);
      throw error;
    },
  );
  return typeof result === "number" ? result : exitCodes.ok;
}

interface Resolved {
  readonly path: readonly string[];
  readonly node: Tree | (() => Promise<Command>);
  readonly rest: string[];
}

/**
 * Walks from the root along the words that name commands; flags may stand
 * anywhere.
 */
function resolve(argv: readonly string[]): Resolved {
  const path: string[] = [];
  const rest: string[] = [];
  let node: Resolved["node"] = commands;
  for (let i = 0; i < argv.length; i += 1) {
    const word = argv[i] ?? "";
    if (typeof node === "function" || word === "--") {
      rest.push(...argv.slice(i));
      break;
    }
    if (word.startsWith("-")) {
      rest.push(word);
      // `--socket PATH` before the command's name: its value is no command.
      if (takesValue(word) && i + 1 < argv.length) rest.push(argv[++i] ?? "");
      continue;
    }
    // `ngrokd help list` is what people type who know other programs.
    if (word === "help" && path.length === 0) {
      rest.push("--help");
      continue;
    }
    const entry: Tree[string] | undefined = Object.hasOwn(node, word) ? node[word] : undefined;
    if (entry === undefined) {
      const near = meant(word, node);
      throw new NgrokdError("usage", `Unknown command "${[...path, word].join(" ")}"`, {
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
 * What somebody most likely means who types a word that is no command here: one
 * of a group's, another program's word, or a slip.
 */
function meant(word: string, node: Tree): string | undefined {
  const group = Object.entries(node).find(
    ([, { of }]) => typeof of !== "function" && Object.hasOwn(of, word),
  );
  if (group !== undefined) return `${group[0]} ${word}`;
  const ours = otherWords.get(word) ?? "";
  return Object.hasOwn(node, ours) ? ours : closest(word, Object.keys(node));
}

/** `run` is the Go program's, `login` that of many. */
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

function groupHelp(
  tree: Tree,
  path: readonly string[],
  rest: readonly string[],
  say: Say,
): ExitCode {
  checkFlags(
    rest,
    path.length === 0 ? { ...globalArgs, version: { type: "boolean", alias: "v" } } : globalArgs,
    path,
  );
  if (path.length === 0 && rest.some((arg) => arg === "--version" || arg === "-v")) {
    say.result({ version }, `ngrokd ${version}`);
    return exitCodes.ok;
  }
  const text = groupUsage(tree, path, say);
  if (path.length === 0 || rest.includes("--help") || rest.includes("-h")) {
    say.result({ commands: Object.keys(tree) }, text);
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

function groupUsage(tree: Tree, path: readonly string[], say: Say): string {
  const { bold, name, dim } = say.paint;
  const width =
    Math.max(
      ...[...Object.keys(tree), ...Object.keys(globalArgs).map((flag) => `--${flag}`)].map(
        (word) => word.length,
      ),
    ) + 2;
  const line = (word: string, text: string) => `  ${name(word.padEnd(width))}${text}`;
  const rows = Object.entries(tree).map(([word, { description }]) => line(word, description));
  const head =
    path.length === 0
      ? [`ngrokd ${version}: ngrok's Kubernetes-bound endpoints, without Kubernetes`, ""]
      : [];
  const flags = Object.entries(globalArgs).map(([flag, { description }]) =>
    line(`--${flag}`, description),
  );
  const first = [
    "",
    bold("First steps"),
    `  ${dim("$")} ngrokd demo                  ${dim("see it work: no account, no root")}`,
    `  ${dim("$")} sudo ngrokd set-api-key      ${dim("your key, from dashboard.ngrok.com/api-keys")}`,
    `  ${dim("$")} sudo ngrokd trust …          ${dim("ngrok's CA; see `ngrokd trust --help`")}`,
    `  ${dim("$")} sudo ngrokd service install  ${dim("run it from now on (`serve`: just here)")}`,
    `  ${dim("$")} sudo ngrokd doctor           ${dim("see that all is well, or what to do")}`,
  ];
  return [
    ...head,
    `${bold("Usage")}  ngrokd ${[...path, "<command>"].join(" ")} [flags]`,
    "",
    bold("Commands"),
    ...rows,
    "",
    bold("Flags of every command"),
    ...flags,
    ...(path.length === 0 ? [line("--version", "Show the version"), ...first] : []),
    "",
    `\`${["ngrokd", ...path, "<command>", "--help"].join(" ")}\` explains a command.`,
  ].join("\n");
}

/** The help of one command, made from its definition. */
function usage(command: Command, path: readonly string[], say: Say): string {
  const { bold, name, dim } = say.paint;
  const args = Object.entries(command.args as ArgsDef);
  const own = args.filter(([flag]) => !Object.hasOwn(globalArgs, flag));
  const positionals = own.filter(([, { type }]) => type === "positional");
  const width = Math.max(...args.map((arg) => flagText(arg).length)) + 2;
  const lines = (list: typeof args): string[] =>
    list.flatMap((arg) => {
      const [first = "", ...more] = wrapped(
        `${arg[1].description ?? ""}${defaultText(arg[1])}`,
        say.width - width - 2,
      );
      return [
        `  ${name(flagText(arg).padEnd(width))}${first}`,
        ...more.map((line) => " ".repeat(width + 2) + line),
      ];
    });
  const section = (title: string, list: typeof args): string[] =>
    list.length === 0 ? [] : ["", bold(title), ...lines(list)];
  return [
    ...wrapped(command.description, say.width),
    "",
    `${bold("Usage")}  ${["ngrokd", ...path, ...positionals.map(flagText)].join(" ")} [flags]`,
    ...section("Arguments", positionals),
    ...section(
      "Flags",
      own.filter((arg) => !positionals.includes(arg)),
    ),
    ...section(
      "Flags of every command",
      args.filter(([flag]) => Object.hasOwn(globalArgs, flag)),
    ),
    "",
    bold("Examples"),
    ...command.examples.map((line) => `  ${dim("$")} ${line}`),
  ].join("\n");
}

function flagText([flag, arg]: [string, ArgDef]): string {
  if (arg.type === "positional") return arg.required === false ? `[${flag}]` : `<${flag}>`;
  const short = aliasesOf(arg).map((letter) => `-${letter}, `);
  return `${short.join("")}--${flag}${arg.type === "boolean" ? "" : ` <${arg.valueHint ?? "value"}>`}`;
}

const aliasesOf = (arg: ArgDef): string[] => ["alias" in arg ? (arg.alias ?? []) : []].flat();

const defaultText = ({ default: value }: ArgDef): string =>
  value === undefined ? "" : ` (default: ${value})`;

/** citty lets unknown flags pass; a typo in a flag must not. */
function checkFlags(rest: readonly string[], defined: ArgsDef, path: readonly string[]): void {
  const names = new Map<string, string>();
  for (const [name, arg] of Object.entries(defined)) {
    const { type = "string" } = arg;
    if (type === "positional") continue;
    names.set(`--${name}`, type);
    for (const short of aliasesOf(arg)) names.set(`-${short}`, type);
    if (type === "boolean") names.set(`--no-${name}`, type);
  }
  const positionals = Object.entries(defined).filter(([, { type }]) => type === "positional");
  let given = 0;
  for (let i = 0; i < rest.length; i += 1) {
    const word = rest[i] ?? "";
    if (word === "--") return;
    if (!word.startsWith("-") || word === "-") {
      given += 1;
      if (given > positionals.length) throw usageError(`Unexpected argument "${word}"`, path);
      continue;
    }
    const [flag = "", value] = word.split(/=(.*)/s);
    const type = names.get(flag);
    if (type === undefined)
      throw usageError(`Unknown flag "${flag}"`, path, closest(flag, [...names.keys()]));
    if (type === "boolean" && value !== undefined)
      throw usageError(`The flag "${flag}" takes no value`, path);
    if (type === "boolean" || value !== undefined) continue;
    i += 1;
    if (rest[i] === undefined) throw usageError(`The flag "${flag}" needs a value`, path);
  }
  const [name, { required, description = "" }] = positionals[given] ?? ["", { required: false }];
  if (required !== false) throw usageError(`Missing <${name}>: ${description}`, path);
}

function usageError(message: string, path: readonly string[], near?: string): NgrokdError {
  const help = `\`${["ngrokd", ...path, "--help"].join(" ")}\` lists what is possible`;
  return new NgrokdError("usage", message, {
    hint: near === undefined ? help : `did you mean ${near}? ${help}`,
  });
}
