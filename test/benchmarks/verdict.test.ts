import { describe, expect, test } from "bun:test";
import { bar } from "../bench/figures.ts";
import { standings } from "../bench/standing.ts";
import { verdictLines } from "../bench/verdict.ts";
import { delay, figuresOf, speed } from "./support.ts";

const peers = ["haproxy", "nginx"];

describe("the standing beside the best peer", () => {
  test("takes the peer with the most of what is better if there is more", () => {
    const figures = figuresOf({
      ngrokd: { [speed.metric]: [300] },
      haproxy: { [speed.metric]: [200] },
      nginx: { [speed.metric]: [150] },
    });
    expect(standings([speed], figures, "ngrokd", peers)).toEqual([
      { row: speed, peer: "haproxy", own: 300, theirs: 200, lead: 1.5, rounds: "one" },
    ]);
  });

  test("takes the peer with the least of what is better if there is less", () => {
    const figures = figuresOf({
      ngrokd: { [delay.metric]: [300] },
      haproxy: { [delay.metric]: [200] },
      nginx: { [delay.metric]: [150] },
    });
    expect(standings([delay], figures, "ngrokd", peers)).toEqual([
      { row: delay, peer: "nginx", own: 300, theirs: 150, lead: 0.5, rounds: "one" },
    ]);
  });

  test("says whether the rounds overlap, whoever is ahead", () => {
    const figures = figuresOf({
      ngrokd: { [speed.metric]: [300, 310, 320], [delay.metric]: [9, 10, 11] },
      haproxy: { [speed.metric]: [200, 210, 301], [delay.metric]: [7, 8, 8.9] },
    });
    const seen = standings([speed, delay], figures, "ngrokd", peers);
    expect(seen.map(({ rounds }) => rounds)).toEqual(["overlap", "apart"]);
  });

  test("is absent for a row without ngrokd, and for one without a peer", () => {
    const figures = figuresOf({
      ngrokd: { [speed.metric]: [300] },
      haproxy: { [delay.metric]: [7] },
    });
    expect(standings([speed, delay], figures, "ngrokd", peers)).toEqual([]);
  });

  test("does not count a program that is no peer", () => {
    const figures = figuresOf({
      ngrokd: { [speed.metric]: [300] },
      haproxy: { [speed.metric]: [200] },
      "no relay": { [speed.metric]: [900] },
    });
    const [standing] = standings([speed], figures, "ngrokd", peers);
    expect(standing?.peer).toBe("haproxy");
  });
});

describe("the verdict", () => {
  const figures = figuresOf({
    ngrokd: { [speed.metric]: [300], [delay.metric]: [300, 302] },
    "ngrokd, early data": { [delay.metric]: [100] },
    haproxy: { [speed.metric]: [200], [delay.metric]: [250] },
  });
  const judged = {
    bars: [
      bar("reached", 1, { atMost: 2, unit: "s" }),
      bar("missed", 3, { atMost: 2, unit: "s" }),
      bar("unknown", Number.NaN, { atMost: 2, unit: "s" }),
    ],
    standings: standings([speed, delay], figures, "ngrokd", peers),
    early: standings([speed, delay], figures, "ngrokd, early data", peers),
  };

  test("names each missed bar, each row where a peer is ahead, and our lead", () => {
    expect(verdictLines(judged)).toEqual([
      "1 of 3 bars are reached.",
      "Missed: missed (3 s, must be <= 2 s).",
      "Not measured: unknown.",
      "A peer is ahead in 1 of 2 rows: echo: p50 (haproxy 250, ngrokd 301 us: by 1.20 x).",
      "ngrokd is ahead in 1 of 2 rows, by 1.50 x (bulk: throughput).",
      "With `forward.early_data: on`, which is off by default, it is ahead in 1 of 1 row of new connections.",
    ]);
  });

  test("says that no peer is ahead if none is", () => {
    const lines = verdictLines({ bars: [], standings: judged.standings.slice(0, 1), early: [] });
    expect(lines).toEqual([
      "No peer is ahead in any of 1 row.",
      "ngrokd is ahead in 1 of 1 row, by 1.50 x (bulk: throughput).",
    ]);
  });

  test("says that ngrokd leads in no row, and how unsure a lead of a peer is", () => {
    const close = figuresOf({
      ngrokd: { [delay.metric]: [9, 12, 13] },
      haproxy: { [delay.metric]: [8, 10, 14] },
    });
    const behind = standings([delay], close, "ngrokd", peers);
    expect(verdictLines({ bars: [], standings: behind, early: behind })).toEqual([
      "A peer is ahead in 1 of 1 row: echo: p50 (haproxy 10, ngrokd 12 us: by 1.20 x, but their rounds overlap).",
      "ngrokd is ahead in none of 1 row.",
      "With `forward.early_data: on`, which is off by default, it is ahead in 0 of 1 row of new connections, and a peer in 1: echo: p50 (haproxy, by 1.20 x).",
    ]);
  });

  test("gives the smallest and the biggest lead, and the number of unsure ones", () => {
    const wide = figuresOf({
      ngrokd: { [speed.metric]: [300], [delay.metric]: [8, 10, 12] },
      haproxy: { [speed.metric]: [200], [delay.metric]: [11, 12, 13] },
    });
    const [, ahead] = verdictLines({
      bars: [],
      standings: standings([speed, delay], wide, "ngrokd", peers),
      early: [],
    });
    expect(ahead).toBe(
      "ngrokd is ahead in 2 of 2 rows, by 1.20 x (echo: p50) to 1.50 x (bulk: throughput); in 1 of them the rounds overlap.",
    );
  });

  test("does not judge without a peer", () => {
    expect(verdictLines({ bars: [], standings: [], early: [] })).toEqual([
      "No row was measured beside a peer.",
    ]);
  });
});
