import type { ArgDef, ArgsDef } from "citty";
import { NgrokdError } from "../model/error.ts";
import { quote } from "../model/parsed.ts";
import { closest } from "../model/similar.ts";

/**
 * Checks the words after a command's name, since citty accepts unknown flags.
 * Throws NgrokdError `usage` for the first mistake.
 */
export function checkFlags(
  rest: readonly string[],
  defined: ArgsDef,
  path: readonly string[],
): void {
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
      if (given > positionals.length && !isRepeated(positionals.at(-1)?.[1]))
        throw usageError(`Unexpected argument ${quote(word)}`, path);
      continue;
    }
    const [flag = "", value] = word.split(/=(.*)/s);
    const type = names.get(flag);
    if (type === undefined)
      throw usageError(`Unknown flag ${quote(flag)}`, path, closest(flag, [...names.keys()]));
    if (type === "boolean" && value !== undefined)
      throw usageError(`The flag "${flag}" takes no value`, path);
    if (type === "boolean") continue;
    if (value === undefined) i += 1;
    // A variable of a script that is not set is no choice.
    if ((value ?? rest[i] ?? "") === "") throw usageError(`The flag "${flag}" needs a value`, path);
  }
  const [name, { required, description = "" }] = positionals[given] ?? ["", { required: false }];
  if (required !== false) throw usageError(`Missing <${name}>: ${description}`, path);
}

/**
 * The error for a mistake on the command line. `near` is the word that was
 * probably meant.
 */
export function usageError(message: string, path: readonly string[], near?: string): NgrokdError {
  const help = `\`${["ngrokd", ...path, "--help"].join(" ")}\` shows the usage`;
  return new NgrokdError("usage", message, {
    hint: near === undefined ? help : `did you mean ${near}? ${help}`,
  });
}

/** The whole number of a flag. Throws NgrokdError `usage` for another value. */
export function wholeFlag(
  text: string,
  flag: string,
  [least, most]: readonly [number, number],
  path: readonly string[],
): number {
  const number = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (number >= least && number <= most) return number;
  throw usageError(
    `The flag --${flag} is wrong: ${quote(text)} is not a whole number, ${least} to ${most}`,
    path,
  );
}

/** Whether a positional argument may be given many times. */
const isRepeated = (arg: ArgDef | undefined): boolean =>
  arg !== undefined && "valueHint" in arg && (arg.valueHint ?? "").endsWith("…");

/** The short letters of a flag. */
export const aliasesOf = (arg: ArgDef): string[] =>
  ["alias" in arg ? (arg.alias ?? []) : []].flat();

/**
 * Every value of a flag, in order, since citty keeps only the last one. The
 * flags have been checked before.
 */
export function repeated(rawArgs: readonly string[], flag: string): string[] {
  return rawArgs.flatMap((word, i) => {
    if (word.startsWith(`--${flag}=`)) return [word.slice(flag.length + 3)];
    return word === `--${flag}` ? [rawArgs[i + 1] ?? ""] : [];
  });
}
