import { describe, expect, test } from "bun:test";
import { chart, type Kind, panelsOf } from "../bench/chart.ts";
import { delay, figuresOf, speed } from "./support.ts";

const kindOf = (contender: string): Kind => (contender === "ngrokd" ? "own" : "peer");
const figures = figuresOf({
  ngrokd: { [speed.metric]: [280, 300, 340] },
  "a <peer> & more": { [speed.metric]: [200] },
  silent: { "another metric": [1] },
});
const panels = panelsOf([speed, delay], figures, kindOf);

describe("the data of a chart", () => {
  test("is a panel for each measured row, with a bar for each measured contender", () => {
    expect(panels).toEqual([
      {
        title: "bulk: throughput (MiB/s, more is better)",
        bars: [
          {
            contender: "ngrokd",
            kind: "own",
            median: 300,
            low: 280,
            high: 340,
            text: "300 (280 to 340)",
          },
          {
            contender: "a <peer> & more",
            kind: "peer",
            median: 200,
            low: 200,
            high: 200,
            text: "200",
          },
        ],
      },
    ]);
  });
});

describe("a chart", () => {
  const svg = chart("A & B", panels);

  test("is the same text for the same panels", () => {
    expect(chart("A & B", panels)).toBe(svg);
  });

  test("has a bar for each contender, and a range where the rounds differ", () => {
    const widths = [...svg.matchAll(/<rect [^>]*?width="([\d.]+)" x="/g)].map(([, width]) =>
      Number(width),
    );
    expect(widths).toHaveLength(2);
    const [own = 0, peer = 0] = widths;
    // Plot rounds to half a pixel.
    expect(own / peer).toBeCloseTo(1.5, 1);
    expect(svg.match(/aria-label="rule"/g)).toHaveLength(1);
    expect(svg.match(/<line /g)).toHaveLength(1);
  });

  test("escapes its texts, and follows the reader's light or dark", () => {
    expect(svg).toContain("<title>A &amp; B</title>");
    expect(svg).toContain(">a &lt;peer&gt; &amp; more</text>");
    expect(svg).toContain("@media (prefers-color-scheme: dark)");
  });

  test("fetches nothing", () => {
    expect(svg.match(/(?:href|src|url\()[^>]*/g)).toBeNull();
    expect(svg.match(/https?:[^"]*/g)).toEqual(["http://www.w3.org/2000/svg"]);
  });
});
