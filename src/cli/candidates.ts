import type { ArgDef, ArgsDef } from "citty";
import { globalArgs, type Tree } from "./command.ts";
import { scripts } from "./completion-scripts.ts";
import { aliasesOf } from "./flags.ts";

/** A word that fits, and what it means. */
export interface Candidate {
  readonly word: string;
  readonly about: string;
}

/** What may stand in the place of the last word. */
export interface Candidates {
  readonly words: readonly Candidate[];
  /** Names of files fit too. */
  readonly files: boolean;
}

/** The names of endpoints, asked for only when one fits. */
export type Endpoints = () => Promise<readonly Candidate[]>;

const nothing: Candidates = { words: [], files: false };

/**
 * The candidates for the last of the words, which may be empty. The words
 * follow the program's name. Only the code of the named command is loaded.
 */
export async function candidatesFor(
  words: readonly string[],
  tree: Tree,
  endpoints: Endpoints,
): Promise<Candidates> {
  const last = words.at(-1) ?? "";
  const before = words.slice(0, -1);
  // Behind `--` are the words of another program.
  if (before.includes("--")) return { words: [], files: true };
  const { node, rest } = walked(before, tree);
  const args: ArgsDef =
    typeof node === "function" ? ((await node()).args as ArgsDef) : { ...globalArgs };
  const [flag, value] = last.split(/=(.*)/s);
  if (value !== undefined && last.startsWith("--")) {
    const found = await valuesOf(flag?.slice(2) ?? "", args[flag?.slice(2) ?? ""], endpoints);
    return fitting(value, found, `${flag}=`);
  }
  const awaited = flagThatWaits(rest, args);
  if (awaited !== undefined)
    return fitting(last, await valuesOf(awaited, args[awaited], endpoints));
  if (last.startsWith("-")) return fitting(last, { words: flagsOf(args), files: false });
  if (typeof node !== "function") return fitting(last, { words: commandsOf(node), files: false });
  const positionals = Object.entries(args).filter(([, { type }]) => type === "positional");
  const given = positionalsIn(rest, args);
  const [name, arg] = positionals[given] ?? positionals.at(-1) ?? ["", undefined];
  const repeats = arg !== undefined && "valueHint" in arg && arg.valueHint?.endsWith("…") === true;
  if (arg === undefined || (given >= positionals.length && !repeats)) return nothing;
  return fitting(last, await valuesOf(name, arg, endpoints));
}

/** Follows the words to a group or a command; `rest` are its own words. */
function walked(words: readonly string[], tree: Tree) {
  let node: Tree[string]["of"] = tree;
  const rest: string[] = [];
  for (let i = 0; i < words.length; i += 1) {
    const word = words[i] ?? "";
    if (typeof node === "function" || word.startsWith("-")) {
      rest.push(word);
      if (typeof node !== "function" && takesValue(word, globalArgs) && i + 1 < words.length)
        rest.push(words[++i] ?? "");
      continue;
    }
    const entry: Tree[string] | undefined = Object.hasOwn(node, word) ? node[word] : undefined;
    if (entry === undefined) return { node: {} as Tree, rest };
    node = entry.of;
  }
  return { node, rest };
}

/** The flag before the last word, if that word is its value. */
function flagThatWaits(rest: readonly string[], args: ArgsDef): string | undefined {
  const word = rest.at(-1) ?? "";
  if (!takesValue(word, args)) return undefined;
  return nameOf(word, args);
}

function positionalsIn(rest: readonly string[], args: ArgsDef): number {
  return rest.filter((word, i) => !word.startsWith("-") && !takesValue(rest[i - 1] ?? "", args))
    .length;
}

function takesValue(word: string, args: ArgsDef): boolean {
  if (!word.startsWith("-") || word.includes("=")) return false;
  const name = nameOf(word, args);
  return name !== undefined && !["boolean", "positional"].includes(args[name]?.type ?? "string");
}

/** The name of a flag, also by its short letter. */
function nameOf(word: string, args: ArgsDef): string | undefined {
  const name = word.replace(/^--?/, "");
  if (word.startsWith("--")) return Object.hasOwn(args, name) ? name : undefined;
  return Object.entries(args).find(([, arg]) => aliasesOf(arg).includes(name))?.[0];
}

async function valuesOf(
  name: string,
  arg: ArgDef | undefined,
  endpoints: Endpoints,
): Promise<Candidates> {
  if (arg === undefined) return nothing;
  const hint = "valueHint" in arg ? (arg.valueHint ?? "") : "";
  if (/^(?:file|folder|path)$/.test(hint) || /^(?:file|source)$/.test(name))
    return { words: [], files: true };
  if (/^(?:host|endpoint)…?$/i.test(hint) || /^(?:host|endpoint)$/.test(name) || name === "name")
    return { words: await endpoints(), files: false };
  if (name === "shell")
    return { words: Object.keys(scripts).map((word) => ({ word, about: "" })), files: false };
  if (!/^[a-z]+(?:\|[a-z]+)+$/.test(hint)) return nothing;
  return { words: hint.split("|").map((word) => ({ word, about: "" })), files: false };
}

const flagsOf = (args: ArgsDef): Candidate[] =>
  Object.entries(args)
    .filter(([, { type }]) => type !== "positional")
    .map(([name, { description = "" }]) => ({ word: `--${name}`, about: description }));

const commandsOf = (tree: Tree): Candidate[] =>
  Object.entries(tree).map(([word, { description }]) => ({ word, about: description }));

const fitting = (start: string, { words, files }: Candidates, before = ""): Candidates => ({
  words: words
    .filter(({ word }) => word.startsWith(start))
    .map(({ word, about }) => ({ word: before + word, about })),
  files,
});
