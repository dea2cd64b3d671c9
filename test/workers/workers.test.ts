import { describe, expect, test } from "bun:test";
import { createNodeNet } from "../../src/net/node.ts";
import { type CrewOptions, openCrew, workerCount } from "../../src/workers/workers.ts";

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

describe("openCrew", () => {
  test("is refused where descriptors cannot be passed, with a hint", async () => {
    const opening = openCrew({ net: createNodeNet(), count: 2 } as CrewOptions);
    expect(await opening.catch((error) => error)).toMatchObject({
      code: "config",
      message: "forward.workers: this system or runtime has no workers",
      hint: expect.stringContaining("ngrokd's own program for Linux"),
    });
  });
});
