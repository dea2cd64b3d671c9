import type { Ran } from "./ngrokd.ts";

/**
 * What no output may have, whatever the situation: each fault found, in words.
 * An error must come with a hint.
 */
export function faultsOf({ code, out, err }: Pick<Ran, "code" | "out" | "err">): string[] {
  const text = `${out}\n${err}`;
  const found = never.filter(([, pattern]) => pattern.test(text)).map(([what]) => what);
  // Of a lost result it is one line.
  if (code !== 7 && /^error: /m.test(err) && !/^hint: {2}\S/m.test(err))
    found.push("an error without a hint");
  if (code !== 0 && !/^(?:error|wrong): /m.test(text)) found.push(`exit code ${code}, unexplained`);
  if (code > 7) found.push(`exit code ${code}, which is none of ngrokd's`);
  return found;
}

const never: readonly (readonly [what: string, pattern: RegExp])[] = [
  ["a stack trace", /^\s+at .+[:(]\d+/m],
  ["a crash of the runtime", /panic|Bun v\d|Segmentation|bun\.report|Unhandled/i],
  ["an error of the language", /\b(?:Type|Range|Syntax|Reference)Error\b/],
  ["a value that is none", /\[object |\bundefined\b|\bNaN\b(?!;)/],
  ["a control character", /[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]/],
];
