import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  type Allocation,
  type Assignment,
  allocate,
  createSupply,
  isReserved,
  remembered,
} from "../../src/exposure/allocate.ts";
import type { Hostname } from "../../src/model/hostname.ts";
import {
  type Ip,
  ipFromNumber,
  loopback,
  type Subnet,
  subnetHas,
  subnetSize,
} from "../../src/model/ip.ts";
import { host, ip, mapping, subnet } from "../machine/support.ts";

const none: ReadonlySet<Ip> = new Set();
const empty: Assignment = new Map();
const names = (...texts: string[]) => texts.map(host);
const run = (
  wanted: Hostname[],
  saved: Assignment = empty,
  range: Subnet = loopback,
  avoid = none,
) => allocate({ wanted, saved, range, avoid });
const entries = ({ assignment }: Allocation) => [...assignment] as [string, string][];

describe("allocate, with pinned addresses", () => {
  const pinned = (
    wanted: Hostname[],
    pins: Record<string, string>,
    saved: Assignment = empty,
    range = loopback,
  ) => allocate({ wanted, saved, range, avoid: none, pins: mapping(pins) });

  test("gives a name its pin, also if another name had that address", () => {
    const saved = mapping({ "a.demo": "127.0.0.5", "b.demo": "127.0.0.9" });
    const { assignment, failed } = pinned(
      names("a.demo", "b.demo"),
      { "a.demo": "127.0.0.9" },
      saved,
    );
    expect([...assignment]).toEqual([
      [host("a.demo"), ip("127.0.0.9")],
      [host("b.demo"), ip("127.0.0.2")],
    ]);
    expect([...failed]).toEqual([]);
  });

  test("gives no other name a pinned address, also while its name is absent", () => {
    const { assignment } = pinned(names("b.demo"), { "a.demo": "127.0.0.2" });
    expect(assignment.get(host("b.demo"))).toBe(ip("127.0.0.3"));
  });

  test.each([
    [
      "10.1.2.3",
      "names.pin gives it 10.1.2.3, which is outside 127.0.0.0/8; name another address there",
    ],
    [
      "127.0.0.1",
      "names.pin gives it 127.0.0.1, which other programs use; name another address there",
    ],
  ])("gives a name with the pin %s none, with the reason", (address, reason) => {
    const saved = mapping({ "a.demo": "127.0.0.5" });
    const { assignment, failed } = pinned(names("a.demo"), { "a.demo": address }, saved);
    expect([...assignment]).toEqual([]);
    expect(failed.get(host("a.demo"))).toBe(reason);
  });

  test("gives two names with one pin to the first", () => {
    const pins = { "a.demo": "127.0.0.9", "b.demo": "127.0.0.9" };
    const { assignment, failed } = pinned(names("b.demo", "a.demo"), pins);
    expect(assignment.get(host("a.demo"))).toBe(ip("127.0.0.9"));
    expect(failed.get(host("b.demo"))).toContain('which it gives to "a.demo" too');
  });
});

describe("allocate", () => {
  test("starts at 127.0.0.2 and goes upwards in the order of the names", () => {
    expect(entries(run(names("b.demo", "a.demo", "a.demo")))).toEqual([
      ["a.demo", "127.0.0.2"],
      ["b.demo", "127.0.0.3"],
    ]);
  });

  test("skips reserved addresses, the ends of each /24, and those to avoid", () => {
    const wanted = Array.from({ length: 600 }, (_, i) => host(`n${1000 + i}.demo`));
    const given = new Set(
      run(
        wanted,
        empty,
        loopback,
        new Set([ip("127.0.0.9")]),
      ).assignment.values() as Iterable<string>,
    );
    const skipped = [
      "0.0",
      "0.1",
      "0.9",
      "0.11",
      "0.53",
      "0.54",
      "0.255",
      "1.0",
      "1.1",
      "1.255",
      "2.0",
    ].map((end) => `127.0.${end}`);
    expect(skipped.filter((address) => given.has(address))).toEqual([]);
    // 249 of 127.0.0.x, 253 of 127.0.1.x and 98 of 127.0.2.x: no other address
    // was skipped.
    expect([...given].at(-1)).toBe("127.0.2.98");
    expect(given.size).toBe(600);
  });

  test("keeps the address of a name through its absence and return", () => {
    const first = run(names("a.demo", "b.demo")).assignment;
    const second = run(names("b.demo", "c.demo"), first).assignment;
    expect([...second] as unknown).toEqual([
      ["a.demo", "127.0.0.2"],
      ["b.demo", "127.0.0.3"],
      ["c.demo", "127.0.0.4"],
    ]);
    expect(run(names("a.demo", "c.demo"), second).assignment.get(host("a.demo"))).toBe(
      ip("127.0.0.2"),
    );
  });

  test("keeps an address even if another program listens there now", () => {
    const saved = mapping({ "a.demo": "127.0.0.2" });
    expect(run(names("a.demo"), saved, loopback, new Set([ip("127.0.0.2")])).assignment).toEqual(
      saved,
    );
  });

  test("replaces saved addresses that are reserved or shared, and moves those outside", () => {
    const saved = mapping({
      "go.demo": "10.107.0.2",
      "gone-go.demo": "10.107.0.3",
      "local.demo": "127.0.0.1",
      "gone-end.demo": "127.0.3.255",
      "first.demo": "127.0.0.7",
      "twice.demo": "127.0.0.7",
    });
    expect(entries(run(names("go.demo", "local.demo", "twice.demo"), saved))).toEqual([
      ["gone-go.demo", "127.0.0.3"],
      ["first.demo", "127.0.0.7"],
      ["go.demo", "127.0.0.2"],
      ["local.demo", "127.0.0.4"],
      ["twice.demo", "127.0.0.5"],
    ]);
  });
});

