import { describe, expect, test } from "bun:test";
import { createTurns } from "../../src/model/turns.ts";

describe("createTurns", () => {
  test("lets other work run once the steps took long enough, and counts again", async () => {
    let time = 0;
    const turn = createTurns(5, () => time);
    let others = 0;
    setImmediate(() => {
      others += 1;
    });
    time = 4;
    expect(turn(), "after 4 ms").toBeUndefined();
    time = 5;
    await turn();
    expect(others, "pieces of other work").toBe(1);
    time = 9;
    expect(turn(), "4 ms later").toBeUndefined();
  });
});
