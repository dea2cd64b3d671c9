import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { parseApiKey } from "../../src/model/api-key.ts";
import { isNgrokdError, NgrokdError, oneLine, reasonOf } from "../../src/model/error.ts";
import { leftToRight, quote, readable } from "../../src/model/parsed.ts";
import { anyText } from "../support/texts.ts";

const anything = fc.oneof(
  anyText,
  fc.string(),
  fc.string({ unit: fc.constantFrom("\n", "\u202e", "\u009b", "\ud83d", "a") }),
);

describe("quote", () => {
  test.each([
    ["plain", '"plain"'],
    ['say "no"', '"say \\"no\\""'],
    ["two\nlines\0\x7f", '"two\\nlines\\u0000\\u007f"'],
    ["\x1b[2J\x9b2J", '"\\u001b[2J\\u009b2J"'],
    ["evil\u202egpj\u2028\u2066", '"evil\\u202egpj\\u2028\\u2066"'],
    ["tag \u{e0041}", '"tag \\udb40\\udc41"'],
    ["bücher 日本", '"bücher 日本"'],
    ["x".repeat(80), `"${"x".repeat(80)}"`],
    ["x".repeat(81), `"${"x".repeat(77)}..."`],
    [`${"x".repeat(76)}😀${"x".repeat(9)}`, `"${"x".repeat(76)}\\ud83d..."`],
  ])("quotes %j for one line", (text, quoted) => {
    expect(quote(text)).toBe(quoted);
  });

  test("is JSON of the text or its start, without control characters", () => {
    fc.assert(
      fc.property(anything, (text) => {
        expect(quote(text)).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
        expect(JSON.parse(quote(text))).toBe(text.length > 80 ? `${text.slice(0, 77)}...` : text);
      }),
    );
  });

  test("readable() quotes only if it must", () => {
    const texts = ["http://a.demo", "", "two\nlines", "日本", "x".repeat(201)];
    expect(texts.map(readable)).toEqual([
      "http://a.demo",
      '""',
      '"two\\nlines"',
      '"日本"',
      `"${"x".repeat(77)}..."`,
    ]);
  });
});

describe("reasonOf", () => {
  const cause = new Error("connection refused");
  test.each([
    ["an error", new Error("no"), "no"],
    [
      "its cause, which adds something",
      new Error("Cannot dial", { cause }),
      "Cannot dial: connection refused",
    ],
    [
      "its cause, which the message names already",
      new Error("Cannot dial: connection refused by x", { cause }),
      "Cannot dial: connection refused by x",
    ],
    [
      "one of ours, which says it all",
      new NgrokdError("network", "Cannot dial: refused", { cause }),
      "Cannot dial: refused",
    ],
    ["a cause that is no error", new Error("no", { cause: "x" }), "no"],
    ["several lines", new Error("one  \r\n\n  two\n"), "one two"],
    ["escapes", new Error("a\x1b[2Jb\x85c\u2028d"), "a [2Jb c d"],
    ["a text", "just\nthis", "just this"],
    ["undefined", undefined, "undefined"],
    ["null", null, "null"],
  ])("returns %s in one line", (_name, error, reason) => {
    expect(reasonOf(error)).toBe(reason);
  });

  test("oneLine keeps every printed character, in order", () => {
    fc.assert(
      fc.property(anything, (text) => {
        expect(oneLine(text)).not.toMatch(/[\p{Cc}\u2028\u2029]/u);
        expect(oneLine(text)).not.toMatch(/[\u200e\u200f\u202a-\u202e\u2066-\u2069]/);
        expect(oneLine(text).replaceAll(/\s/g, "")).toBe(
          leftToRight(text.replaceAll(/[\s\p{Cc}]/gu, "")),
        );
      }),
    );
    expect(oneLine(`a${" ".repeat(1e6)}\nb`)).toBe("a b");
  });
});

test("NgrokdError has code, hint, details and cause", () => {
  const cause = new Error("x");
  const error = new NgrokdError("tls", "Cannot do it", {
    cause,
    hint: "do that",
    details: { reason: "R" },
  });
  expect({ ...error, message: error.message }).toEqual({
    name: "NgrokdError",
    code: "tls",
    hint: "do that",
    details: { reason: "R" },
    message: "Cannot do it",
  } as never);
  expect(error.cause).toBe(cause);
  const plain = new NgrokdError("api", "no");
  expect(plain.hint).toBeUndefined();
  expect(plain.details).toEqual({});
  expect(plain).not.toHaveProperty("cause");
});

test("isNgrokdError distinguishes an NgrokdError, and its code, from others", () => {
  const error = new NgrokdError("tls", "Cannot do it");
  expect(isNgrokdError(error)).toBe(true);
  expect(isNgrokdError(error, "tls")).toBe(true);
  expect(isNgrokdError(error, "api")).toBe(false);
  expect(isNgrokdError(new Error("x"))).toBe(false);
});

describe("parseApiKey", () => {
  test("drops white space around a key, and accepts only text for an HTTP header", () => {
    expect(parseApiKey(" \t2abc_DEF~/+=\r\n") as unknown).toEqual({
      ok: true,
      value: "2abc_DEF~/+=",
    });
    const reasons = [
      "",
      " \n",
      "1234567",
      "x".repeat(513),
      "two words",
      "line\nbreak",
      "schlüssel1",
      "nul\0nul\0",
    ].map((text) => {
      const key = parseApiKey(text);
      return key.ok ? "taken" : key.reason;
    });
    const odd = "the API key has a space, a line break or a character that is not plain ASCII";
    expect(reasons).toEqual([
      "the API key is empty",
      "the API key is empty",
      "the API key has 7 characters, and no real one is shorter than 8",
      "the API key has 513 characters, and no real one is longer than 512",
      ...Array(4).fill(odd),
    ]);
  });

  test("never quotes a text that it refuses", () => {
    for (const text of ["SECRET", "SECRET\nSECRET", `SECRET${"x".repeat(600)}`, "SECRET ü"])
      expect(JSON.stringify(parseApiKey(text))).not.toContain("SECRET");
  });
});