describe("allocate, in a full range or with many names,", () => {
  test("reuses addresses of gone names only in a full range, oldest first", () => {
    const range = subnet("127.0.0.0/29"); // .2 to .7
    let saved = run(
      names("a.demo", "b.demo", "c.demo", "d.demo", "e.demo", "f.demo"),
      empty,
      range,
    ).assignment;
    saved = run(names("a.demo", "b.demo", "c.demo", "d.demo", "e.demo"), saved, range).assignment;
    saved = run(names("b.demo", "c.demo", "d.demo", "e.demo"), saved, range).assignment;
    const one = run(names("b.demo", "c.demo", "d.demo", "e.demo", "g.demo"), saved, range);
    expect(one.assignment.get(host("g.demo"))).toBe(ip("127.0.0.7")); // f's: gone before a
    expect(one.assignment.has(host("f.demo"))).toBe(false);
    expect(one.assignment.has(host("a.demo"))).toBe(true);
    const three = run(
      names("b.demo", "c.demo", "d.demo", "e.demo", "g.demo", "h.demo", "i.demo"),
      one.assignment,
      range,
    );
    expect(three.assignment.get(host("h.demo"))).toBe(ip("127.0.0.2"));
    expect([...three.failed] as unknown).toEqual([
      ["i.demo", "no address is left in 127.0.0.0/29; a wider net.subnet makes room"],
    ]);
  });

  test("does not reuse the address of a gone name if a program listens there", () => {
    const range = subnet("127.0.0.0/30"); // .2 and .3
    const saved = mapping({ "a.demo": "127.0.0.2", "b.demo": "127.0.0.3" });
    const { assignment } = run(names("c.demo"), saved, range, new Set([ip("127.0.0.2")]));
    expect([...assignment] as unknown).toEqual([
      ["a.demo", "127.0.0.2"],
      ["c.demo", "127.0.0.3"],
    ]);
  });

  test("fails every name in a range without a usable address", () => {
    const { assignment, failed } = run(names("a.demo", "b.demo"), empty, subnet("127.0.0.0/31"));
    expect(assignment.size).toBe(0);
    expect(failed.size).toBe(2);
  });

  test("forgets the names that are gone longest, beyond a limit", () => {
    const saved = new Map(
      Array.from({ length: remembered + 2 }, (_, i) => [host(`n${i}.demo`), nth(i)] as const),
    );
    const { assignment } = run([], saved);
    expect(assignment.size).toBe(remembered);
    expect(assignment.has(host("n1.demo"))).toBe(false);
    expect(assignment.has(host("n2.demo"))).toBe(true);
  });

  test("does a fixed amount of work for each of 10,000 names, new and known", () => {
    const wanted = Array.from({ length: 10_000 }, (_, i) => host(`n${i}.namespace.example`));
    const avoid = new CountedSet();
    const first = run(wanted, empty, loopback, avoid).assignment;
    expect(first.size).toBe(wanted.length);
    // One question for each address up to the last, reserved ones included.
    const { questions } = avoid;
    expect(questions).toBeWithin(wanted.length, 1.01 * wanted.length);
    const saved = new CountedMap(first);
    const second = run(wanted, saved, loopback, avoid).assignment;
    expect([...second]).toEqual([...first]);
    expect(saved.reads).toBe(wanted.length);
    expect(avoid.questions).toBe(questions);
  });
});

