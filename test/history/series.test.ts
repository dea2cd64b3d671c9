import { describe, expect, test } from "bun:test";
import { createSeries } from "../../src/history/series.ts";
import { createTallies, type Tally } from "../../src/history/tally.ts";

const tally = (endpoint: string, up: number): Tally => ({
  ...{ endpoint, up, down: 2 * up, opened: 1, ended: 0, failed: 0 },
  ...{ active: 1, stirred: true },
});

describe("the traffic by second", () => {
  test("comes back from the newest row to the asked second, across its growth", () => {
    const series = createSeries(10_000);
    for (let second = 1; second <= 1000; second += 1)
      series.note(second, [tally("a:80", second), tally("b:80", 1)]);
    const rows: unknown[] = [];
    series.since(998, ({ endpoint, second, up }) => rows.push([endpoint, second, up]));
    expect(rows).toEqual([
      ["b:80", 1000, 1],
      ["a:80", 1000, 1000],
      ["b:80", 999, 1],
      ["a:80", 999, 999],
      ["b:80", 998, 1],
      ["a:80", 998, 998],
    ]);
    expect(series.completeFrom).toBe(Number.NEGATIVE_INFINITY);
  });

  test("loses the oldest rows if it is full, and says from when on it is complete", () => {
    const series = createSeries(300);
    for (let second = 1; second <= 400; second += 1) series.note(second, [tally("a:80", 1)]);
    const seconds: number[] = [];
    series.since(0, ({ second }) => seconds.push(second));
    expect({ newest: seconds[0], count: seconds.length, oldest: seconds.at(-1) }).toEqual({
      newest: 400,
      count: 300,
      oldest: 101,
    });
    expect(series.completeFrom).toBe(101);
  });
});

describe("the tallies of a second", () => {
  test("are noted once a second, and nothing runs while nothing moves", async () => {
    const noted: { endpoint: string; up: number }[][] = [];
    const tallies = createTallies((all) => {
      noted.push([...all].map(({ endpoint, up }) => ({ endpoint, up })));
    }, 10);
    const one = tallies.of("a:80");
    one.active = 1;
    one.up += 5;
    tallies.stir(one);
    await Bun.sleep(100);
    expect(noted).toEqual([[{ endpoint: "a:80", up: 5 }]]);
    one.up += 7;
    tallies.stir(one);
    await Bun.sleep(100);
    expect(noted.at(-1)).toEqual([{ endpoint: "a:80", up: 7 }]);
    expect(noted).toHaveLength(2);
  });

  test("are forgotten with the last connection of their endpoint", async () => {
    const tallies = createTallies(() => undefined, 10);
    const one = tallies.of("a:80");
    tallies.stir(one);
    await Bun.sleep(50);
    expect(tallies.of("a:80")).not.toBe(one);
    const kept = tallies.of("b:80");
    kept.active = 1;
    tallies.stir(kept);
    await Bun.sleep(50);
    expect(tallies.of("b:80")).toBe(kept);
  });
});
