import type { Operation } from "./operations.ts";

/*
 * On the control socket an operation's input is a list of words, as on a
 * command line: `["KEY", "--switch-account"]`.
 */

/** Pure: the words of an input, in the order of its fields. */
export function wordsOf({ word }: Operation, input: Readonly<Record<string, unknown>>): string[] {
  return Object.entries(input).flatMap(([name, value]) => {
    if (value === true) return [`--${name}`];
    if (typeof value !== "string" && typeof value !== "number") return [];
    return [name === word ? String(value) : `--${name}=${value}`];
  });
}

/**
 * Pure: the input that these words mean, not validated yet. A missing word is
 * an empty text, and other words than the first are ignored, as are unknown
 * flags: the Go program's clients may send them.
 */
export function inputOf({ word }: Operation, words: readonly string[]): Record<string, unknown> {
  const isFlag = (text: string): boolean => text.startsWith("--");
  const flags = words.filter(isFlag).map((text) => {
    const [name = "", value] = text.slice(2).split(/=(.*)/s);
    return [name, value ?? true] as const;
  });
  const first = words.find((text) => !isFlag(text)) ?? "";
  return Object.fromEntries([...flags, ...(word === undefined ? [] : [[word, first] as const])]);
}
