import { checks, type Finding, type Level } from "../doctor/finding.ts";
import type { Paint } from "../terminal/say.ts";
import { wrapped } from "../terminal/width.ts";

const titleWidth = Math.max(...Object.values(checks).map((title) => title.length));
const levelWidth = "warning".length;
/** The column of the texts. */
const indent = levelWidth + titleWidth + 4;

/**
 * Pure: a line for each finding, wrapped to `width` columns, with the advice
 * below it.
 */
export function findingsText(findings: readonly Finding[], paint: Paint, width: number): string {
  return findings.flatMap((finding) => findingLines(finding, paint, width)).join("\n");
}

function findingLines({ check, level, text, fix }: Finding, paint: Paint, width: number): string[] {
  const [first = "", ...rest] = wrapped(text, width - indent);
  const head = `${mark(level, paint)}  ${paint.bold(checks[check].padEnd(titleWidth))}  ${first}`;
  const [hint = "", ...more] = wrapped(fix, width - indent - 2);
  const below = [
    ...rest,
    ...(fix === "" ? [] : [`${paint.name("→")} ${hint}`, ...more.map((line) => `  ${line}`)]),
  ];
  return [head.trimEnd(), ...below.map((line) => " ".repeat(indent) + line)];
}

function mark(level: Level, paint: Paint): string {
  const word = level.padEnd(levelWidth);
  return level === "ok"
    ? paint.good(word)
    : level === "warning"
      ? paint.careful(word)
      : paint.bad(word);
}