class CountedSet extends Set<Ip> {
  questions = 0;
  override has(value: Ip): boolean {
    this.questions += 1;
    return super.has(value);
  }
}

class CountedMap extends Map<Hostname, Ip> {
  reads = 0;
  override get(key: Hostname): Ip | undefined {
    this.reads += 1;
    return super.get(key);
  }
  override *[Symbol.iterator](): MapIterator<[Hostname, Ip]> {
    for (const entry of super.entries()) {
      this.reads += 1;
      yield entry;
    }
    return undefined;
  }
}

/** The nth address after 127.1.0.0, without the ends of each /24. */
const nth = (n: number): Ip => ipFromNumber(0x7f010000 + Math.floor(n / 200) * 256 + (n % 200) + 2);

const arbitraryName = fc.integer({ min: 0, max: 24 }).map((i) => host(`n${i}.demo`));
const arbitraryRange = fc.constantFrom(
  ...["127.0.0.0/8", "127.0.0.0/28", "127.0.0.48/28", "127.9.9.240/28", "127.0.1.0/29"].map(subnet),
);
const arbitraryIpIn = (range: Subnet) =>
  fc
    .integer({ min: 0, max: Math.min(subnetSize(range), 32) - 1 })
    .map((i) => ipFromNumber(range.first + i));
const arbitrarySaved = (range: Subnet) =>
  fc
    .array(
      fc.tuple(
        arbitraryName,
        fc.oneof(
          arbitraryIpIn(range),
          fc.constantFrom(ip("10.107.0.2"), ip("127.0.0.1"), ip("127.200.0.1")),
        ),
      ),
    )
    .map((pairs): Assignment => new Map(pairs));
const arbitraryWanted = fc.uniqueArray(arbitraryName, { maxLength: 20 });
const arbitraryCase = arbitraryRange.chain((range) =>
  fc.record({
    range: fc.constant(range),
    saved: arbitrarySaved(range),
    avoid: fc.array(arbitraryIpIn(range), { maxLength: 6 }).map((ips) => new Set(ips)),
    passes: fc.array(arbitraryWanted, { minLength: 1, maxLength: 8 }),
  }),
);

