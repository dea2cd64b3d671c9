import type { ArgDef, ArgsDef } from "citty";
import type { Say } from "../terminal/say.ts";
import { wrapped } from "../terminal/width.ts";
import { version } from "../version.ts";
import { type Command, globalArgs, type Tree } from "./command.ts";
import { aliasesOf } from "./flags.ts";

/** Pure: the help of a group of commands, or of all if `path` is empty. */
export function groupHelp(tree: Tree, path: readonly string[], say: Say): string {
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
    `  ${dim("$")} ngrokd demo         ${dim("try it: no account, no root")}`,
    `  ${dim("$")} sudo ngrokd setup   ${dim("asks what is missing, shows the plan, does it")}`,
    `  ${dim("$")} sudo ngrokd doctor  ${dim("check everything, with advice")}`,
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

/** Pure: the help of one command, made from its definition. */
export function commandHelp(command: Command, path: readonly string[], say: Say): string {
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

export function flagText([flag, arg]: [string, ArgDef]): string {
  if (arg.type === "positional") {
    const word = arg.valueHint ?? flag;
    return arg.required === false ? `[${word}]` : `<${word}>`;
  }
  const short = aliasesOf(arg).map((letter) => `-${letter}, `);
  const value = arg.type === "boolean" ? "" : ` <${arg.valueHint ?? "value"}>`;
  return `${short.join("")}--${flag}${value}`;
}

const defaultText = ({ default: value }: ArgDef): string =>
  value === undefined ? "" : ` (default: ${value})`;
