import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  counter,
  exposition,
  type Family,
  gauge,
  type Labels,
  type Sample,
} from "../../src/observe/exposition.ts";
import { anyText } from "../support/texts.ts";

const written = (families: Iterable<Family>, pieceLength?: number): string =>
  [...exposition(families, pieceLength)].join("");

describe("the text for Prometheus", () => {
  test("has help, type and samples of each metric", () => {
    const families: Family[] = [
      gauge("up", "Whether it is.", 1),
      gauge("info", "What it is.", 1, { version: "1.2.3", runtime: "bun" }),
      counter("seen_total", 'Back\\slash, "quotes" and\na line.', 1e21),
      {
        name: "wait_seconds",
        type: "histogram",
        help: "How long.",
        samples: (): Sample[] => [
          { labels: { endpoint: "a" }, value: { bounds: [0.1, 1], counts: [2, 0, 3], sum: 9.5 } },
          { labels: {}, value: { bounds: [0.1], counts: [0, 0], sum: 0 } },
        ],
      },
      { name: "none", type: "gauge", help: "Nothing to say.", samples: () => [] },
    ];
    expect(written(families)).toBe(
      `
# HELP up Whether it is.
# TYPE up gauge
up 1
# HELP info What it is.
# TYPE info gauge
info{version="1.2.3",runtime="bun"} 1
# HELP seen_total Back\\\\slash, "quotes" and\\na line.
# TYPE seen_total counter
seen_total 1e+21
# HELP wait_seconds How long.
# TYPE wait_seconds histogram
wait_seconds_bucket{endpoint="a",le="0.1"} 2
wait_seconds_bucket{endpoint="a",le="1"} 2
wait_seconds_bucket{endpoint="a",le="+Inf"} 5
wait_seconds_sum{endpoint="a"} 9.5
wait_seconds_count{endpoint="a"} 5
wait_seconds_bucket{le="0.1"} 0
wait_seconds_bucket{le="+Inf"} 0
wait_seconds_sum 0
wait_seconds_count 0
# HELP none Nothing to say.
# TYPE none gauge
`.slice(1),
    );
  });

  test.each([
    [Number.POSITIVE_INFINITY, "+Inf"],
    [Number.NEGATIVE_INFINITY, "-Inf"],
    [Number.NaN, "NaN"],
    [-0.5, "-0.5"],
    [1770000000.25, "1770000000.25"],
  ])("writes %d as %s", (value, said) => {
    expect(written([gauge("x", "", value)])).toEndWith(`\nx ${said}\n`);
  });

  test("carries any label, whatever is in it, on one line", () => {
    fc.assert(
      fc.property(anyText, (value) => {
        const lines = written([gauge("x", "", 1, { label: value })])
          .slice(0, -1)
          .split("\n");
        expect(lines.length).toBe(3);
        const quoted =
          /^x\{label="((?:[^"\\\n]|\\["\\n])*)"\} 1$/s.exec(lines[2] ?? "")?.[1] ?? "not one label";
        expect(
          quoted.replaceAll(/\\(.)/g, (_, letter: string) => (letter === "n" ? "\n" : letter)),
        ).toBe(value);
      }),
    );
  });

  test("is the same in pieces of any size, each of whole lines, and is made lazily", () => {
    let asked = 0;
    const labelled = (endpoint: string): { labels: Labels; value: number } => ({
      labels: { endpoint },
      value: 1,
    });
    const family: Family = {
      name: "x",
      type: "gauge",
      help: "Many.",
      *samples() {
        for (let i = 0; i < 500; i += 1) {
          asked += 1;
          yield labelled(`host-${i}`);
        }
      },
    };
    const whole = written([family], Number.POSITIVE_INFINITY);
    for (const size of [1, 100, 1000]) {
      const pieces = [...exposition([family], size)];
      expect(pieces.join("")).toBe(whole);
      expect(pieces.every((piece) => piece.endsWith("\n") && piece.length < size + 100)).toBe(true);
    }
    asked = 0;
    exposition([family], 100).next();
    expect(asked).toBeLessThan(10);
  });
});
