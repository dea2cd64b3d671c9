import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** test/stories/README.md: which test proves which scenario. */
const text = readFileSync(join(import.meta.dirname, "stories/README.md"), "utf8");
const rows = text
  .split("\n")
  .filter((line) => line.startsWith("| ") && !/^\| (?:No\.|---) /.test(line))
  .map((line) => {
    const [, number = "", , file = "", title = "", ...more] = line.split("|").map((cell) => cell.trim());
    return { line, number, file, title, complete: more.length === 1 && file !== "" && title !== "" };
  });

const upTo = (first: number, last: number): string[] => Array.from({ length: last - first + 1 }, (_, i) => String(first + i));

describe("the map of scenarios", () => {
  test("has every number once, in order, and every row names a file and a test", () => {
    expect(rows.filter(({ complete }) => !complete).map(({ line }) => line)).toEqual([]);
    expect(rows.flatMap(({ number }) => (number === "" ? [] : [number]))).toEqual([...upTo(1, 19), ...upTo(24, 28)]);
  });

  test("names only tests that there are", () => {
    expect(rows.filter(({ file, title }) => !isTest(file, title)).map(({ file, title }) => `${file}: ${title}`)).toEqual([]);
  });

  test("has a story for every number, before what shows it of a part", () => {
    const first = rows.filter(({ number }) => number !== "");
    expect(first.filter(({ file }) => !file.startsWith("stories/")).map(({ line }) => line)).toEqual([]);
  });
});

/** Whether the file has this title where titles stand: first in a call, or as the name of a case, and not switched off. */
function isTest(file: string, title: string): boolean {
  const path = join(import.meta.dirname, file);
  if (!existsSync(path)) return false;
  const source = readFileSync(path, "utf8");
  return ['"', "`"].some((mark) => {
    const at = source.indexOf(`${mark}${title}${mark}`);
    return (
      at >= 0 &&
      /(?:\(\s*|name: )$/.test(source.slice(0, at)) &&
      !/\.(?:skip|todo)\b[^;]*$/.test(source.slice(0, at).split("\n").slice(-1)[0] ?? "")
    );
  });
}
