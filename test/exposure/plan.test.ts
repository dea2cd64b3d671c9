import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { type Doorway, doorId } from "../../src/exposure/exposure.ts";
import { plan } from "../../src/exposure/plan.ts";
import type { AnyIp } from "../../src/model/ip.ts";
import { doorway } from "../daemon/support.ts";

const a80 = doorway("http://a.demo", "127.0.0.2");
const a443 = doorway("https://a.demo", "127.0.0.2");
const b80 = doorway("http://b.demo", "127.0.0.3");
const nothing = { open: [], reroute: [], close: [], reopen: [] };

describe("plan", () => {
  test("has no steps if nothing is wanted and nothing is there", () => {
    expect(steps([], [])).toEqual(nothing);
  });

  test("opens missing doors", () => {
    expect(steps([a80, b80], [a80])).toEqual({ ...nothing, open: [b80] });
  });

  test("closes unwanted doors", () => {
    expect(steps([a80], [a80, a443])).toEqual({ ...nothing, close: ["127.0.0.2:443"] });
  });

  test("opens a moved binding at its new place and closes the old one", () => {
    const moved = doorway("http://a.demo", "127.0.0.9");
    expect(steps([moved], [a80])).toEqual({ ...nothing, open: [moved], close: ["127.0.0.2:80"] });
  });

  test("closes a door and opens it again if its address has another name", () => {
    const heir = doorway("http://c.demo", "127.0.0.2");
    expect(steps([heir], [a80])).toEqual({ ...nothing, close: ["127.0.0.2:80"], reopen: [heir] });
  });

  test("changes the route of a door if the endpoints behind it have changed", () => {
    const changed = doorway("http://a.demo", "127.0.0.2", "ep_9");
    expect(steps([changed, b80], [a80, b80])).toEqual({ ...nothing, reroute: [changed] });
  });

  test("changes the route of a door if the account has changed", () => {
    const [route] = a80.routes;
    if (route === undefined) throw new Error("there is no route");
    const changed: Doorway = {
      ...a80,
      routes: [{ ...route, target: { ...route.target, account: "other" } }],
    };
    expect(steps([changed], [a80])).toEqual({ ...nothing, reroute: [changed] });
  });

  test("leaves correct doors alone", () => {
    const equal = doorway("http://a.demo", "127.0.0.2");
    expect(steps([equal, a443, b80], [b80, a443, a80])).toEqual(nothing);
  });

  test("looks each door up once, however many there are", () => {
    const wanted = Array.from({ length: 2000 }, (_, i) =>
      doorway(`tcp://service-${i}.demo:80`, `127.0.${i >> 7}.${(i & 127) + 1}`),
    );
    const present = new CountingMap(wanted.map((one) => [one.door.id, one] as const));
    const { close } = plan(exposureOf(wanted.slice(1000)), present);
    expect(close).toHaveLength(1000);
    expect(present.lookUps).toBe(1000);
  });

  test("looks at each address a few times, however many doors come and go", () => {
    let looks = 0;
    const counted = (i: number): Doorway => {
      const { door, routes } = doorway(
        `tcp://service-${i}.demo:80`,
        `127.0.${i >> 7}.${(i & 127) + 1}`,
      );
      const { id, at, greet } = door;
      const counting = {
        get ip() {
          looks += 1;
          return at.ip;
        },
        port: at.port,
      };
      return { door: { id, at: counting, greet }, routes };
    };
    const all = Array.from({ length: 2000 }, (_, i) => counted(i));
    const { open, close } = steps(all.slice(1000), all.slice(0, 1000));
    expect([open.length, close.length], "doors that open and close").toEqual([1000, 1000]);
    expect(looks).toBeLessThanOrEqual(3 * all.length);
  });

  test.each([
    ["0.0.0.0", "127.0.0.2", true],
    ["0.0.0.0", "::1", false],
    ["0.0.0.0", "::", true],
    ["::", "127.0.0.2", true],
    ["::", "::1", true],
    ["127.0.0.2", "127.0.0.3", false],
  ])("waits for %s if the wanted one is %s, or the reverse: %p", (one, other, waits) => {
    for (const [before, after] of [
      [one, other],
      [other, one],
    ] as const) {
      const wanted = onPort80(after);
      const { open, reopen } = steps([wanted], [onPort80(before)]);
      expect({ open, reopen }, `from ${before} to ${after}`).toEqual(
        waits ? { open: [], reopen: [wanted] } : { open: [wanted], reopen: [] },
      );
    }
  });

  test("leads to the wanted doors, and then has no steps left", () => {
    const anywhere = fc
      .record({
        host: fc.constantFrom("a", "b", "c"),
        port: fc.constantFrom(80, 443),
        last: fc.integer({ min: 2, max: 4 }),
      })
      .map(({ host, port, last }) => doorway(`tcp://${host}.demo:${port}`, `127.0.0.${last}`));
    const several = fc.uniqueArray(anywhere, { selector: ({ door }) => door.id, maxLength: 12 });
    fc.assert(
      fc.property(several, several, (wanted, before) => {
        const present = new Map(before.map((one) => [one.door.id, one]));
        const { open, reroute, close, reopen } = plan(exposureOf(wanted), present);
        for (const { door } of open) expect(present.has(door.id)).toBe(false);
        for (const { door } of reroute) expect(present.has(door.id)).toBe(true);
        for (const one of [...open, ...reroute]) present.set(one.door.id, one);
        for (const id of close) expect(present.delete(id)).toBe(true);
        for (const { door } of reopen) expect(present.has(door.id)).toBe(false);
        for (const one of reopen) present.set(one.door.id, one);
        expect(new Map(present)).toEqual(new Map(wanted.map((one) => [one.door.id, one])));
        expect(plan(exposureOf(wanted), present)).toEqual(nothing);
      }),
    );
  });
});

function onPort80(at: string): Doorway {
  const ip = at as AnyIp;
  const { door, routes } = doorway("http://a.demo", "127.0.0.2");
  const id = doorId(ip, 80);
  return {
    door: { ...door, id, at: { ip, port: 80 } },
    routes: routes.map((route) => ({ ...route, door: id })),
  };
}

class CountingMap<K, V> extends Map<K, V> {
  lookUps = 0;
  override get(key: K): V | undefined {
    this.lookUps += 1;
    return super.get(key);
  }
  override has(key: K): boolean {
    this.lookUps += 1;
    return super.has(key);
  }
}

const exposureOf = (doorways: readonly Doorway[]) => ({
  doors: doorways.map(({ door }) => door),
  routes: doorways.flatMap(({ routes }) => routes),
});

const steps = (wanted: readonly Doorway[], present: readonly Doorway[]) =>
  plan(exposureOf(wanted), new Map(present.map((one) => [one.door.id, one])));
