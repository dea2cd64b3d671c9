import { describe, expect, test } from "bun:test";
import { isSuspiciouslyShort } from "../../src/account/short-list.ts";

describe("isSuspiciouslyShort", () => {
  const keys = (from: number, to: number): string[] =>
    Array.from({ length: to - from }, (_, i) => `${from + i}.demo:80`);
  test.each([
    ["nothing runs, nothing is listed", [], [], false],
    ["nothing runs", [], keys(0, 9), false],
    ["one runs, none is listed", keys(0, 1), [], true],
    ["many run, none is listed", keys(0, 500), [], true],
    ["all are listed", keys(0, 9), keys(0, 9), false],
    ["two of three are lost", keys(0, 3), keys(0, 1), false],
    ["three of four are lost", keys(0, 4), keys(0, 1), true],
    ["three of six are lost: half, not more", keys(0, 6), keys(0, 3), false],
    ["three of five are lost", keys(0, 5), keys(0, 2), true],
    ["half of a hundred are lost", keys(0, 100), keys(50, 100), false],
    ["more than half of a hundred are lost", keys(0, 100), keys(51, 100), true],
    ["others are listed in their place", keys(0, 5), keys(100, 105), true],
    ["one is renamed", keys(0, 1), keys(1, 2), false],
  ])("%s", (_name, runs, listed, suspicious) => {
    expect(isSuspiciouslyShort(runs, new Set(listed))).toBe(suspicious);
  });
});
