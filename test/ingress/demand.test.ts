import { describe, expect, test } from "bun:test";
import { createDemand } from "../../src/ingress/demand.ts";

const limits = { dialMs: 5, min: 1, max: 32 };

describe("demand", () => {
  test("is the minimum without clients", () => {
    expect(createDemand().target(1e6, limits)).toBe(1);
    expect(createDemand().target(0, { ...limits, min: 0 })).toBe(0);
  });

  test("is the number of arrivals during two dials, if they are steady", () => {
    const demand = createDemand();
    // 400 a second for ten seconds, dials of 100 ms: 80 arrive during two
    // dials. The largest burst of 200 ms is 80, too.
    for (let now = 0; now < 10_000; now += 2.5) demand.note(now);
    expect(demand.target(10_000, { dialMs: 100, min: 1, max: 1000 })).toBeWithin(76, 84);
  });

  test("is the largest burst of 200 ms, wherever it fell", () => {
    const demand = createDemand();
    for (let i = 0; i < 16; i += 1) demand.note(5090 + i);
    expect(demand.target(5200, limits)).toBe(16);
    expect(demand.target(12_000, limits)).toBe(16);
  });

  test("never leaves the bounds", () => {
    const demand = createDemand();
    for (let i = 0; i < 500; i += 1) demand.note(50);
    expect(demand.target(60, limits)).toBe(32);
    expect(demand.target(60, { ...limits, max: 0, min: 0 })).toBe(0);
  });

  test("forgets after ten seconds, also without arrivals in between", () => {
    const demand = createDemand();
    for (let i = 0; i < 20; i += 1) demand.note(50);
    expect(demand.target(9900, limits)).toBe(20);
    expect(demand.target(10_100, limits)).toBe(1);
    for (let i = 0; i < 7; i += 1) demand.note(1e7);
    expect(demand.target(1e7, limits)).toBe(7);
  });
});
