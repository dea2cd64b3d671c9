import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { afterRepair, type Contest, mayRepair, noContest } from "../../src/machine/contest.ts";

const minute = 60_000;
const after = (...times: number[]): Contest => times.reduce(afterRepair, noContest);

describe("putting the section back", () => {
  test("is allowed at first, and goes on while it is rare", () => {
    expect(mayRepair(noContest, 0)).toBe(true);
    const rare = after(0, 31_000, 62_000, 93_000, 124_000);
    expect(mayRepair(rare, 124_000)).toBe(true);
  });

  test("stops for a minute after the third time within one", () => {
    const fought = after(0, 5000, 10_000);
    expect(mayRepair(fought, 10_001)).toBe(false);
    expect(mayRepair(fought, 10_000 + minute - 1)).toBe(false);
    expect(mayRepair(fought, 10_000 + minute)).toBe(true);
  });

  test("stops for twice as long if the next repair fails as well, up to an hour", () => {
    let contest = after(0, 1000, 2000);
    const waits: number[] = [];
    for (let n = 0; n < 9; n++) {
      waits.push(contest.waitMs / minute);
      contest = afterRepair(contest, contest.until + 1000);
    }
    expect(waits).toEqual([1, 2, 4, 8, 16, 32, 60, 60, 60]);
  });

  test("begins again after a peace as long as the wait was", () => {
    const fought = after(0, 1000, 2000);
    const later = afterRepair(fought, fought.until + minute);
    expect(later).toEqual({
      repairs: [fought.until + minute],
      waitMs: 0,
      until: Number.NEGATIVE_INFINITY,
    });
  });

  test("happens at most three times in any minute, whenever the other program strikes", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 90_000 }), { maxLength: 200 }), (gaps) => {
        const done: number[] = [];
        let contest = noContest;
        let now = 0;
        for (const gap of gaps) {
          now += gap;
          if (!mayRepair(contest, now)) continue;
          contest = afterRepair(contest, now);
          done.push(now);
        }
        for (const at of done)
          expect(
            done.filter((other) => other > at - minute && other <= at).length,
          ).toBeLessThanOrEqual(3);
      }),
    );
  });
});