describe("allocate, for any history of names", () => {
  test("gives every wanted name an address of its own in the range, or a reason", () => {
    fc.assert(
      fc.property(arbitraryCase, ({ range, saved, avoid, passes }) => {
        let before = saved;
        for (const wanted of passes) {
          const { assignment, failed } = allocate({ wanted, saved: before, range, avoid });
          const given = [...assignment.values()];
          expect(new Set(given).size).toBe(given.length);
          expect(
            given.filter((address) => isReserved(address) || !subnetHas(range, address)),
          ).toEqual([]);
          expect(wanted.filter((name) => assignment.has(name) === failed.has(name))).toEqual([]);
          expect([...failed.keys()].filter((name) => !wanted.includes(name))).toEqual([]);
          before = assignment;
        }
      }),
    );
  });

  test("gives the same again, in any order, and after an absence", () => {
    fc.assert(
      fc.property(
        arbitraryCase,
        fc.infiniteStream(fc.boolean()),
        ({ range, saved, avoid, passes: [wanted = []] }, coins) => {
          const once = allocate({ wanted, saved, range, avoid });
          const again = allocate({ wanted, saved: once.assignment, range, avoid });
          expect([...again.assignment]).toEqual([...once.assignment]);
          const reversed = allocate({ wanted: wanted.toReversed(), saved, range, avoid });
          expect([...reversed.assignment]).toEqual([...once.assignment]);
          const some = wanted.filter(() => coins.next().value);
          const without = allocate({ wanted: some, saved: once.assignment, range, avoid });
          const back = allocate({
            wanted: [...once.assignment.keys()],
            saved: without.assignment,
            range,
            avoid,
          });
          // A failed name may get an address while others are gone. If none
          // failed, each has its own again.
          if (once.failed.size === 0)
            expect(new Map(back.assignment)).toEqual(new Map(once.assignment));
        },
      ),
    );
  });

  test("takes an address only in a full range, from the name gone longest", () => {
    fc.assert(
      fc.property(arbitraryCase, ({ range, avoid, passes }) => {
        const seen = new Map<Hostname, number>();
        let before = empty;
        for (const [pass, wanted] of passes.entries()) {
          const { assignment, failed } = allocate({ wanted, saved: before, range, avoid });
          const held = new Set([...before.values(), ...assignment.values()]);
          const isFree = (address: Ip) =>
            !held.has(address) && !avoid.has(address) && !isReserved(address);
          const used =
            subnetSize(range) <= 32 &&
            !Array.from({ length: subnetSize(range) }, (_, i) =>
              ipFromNumber(range.first + i),
            ).some(isFree);
          const changed = [...before]
            .filter(([name, address]) => assignment.get(name) !== address)
            .map(([name]) => name);
          const stillGone = [...assignment]
            .filter(([name, address]) => !wanted.includes(name) && !avoid.has(address))
            .map(([name]) => name);
          const lastSeen = (name: Hostname) => seen.get(name) ?? -1;
          if (changed.length > 0 || failed.size > 0) expect(used).toBe(true);
          if (failed.size > 0) expect(stillGone).toEqual([]);
          expect(changed.filter((name) => wanted.includes(name))).toEqual([]);
          for (const loser of changed)
            expect(stillGone.filter((name) => lastSeen(name) < lastSeen(loser))).toEqual([]);
          const fresh = [...assignment]
            .filter(([name]) => !before.has(name))
            .map(([, address]) => address);
          expect(fresh.filter((address) => avoid.has(address))).toEqual([]);
          for (const name of wanted) seen.set(name, pass);
          before = assignment;
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe("createSupply", () => {
  const before = mapping({
    "gone.demo": "127.0.0.4",
    "later.demo": "127.0.0.5",
    "here.demo": "127.0.0.2",
  });
  const supply = (range = "127.0.0.0/29") =>
    createSupply(before, new Set([host("here.demo")]), subnet(range));
  const any = (): boolean => true;

  test("gives every new name a free address of its own", () => {
    const { take, assignment } = supply();
    const names = ["a.demo", "b.demo", "c.demo"].map(host);
    expect(names.map((name) => take(name, any))).toEqual(
      ["127.0.0.3", "127.0.0.6", "127.0.0.7"].map(ip),
    );
    expect(assignment.get(host("b.demo"))).toBe(ip("127.0.0.6"));
  });

  test("gives a pinned name its address alone, from an absent name too", () => {
    const pins = mapping({
      "a.demo": "127.0.0.4",
      "b.demo": "127.0.0.2",
      "c.demo": "127.0.0.1",
      "d.demo": "127.1.0.1",
    });
    const { take, assignment } = createSupply(
      before,
      new Set([host("here.demo")]),
      subnet("127.0.0.0/29"),
      pins,
    );
    const takeAll = (...names: string[]): string[] =>
      names.map((name) => take(host(name), any) ?? "none");
    expect(takeAll("a.demo", "b.demo", "c.demo", "d.demo")).toEqual([
      "127.0.0.4",
      "none",
      "none",
      "none",
    ]);
    expect(take(host("a.demo"), () => false)).toBeUndefined();
    expect(takeAll("gone.demo", "e.demo")).toEqual(["127.0.0.3", "127.0.0.6"]);
    expect(assignment.get(host("here.demo"))).toBe(ip("127.0.0.2"));
  });

  test("gives an absent name the address that it had", () => {
    expect(supply().take(host("later.demo"), any)).toBe(ip("127.0.0.5"));
  });

  test("gives addresses of absent names last, and the longest absent name's first", () => {
    const { take, assignment } = supply();
    const names = ["a.demo", "b.demo", "c.demo", "d.demo", "e.demo", "f.demo"].map(host);
    expect(names.map((name) => take(name, any)).slice(3)).toEqual([
      ip("127.0.0.4"),
      ip("127.0.0.5"),
      undefined,
    ]);
    expect(assignment.has(host("gone.demo"))).toBe(false);
    expect(assignment.get(host("here.demo"))).toBe(ip("127.0.0.2"));
  });

  test("leaves out what cannot be used, and names that have come back", () => {
    const { take } = supply();
    take(host("gone.demo"), any);
    const isUsable = (one: string): boolean => one !== "127.0.0.3";
    const names = ["a.demo", "b.demo", "c.demo", "d.demo"].map(host);
    expect(names.map((name) => take(name, isUsable))).toEqual([
      ip("127.0.0.6"),
      ip("127.0.0.7"),
      ip("127.0.0.5"),
      undefined,
    ]);
  });
});
