import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { isTest, titlesIn } from "./support/titles.ts";

/**
 * A row of a table in test/stories/README.md. One without a `head` says more of
 * the row above it.
 */
interface Row {
  readonly head: string;
  readonly file: string;
  readonly title: string;
  readonly more: readonly string[];
}

const text = readFileSync(join(import.meta.dirname, "stories/README.md"), "utf8");
const relay = tableOf("What can happen to a relay").map(([number = "", , ...proof]) =>
  rowOf(number, proof),
);
const others = [
  "Other events in the life of a daemon",
  "The promises of ngrokd",
  "What needs a whole system",
].map((title) => tableOf(title).map(([what = "", ...proof]) => rowOf(what, proof)));
const rows = [relay, ...others].flat();
const heads = (table: readonly Row[]): string[] =>
  table.flatMap(({ head }) => (head === "" ? [] : [head]));

describe("the map of stories", () => {
  test("has every number once, in order", () => {
    expect(heads(relay)).toEqual(Array.from({ length: 44 }, (_, i) => String(i + 1)));
  });

  test("says everything else once", () => {
    for (const table of others) {
      expect(heads(table).length).toBeGreaterThan(10);
      expect(heads(table)).toEqual([...new Set(heads(table))]);
    }
  });

  test("names a file and a test in every row, and only tests that there are", () => {
    expect(rows.filter(({ file, title, more }) => more.length > 0 || !isTest(file, title))).toEqual(
      [],
    );
  });

  test("has a story in the first row of everything", () => {
    expect(
      rows.filter(({ head, file }) => head !== "" && !/^(stories|vm|packages)\//.test(file)),
    ).toEqual([]);
  });
});

/** Rooms with titles that are still to be shortened. */
const longTitles: readonly string[] = ["contract", "ingress", "net", "relay"];

test("every title of a test is shorter than 80 characters", () => {
  const files = readdirSync(import.meta.dirname, { recursive: true, encoding: "utf8" }).filter(
    (file) => file.endsWith(".ts") && !longTitles.includes(file.split("/")[0] ?? ""),
  );
  const titles = files.flatMap((file) =>
    titlesIn(readFileSync(join(import.meta.dirname, file), "utf8")).map((title) => ({
      file,
      title,
    })),
  );
  expect(titles.length).toBeGreaterThan(1000);
  expect(titles.filter(({ title }) => title.length >= 80)).toEqual([]);
});

/** The cells of the rows of the table below a heading. */
function tableOf(heading: string): string[][] {
  const [, section = ""] = text.split(`\n## ${heading}\n`);
  const lines =
    section
      .split("\n## ")[0]
      ?.split("\n")
      .filter((line) => line.startsWith("| ")) ?? [];
  return lines.slice(2).map((line) =>
    line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

function rowOf(head: string, [file = "", title = "", ...more]: readonly string[]): Row {
  return { head, file, title, more };
}
