import { describe, expect, test } from "bun:test";
import { page } from "../bench/report.ts";
import { delay, figuresOf, resultOf, speed } from "./support.ts";

const figures = figuresOf({
  ngrokd: { [speed.metric]: [300], [delay.metric]: [300] },
  "ngrokd, early data": { [delay.metric]: [100] },
  haproxy: { [speed.metric]: [200], [delay.metric]: [250] },
});
const facts: [string, string][] = [["when", "today"]];

describe("the page of a run with peers", () => {
  const text = page({
    results: [resultOf([speed, delay], figures, ["haproxy"])],
    facts,
    peers: { installed: ["haproxy"], loops: ["a loop"] },
    charts: new Map([["sample", "images/bench-sample.svg"]]),
  });

  test("begins with the verdict", () => {
    expect(text.split("\n\n")[1]).toStartWith(
      "A peer is ahead in 1 of 2 rows: echo: p50 (haproxy 250, ngrokd 300 us: by 1.20 x).",
    );
  });

  test("has each row beside the best peer, and with early data where that counts", () => {
    expect(text.match(/^\| (?:bulk|echo): .*/gm)).toEqual([
      "| bulk: throughput, MiB/s | 300    | 200 (haproxy) | 1.50 x ahead      | one    |                   |",
      "| echo: p50, us           | 300    | 250 (haproxy) | **1.20 x behind** | one    | 100, 2.50 x ahead |",
    ]);
  });

  test("names the peers, and says what the loops are not", () => {
    expect(text).toContain("Debian's peers (haproxy) relay plain TCP");
    expect(text).toContain("The other peers (a loop)\nare the forwarding loops");
    expect(text).toContain("They are not these programs.");
  });

  test("shows the chart of a case above its figures", () => {
    expect(text).toContain("What is measured.\n\n![A sample](images/bench-sample.svg)\n\n| ");
  });
});

describe("the page of a run without peers and charts", () => {
  const text = page({
    results: [resultOf([speed], figures, [])],
    facts,
    peers: { installed: [], loops: [] },
    charts: new Map(),
  });

  test("claims no place, and names no peer", () => {
    expect(text.split("\n\n")[1]).toBe("No row was measured beside a peer.");
    expect(text).toContain("No peer was measured.");
    expect(text).not.toContain("Debian's peers");
    expect(text).not.toContain("Go program");
  });

  test("has the figures, and no picture", () => {
    expect(text).toContain("What is measured.\n\n| ");
    expect(text).not.toContain("![");
  });
});
