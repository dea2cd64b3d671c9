// The predecessor: the Go program of the same name. Its command lines are
// understood (predecessor.ts), and its client's texts are spoken (ngrokctl.ts).

import { basename } from "node:path";

/** Whether the program was called by the name of the Go program's client. */
export const isNgrokctl = (argv0: string): boolean => basename(argv0) === "ngrokctl";

export interface Translation {
  readonly argv: readonly string[];
  /** Today's form of the command line; empty if it has not changed. */
  readonly advice: string;
}

/** Pure: a command line of the Go program, in today's words. */
export function translated(words: readonly string[]): Translation {
  const argv = withTwoDashes(words);
  const at = commandIn(argv);
  const command = argv[at] ?? "";
  const has = (...flags: string[]): boolean =>
    argv.some((word) => flags.includes(word.split("=", 1)[0] ?? ""));
  if (command === "run")
    return { argv: served(argv.with(at, "serve")), advice: "`ngrokd run` is `ngrokd serve` now" };
  if (command === "serve") return { argv: served(argv), advice: "" };
  if (ofTheService.has(command)) return { argv: argv.toSpliced(at, 0, "service"), advice: "" };
  if (at === -1 && has("--config") && !has("--help", "-h", "--version"))
    return {
      argv: served(["serve", ...argv]),
      advice: "without a command, `ngrokd --config FILE` is `ngrokd serve --config FILE` now",
    };
  return { argv, advice: "" };
}

const ofTheService = new Set(["install", "uninstall", "start", "stop", "restart"]);

/** Go takes `-config` for `--config`. Our short flags have one letter. */
function withTwoDashes(words: readonly string[]): string[] {
  const end = words.indexOf("--");
  return words.map((word, i) =>
    (end === -1 || i < end) && /^-[a-z][a-z-]+(?:=|$)/.test(word) ? `-${word}` : word,
  );
}

/** The place of the command among flags and their values; -1 without one. */
function commandIn(argv: readonly string[]): number {
  for (let i = 0; i < argv.length; i += 1) {
    const word = argv[i] ?? "";
    if (word === "--") return -1;
    if (word === "--config" || word === "--socket") i += 1;
    else if (!word.startsWith("-")) return i;
  }
  return -1;
}

/** Replaces the Go program's flags for a verbose log by --debug. */
const served = (argv: readonly string[]): string[] =>
  argv.map((word) => (word === "-v" || word === "--v" || word === "--verbose" ? "--debug" : word));
