import { describe, expect, test } from "bun:test";
import { matchesGlob } from "../../src/model/glob.ts";

describe("matchesGlob", () => {
  test.each([
    ["a.b", "a.b", true],
    ["a.b", "axb", false],
    ["*", "a.b.c", true],
    ["*", "", true],
    ["*.internal", "a.b.internal", true],
    ["*.internal", "internal", false],
    ["*.internal", "a.internal.com", false],
    ["a*", "a", true],
    ["a*c", "abc", true],
    ["a*c", "ac", true],
    ["aba*aba", "aba", false],
    ["*a*b*", "xaxbx", true],
    ["*b*a*", "xaxbx", false],
    ["*.github.com", "*.github.com", true],
    ["a**b", "ab", true],
    ["", "", true],
    ["", "a", false],
  ])("%j and %j: %p", (pattern, text, expected) => {
    expect(matchesGlob(pattern, text)).toBe(expected);
  });
});
