import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { isSuspiciouslyShort, type Placed, placeOf, plan } from "../../src/exposure/plan.ts";
import { bindingsOf } from "../../src/model/binding.ts";
import { ip } from "../machine/support.ts";

const placed = (url: string, at: string): Placed => {
  const [binding] = bindingsOf([{ id: "ep_1", url, proto: "" }]).bindings;
  if (binding === undefined) throw new Error(url);
  return { binding, ip: ip(at) };
};
const a80 = placed("http://a.demo", "127.0.0.2");
const a443 = placed("https://a.demo", "127.0.0.2");
const b80 = placed("http://b.demo", "127.0.0.3");

describe("plan", () => {
  test("names a place by address, port and host", () => {
    expect([a80, a443, b80].map(placeOf)).toEqual([
      "127.0.0.2:80 a.demo",
      "127.0.0.2:443 a.demo",
      "127.0.0.3:80 b.demo",
    ]);
  });

  test.each([
    ["nothing wanted, nothing there", [], [], [], []],
    ["what is missing is raised", [a80, b80], [a80], [b80], []],
    ["what is not wanted is retired", [a80], [a80, a443], [], [a443]],
    [
      "a moved binding is raised at its new place and retired at the old",
      [placed("http://a.demo", "127.0.0.9")],
      [a80],
      [placed("http://a.demo", "127.0.0.9")],
      [a80],
    ],
    [
      "an address that changes its name changes hands",
      [placed("http://c.demo", "127.0.0.2")],
      [a80],
      [placed("http://c.demo", "127.0.0.2")],
      [a80],
    ],
    ["what is right is left alone", [a80, a443, b80], [b80, a443, a80], [], []],
  ] as const)("%s", (_name, wanted, present, raise, retire) => {
    expect(plan(wanted, new Set(present.map(placeOf)))).toEqual({
      raise,
      retire: retire.map(placeOf),
    } as never);
  });

  test("carried out, leads to what is wanted, touches nothing else, and leaves nothing to do", () => {
    const anywhere = fc
      .record({
        host: fc.constantFrom("a", "b", "c"),
        port: fc.constantFrom(80, 443),
        last: fc.integer({ min: 2, max: 4 }),
      })
      .map(({ host, port, last }) => placed(`tcp://${host}.demo:${port}`, `127.0.0.${last}`));
    const several = fc.uniqueArray(anywhere, { selector: placeOf, maxLength: 12 });
    fc.assert(
      fc.property(several, several, (wanted, before) => {
        const present = new Set(before.map(placeOf));
        const { raise, retire } = plan(wanted, present);
        const after = new Set(present);
        for (const one of raise) expect(after.size).toBe(after.add(placeOf(one)).size - 1);
        for (const place of retire) expect(after.delete(place)).toBe(true);
        expect([...after].sort()).toEqual(wanted.map(placeOf).sort());
        expect(plan(wanted, after)).toEqual({ raise: [], retire: [] });
      }),
    );
  });
});

describe("isSuspiciouslyShort", () => {
  const keys = (from: number, to: number): string[] =>
    Array.from({ length: to - from }, (_, i) => `${from + i}.demo:80`);
  test.each([
    ["nothing runs, nothing is listed", [], [], false],
    ["nothing runs", [], keys(0, 9), false],
    ["one runs, none is listed", keys(0, 1), [], true],
    ["many run, none is listed", keys(0, 500), [], true],
    ["all are listed", keys(0, 9), keys(0, 9), false],
    ["two of three are lost", keys(0, 3), keys(0, 1), false],
    ["three of four are lost", keys(0, 4), keys(0, 1), true],
    ["three of six are lost: half, not more", keys(0, 6), keys(0, 3), false],
    ["three of five are lost", keys(0, 5), keys(0, 2), true],
    ["half of a hundred are lost", keys(0, 100), keys(50, 100), false],
    ["more than half of a hundred are lost", keys(0, 100), keys(51, 100), true],
    ["others are listed in their place", keys(0, 5), keys(100, 105), true],
    ["one is renamed", keys(0, 1), keys(1, 2), false],
  ])("%s", (_name, runs, listed, suspicious) => {
    expect(isSuspiciouslyShort(runs, new Set(listed))).toBe(suspicious);
  });
});
