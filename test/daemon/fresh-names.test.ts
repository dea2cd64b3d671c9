import { afterEach, describe, expect, test } from "bun:test";
import { createPlainGuard } from "../../src/access/guard.ts";
import { createFreshNames } from "../../src/daemon/fresh-names.ts";
import { expose } from "../../src/exposure/expose.ts";
import { createAskedNames } from "../../src/machine/asked-names.ts";
import { createDoors } from "../../src/relay/doors.ts";
import { host, ip, mapping, subnet } from "../machine/support.ts";
import { net } from "../support/conns.ts";
import { memoryLog } from "../support/memory-log.ts";
import { echoing, endpoint, occupy } from "./support.ts";

const endings: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of endings.splice(0).reverse()) await end();
});
const unlimited = {
  inAll: Number.POSITIVE_INFINITY,
  perEndpoint: Number.POSITIVE_INFINITY,
  byDescriptors: Number.POSITIVE_INFINITY,
  byMemory: Number.POSITIVE_INFINITY,
};
const port = 18_410;

/** A machine with one wildcard, and doors of its own. */
function staged({
  most = 100,
  range = "127.86.0.0/29",
  now = (): number => 0,
  pins = mapping({}),
} = {}) {
  const deps = echoing();
  const doors = createDoors({
    net,
    forwarding: () => deps,
    limits: () => unlimited,
    guard: createPlainGuard(net),
  });
  endings.push(() => doors.drain(0, AbortSignal.abort()));
  const asked = createAskedNames(new Set(), now);
  const log = memoryLog();
  const forgotten: string[] = [];
  const saved: number[] = [];
  const fresh = createFreshNames({
    relay: {
      present: doors.present,
      draining: doors.draining,
      apply: (steps) => doors.apply(steps, 10_000),
    },
    machine: { asked, keepAssignment: (next) => void saved.push(next.size) },
    most: () => most,
    forget: (name) => void forgotten.push(name),
    carry: async () => undefined,
    log,
  });
  const policy = {
    forbidden: (name: string) => (name === "no.team.demo" ? "it is ours" : undefined),
    pins,
  };
  const ground = { kind: "loopback", range: subnet(range) } as const;
  const rules = { policy, ground };
  const accounts = [
    { account: "default", listed: [endpoint("ep_1", `https://*.team.demo:${port}`)] },
  ];
  const below = { onDemand: true, asked: asked.all, expanded: new Set<never>() };
  const machine = { ground, taken: new Set<never>() };
  const settle = (assignment = mapping({})) =>
    fresh.settle(expose({ accounts, assignment, policy, machine, below }), rules);
  settle();
  return { fresh, doors, asked, log, forgotten, saved, settle };
}

describe("fresh names", () => {
  test("get an address whose door listens, and the same one again", async () => {
    const { fresh, doors, asked, saved } = staged();
    expect(await fresh.open(host("a.team.demo"))).toEqual(["127.86.0.1"]);
    expect(await fresh.open(host("b.team.demo"))).toEqual(["127.86.0.2"]);
    expect(await fresh.open(host("a.team.demo"))).toEqual(["127.86.0.1"]);
    expect([...doors.present.keys()]).toEqual([`127.86.0.1:${port}`, `127.86.0.2:${port}`]);
    expect([...asked.all]).toEqual([host("a.team.demo"), host("b.team.demo")]);
    expect(saved).toEqual([1, 2]);
  });

  test("get the address that the configuration pins, and no address of another pin", async () => {
    const pins = mapping({ "b.team.demo": "127.86.0.5", "absent.demo": "127.86.0.1" });
    const { fresh } = staged({ pins });
    expect(await fresh.open(host("b.team.demo"))).toEqual(["127.86.0.5"]);
    expect(await fresh.open(host("a.team.demo"))).toEqual(["127.86.0.2"]);
  });

  test("lead to their own names behind ngrok", async () => {
    const { fresh, doors } = staged();
    await fresh.open(host("a.team.demo"));
    const [door] = doors.present.values();
    expect(door?.routes[0]?.target.binding).toMatchObject({ host: "a.team.demo", port });
  });

  test("are refused if they are forbidden, or below no wildcard", async () => {
    const { fresh } = staged();
    expect(await fresh.open(host("no.team.demo"))).toBe("refused");
    expect(await fresh.open(host("a.other.demo"))).toBe("refused");
    expect(await fresh.open(host("team.demo"))).toBe("refused");
  });

  test("get no address where another program has the port", async () => {
    const other = await occupy("127.86.0.1", port);
    endings.push(() => other.close());
    const { fresh } = staged();
    expect(await fresh.open(host("a.team.demo"))).toEqual(["127.86.0.2"]);
  });

  test("beyond their number take the place of the name that was asked longest ago", async () => {
    let now = 0;
    const { fresh, doors, forgotten } = staged({ most: 2, now: () => now });
    await fresh.open(host("a.team.demo"));
    await fresh.open(host("b.team.demo"));
    expect(await fresh.open(host("c.team.demo"))).toBe("busy");
    now += 61_000;
    expect(await fresh.open(host("c.team.demo"))).toEqual(["127.86.0.3"]);
    expect(forgotten).toEqual(["a.team.demo"]);
    expect([...doors.present.keys()]).toEqual([`127.86.0.2:${port}`, `127.86.0.3:${port}`]);
    // It comes back to its old address.
    now += 61_000;
    expect(await fresh.open(host("a.team.demo"))).toEqual(["127.86.0.1"]);
  });

  test("never take the place of a name with an open connection", async () => {
    let now = 0;
    const { fresh, forgotten } = staged({ most: 2, now: () => now });
    await fresh.open(host("a.team.demo"));
    await fresh.open(host("b.team.demo"));
    const conn = await net.dial({ host: "127.86.0.1", port });
    endings.push(() => conn.abort());
    await conn.write(new TextEncoder().encode("hello"));
    expect(await conn.read()).not.toBeNull();
    now += 61_000;
    await fresh.open(host("c.team.demo"));
    expect(forgotten).toEqual(["b.team.demo"]);
  });

  test("take the longest absent name's address if the range is used up", async () => {
    const { fresh, settle } = staged({ range: "127.86.0.0/30" });
    settle(mapping({ "gone.demo": "127.86.0.2", "later.demo": "127.86.0.1" }));
    expect(await fresh.open(host("a.team.demo"))).toEqual(["127.86.0.3"]);
    expect(await fresh.open(host("b.team.demo"))).toEqual(["127.86.0.2"]);
    expect(await fresh.open(host("c.team.demo"))).toEqual(["127.86.0.1"]);
    expect(await fresh.open(host("d.team.demo"))).toBe("busy");
  });

  test("wait for the first pass", async () => {
    const { fresh } = staged();
    const before = createFreshNames({
      relay: { present: new Map(), draining: new Set(), apply: async () => new Map() },
      machine: { asked: createAskedNames(new Set()), keepAssignment: () => undefined },
      most: () => 1,
      forget: () => undefined,
      carry: async () => undefined,
      log: memoryLog(),
    });
    expect(await before.open(host("a.team.demo"))).toBe("busy");
    expect(await fresh.open(host("a.team.demo"))).toEqual([ip("127.86.0.1")]);
  });
});
