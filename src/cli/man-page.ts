import type { ArgDef, ArgsDef } from "citty";
import { type Command, globalArgs, type Tree } from "./command.ts";
import { flagText } from "./help.ts";

/** A manual page: the name of its file, and its text in man(7). */
export interface ManPage {
  readonly file: string;
  readonly text: string;
}

/**
 * The manual pages of all commands and groups, from the same table as --help.
 * `date` is YYYY-MM-DD.
 */
export async function manPages(tree: Tree, version: string, date: string): Promise<ManPage[]> {
  const pages: ManPage[] = [
    groupPage(tree, [], "ngrok's endpoints on this machine", version, date),
  ];
  const walk = async (below: Tree, path: readonly string[]): Promise<void> => {
    for (const [word, { of, description }] of Object.entries(below)) {
      const here = [...path, word];
      if (typeof of === "function") pages.push(commandPage(await of(), here, version, date));
      else {
        pages.push(groupPage(of, here, description, version, date));
        await walk(of, here);
      }
    }
  };
  await walk(tree, []);
  return pages;
}

/** Pure. */
function groupPage(
  tree: Tree,
  path: readonly string[],
  description: string,
  version: string,
  date: string,
): ManPage {
  const name = ["ngrokd", ...path];
  const rows = Object.entries(tree).flatMap(([word, entry]) => [
    ".TP",
    `.BR ${roff([...name, word].join("-"))} (1)`,
    roff(entry.description),
  ]);
  return page(name, version, date, [
    ".SH NAME",
    `${roff(name.join("-"))} \\- ${roff(description)}`,
    ".SH SYNOPSIS",
    `.B ${roff(name.join(" "))}`,
    ".I command",
    "[flags]",
    ...section("COMMANDS", rows),
    ...section("FLAGS OF EVERY COMMAND", Object.entries(globalArgs).flatMap(argRows)),
    ...(path.length === 0 ? firstPageEnd : []),
  ]);
}

/** Pure. */
function commandPage(
  command: Command,
  path: readonly string[],
  version: string,
  date: string,
): ManPage {
  const name = ["ngrokd", ...path];
  const args = Object.entries(command.args as ArgsDef);
  const own = args.filter(([flag]) => !Object.hasOwn(globalArgs, flag));
  const positionals = own.filter(([, { type }]) => type === "positional");
  const flags = own.filter((arg) => !positionals.includes(arg));
  return page(name, version, date, [
    ".SH NAME",
    `${roff(name.join("-"))} \\- ${roff(command.description)}`,
    ".SH SYNOPSIS",
    `.B ${roff(name.join(" "))}`,
    ...positionals.map((arg) => `.I ${roff(flagText(arg))}`),
    "[flags]",
    ...section("ARGUMENTS", positionals.flatMap(argRows)),
    ...section("FLAGS", flags.flatMap(argRows)),
    ...section("FLAGS OF EVERY COMMAND", Object.entries(globalArgs).flatMap(argRows)),
    ...section("EXAMPLES", [".nf", ...command.examples.map(roff), ".fi"]),
    ".SH SEE ALSO",
    ".BR ngrokd (1)",
  ]);
}

const firstPageEnd = [
  ".SH FILES",
  ".TP",
  ".I /etc/ngrokd/config.yml",
  "The configuration. \\(lqngrokd config init\\(rq writes one with every setting explained.",
  ".SH EXIT STATUS",
  "0 if the command succeeded, 1 if it failed, 2 for a wrong command line or configuration, ",
  "4 if no daemon runs, 5 if rights are missing.",
];

function page(
  name: readonly string[],
  version: string,
  date: string,
  lines: readonly string[],
): ManPage {
  const file = `${name.join("-")}.1`;
  const title = `.TH ${roff(name.join("-").toUpperCase())} 1 ${date} "ngrokd ${roff(version)}" "ngrokd manual"`;
  return { file, text: `${[title, ...lines].join("\n")}\n` };
}

const section = (title: string, lines: readonly string[]): string[] =>
  lines.length === 0 ? [] : [`.SH ${title}`, ...lines];

const argRows = (arg: [string, ArgDef]): string[] => {
  const { default: value, description = "" } = arg[1];
  const end = value === undefined ? "" : ` (default: ${value})`;
  return [".TP", `.B ${roff(flagText(arg))}`, roff(description + end)];
};

/** Text without a meaning of its own for troff. */
function roff(text: string): string {
  const plain = text
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    .replaceAll("\n", " ")
    .replaceAll(
      /[^ -~]/gu,
      (sign) => `\\[u${(sign.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}]`,
    );
  return /^[.']/.test(plain) ? `\\&${plain}` : plain;
}
