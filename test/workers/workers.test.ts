import { describe, expect, test } from "bun:test";
import { workerCount } from "../../src/workers/workers.ts";

describe("workerCount", () => {
  test.each([
    ["auto", 1, true, 1],
    ["auto", 2, true, 1],
    ["auto", 3, true, 2],
    ["auto", 8, true, 4],
    ["auto", 8, false, 1],
    [1, 8, true, 1],
    [3, 2, true, 3],
    // It is refused later, with the reason.
    [3, 2, false, 3],
  ] as const)("of %j on %d cores, able: %j, is %d", (setting, cores, isAble, count) => {
    expect(workerCount(setting, cores, isAble)).toBe(count);
  });
});
