import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { listText } from "../../src/terminal/list-text.ts";
import { table } from "../../src/terminal/table.ts";
import { watchText, withRates } from "../../src/terminal/watch-text.ts";
import { fitted, padded, widthOf, wrapped } from "../../src/terminal/width.ts";
import { item, plain, status } from "../cli/support.ts";

/** A text and the columns that a terminal gives it. */
const samples = [
  ["ASCII", "hello.demo", 10],
  ["CJK", "日本語.demo", 11],
  ["Hangul", "한국.demo", 9],
  ["an emoji", "🚀.demo", 7],
  ["a family of emoji in one", "👨‍👩‍👧.demo", 7],
  ["a combining mark", "cafe\u0301.demo", 9],
  ["colours", "\u001b[31mred\u001b[39m", 3],
] as const;

describe("a text in columns", () => {
  test.each(samples)("has the width that a terminal gives %s", (_name, text, width) => {
    expect(widthOf(text)).toBe(width);
  });

  test.each(samples)("is padded to the same column with %s", (_name, text, width) => {
    expect(padded(text, 15)).toBe(text + " ".repeat(15 - width));
    expect(padded(text, 2)).toBe(text);
  });

  test("is cut between characters, never inside one", () => {
    expect(fitted("日本語.demo", 11)).toBe("日本語.demo");
    expect(fitted("日本語.demo", 9)).toBe("日本語...");
    expect(fitted("日本語.demo", 8)).toBe("日本...");
    expect(fitted("👨‍👩‍👧👨‍👩‍👧👨‍👩‍👧", 5)).toBe("👨‍👩‍👧...");
    expect(fitted("e\u0301e\u0301e\u0301e\u0301e\u0301", 4)).toBe("e\u0301...");
    expect(fitted("hello.demo", 8)).toBe("hello...");
  });

  test("never takes more room than there is, whatever the text", () => {
    const text = fc.string({ unit: "grapheme", maxLength: 60 });
    fc.assert(
      fc.property(text, fc.integer({ min: 3, max: 40 }), (text, width) => {
        expect(widthOf(fitted(text, width))).toBeLessThanOrEqual(width);
      }),
    );
  });
});

describe("wrapped text", () => {
  test("has lines of whole words, shorter than the width", () => {
    expect(wrapped("one two three four", 10)).toEqual(["one two", "three", "four"]);
    expect(wrapped("日本 日本 日本", 10)).toEqual(["日本 日本", "日本"]);
    expect(wrapped("🚀 🚀 🚀 🚀", 7)).toEqual(["🚀 🚀", "🚀 🚀"]);
  });

  test("gives a long word a line of its own, and an empty text none", () => {
    expect(wrapped("a 日本語日本語日本語 b", 10)).toEqual(["a", "日本語日本語日本語", "b"]);
    expect(wrapped("", 10)).toEqual([]);
    expect(wrapped(" \n ", 10)).toEqual([]);
  });

  test("loses no word, and begins a line only if the last one is full", () => {
    const words = fc.array(fc.stringMatching(/^[!-~]{1,12}$/), { maxLength: 40 });
    fc.assert(
      fc.property(words, fc.integer({ min: 14, max: 80 }), (words, width) => {
        const lines = wrapped(words.join(" "), width);
        expect(lines.join(" ")).toBe(words.join(" "));
        for (const [i, line] of lines.entries()) {
          expect(line.length).toBeLessThan(width);
          const next = lines[i + 1]?.split(" ")[0] ?? "x".repeat(width);
          expect(`${line} ${next}`.length).toBeGreaterThanOrEqual(width);
        }
      }),
    );
  });
});

describe("wide names", () => {
  const names = samples.slice(0, -1).map(([, text]) => text);
  /** The column at which `text` begins in each line. */
  const columnsOf = (lines: readonly string[], text: string): number[] =>
    lines.map((line) => widthOf(line.slice(0, line.indexOf(text))));

  test("leave the columns of a table straight", () => {
    const rows = names.map((name) => [name, "end"]);
    const lines = table(["NAME", "WORD"], rows, plain).split("\n").slice(1);
    expect(columnsOf(lines, "end")).toEqual(names.map(() => 13));
  });

  const items = names.map((name) => item("a", { url: `http://${name}` }));

  test("leave the columns of `ngrokd list` straight", () => {
    const lines = listText(items, plain, 80).split("\n").slice(1);
    expect(new Set(columnsOf(lines, "127.0.0.2")).size).toBe(1);
  });

  test("leave the columns of `ngrokd list --watch` straight", () => {
    const at = { wall: new Date(0), steady: 0 };
    const picture = { at, status: status(), items: withRates(items, at) };
    const size = { columns: 60, rows: 40 };
    const lines = watchText(picture, plain, size).split("\n").slice(4);
    expect(lines.length).toBe(names.length);
    expect(new Set(columnsOf(lines, "127.0.0.2")).size).toBe(1);
    expect(Math.max(...lines.map(widthOf))).toBeLessThanOrEqual(60);
  });
});
