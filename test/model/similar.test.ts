import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { closest, slips } from "../../src/model/similar.ts";

describe("closest", () => {
  test.each([
    ["satus", "status"],
    ["statsu", "status"],
    ["lsit", "list"],
    ["STATUS", "status"],
    ["set_api_key", "set-api-key"],
    ["log-level", "log_level"],
  ])("takes %s for %s", (word, meant) => {
    expect(closest(word, ["serve", "status", "list", "set-api-key", "log_level"])).toBe(meant);
  });

  test("takes the nearest of several, and none that is far away", () => {
    expect(closest("lost", ["list", "lot", "last", "lost"])).toBe("lost");
    expect(closest("frobnicate", ["status", "list"])).toBeUndefined();
    expect(closest("x", ["ab"])).toBeUndefined();
    expect(closest("", ["list"])).toBeUndefined();
    expect(closest("list", [])).toBeUndefined();
    expect(closest("l".repeat(1_000_000), ["list"])).toBeUndefined();
  });
});

describe("slips", () => {
  test.each([
    ["", "", 0],
    ["", "abc", 3],
    ["abc", "", 3],
    ["kitten", "sitting", 3],
    ["ab", "ba", 1],
    ["ca", "abc", 3],
  ])("counts %j against %j as %d", (a, b, n) => {
    expect(slips(a, b)).toBe(n);
  });

  test("is 0 for equal words, the same both ways, and 1 for one slip", () => {
    const word = fc.string({ unit: fc.constantFrom(..."abc"), maxLength: 8 });
    fc.assert(
      fc.property(word, word, fc.nat(8), (a, b, at) => {
        expect(slips(a, b) === 0).toBe(a === b);
        expect(slips(a, b)).toBe(slips(b, a));
        expect(slips(a, `${a.slice(0, at)}x${a.slice(at)}`)).toBe(1);
        expect(slips(a, b)).toBeLessThanOrEqual(Math.max(a.length, b.length));
      }),
    );
  });
});
