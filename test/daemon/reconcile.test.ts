import { afterEach, describe, expect, test } from "bun:test";
import { drainingStates, reconcile, type World } from "../../src/daemon/reconcile.ts";
import type { Assignment } from "../../src/exposure/allocate.ts";
import { forbiddenName } from "../../src/exposure/forbidden.ts";
import { placeOf } from "../../src/exposure/plan.ts";
import { NgrokdError } from "../../src/model/error.ts";
import { createMeter } from "../../src/model/meter.ts";
import type { Reconciled } from "../../src/model/pass.ts";
import type { Listener } from "../../src/net/types.ts";
import { createListeners, type Listeners, type Raised } from "../../src/relay/doors.ts";
import { mapping, subnet } from "../machine/support.ts";
import { bytes, ending, later, net, read } from "../support/conns.ts";
import { echoing, endpoint, occupy } from "./support.ts";

// High ports that the kernel does not hand out by itself, on addresses of this
// file's own.
const range = subnet("127.82.0.0/24");
const a = endpoint("ep_a", "tcp://a.demo:18101");
const b = endpoint("ep_b", "tcp://b.demo:18102");
const c = endpoint("ep_c", "tcp://c.demo:18103");

let machines: { readonly listeners: Listeners }[] = [];
afterEach(async () => {
  for (const { listeners } of machines) await listeners.retireAll(0, AbortSignal.abort());
  machines = [];
});

describe("reconcile", () => {
  test("serves what is listed: an address each, listening, in the hosts file, sorted by URL", async () => {
    const { pass, hosts, talk } = machine();
    expect(told(await pass([c, a, b]))).toEqual([
      "tcp://a.demo:18101 listening 127.82.0.1:18101",
      "tcp://b.demo:18102 listening 127.82.0.2:18102",
      "tcp://c.demo:18103 listening 127.82.0.3:18103",
    ]);
    expect(hosts()).toEqual({
      "a.demo": "127.82.0.1",
      "b.demo": "127.82.0.2",
      "c.demo": "127.82.0.3",
    });
    expect(await talk("127.82.0.2", 18102)).toBe("hi");
  });

  test("does things in the order that is safe: saved before raised, written once it answers, unwritten before it goes", async () => {
    const { pass, events } = machine();
    await pass([a, b]);
    expect(events.splice(0)).toEqual([
      "save a.demo=127.82.0.1 b.demo=127.82.0.2",
      "raise 127.82.0.1:18101",
      "raise 127.82.0.2:18102",
      "advertise a.demo=127.82.0.1 b.demo=127.82.0.2",
    ]);
    await pass([b, c]);
    expect(events.splice(0)).toEqual([
      "save a.demo=127.82.0.1 b.demo=127.82.0.2 c.demo=127.82.0.3",
      "raise 127.82.0.3:18103",
      "advertise b.demo=127.82.0.2 c.demo=127.82.0.3",
      "retire 127.82.0.1:18101 a.demo",
    ]);
    await pass([c, b]);
    expect(events.splice(0)).toEqual([
      "save a.demo=127.82.0.1 b.demo=127.82.0.2 c.demo=127.82.0.3",
      "advertise b.demo=127.82.0.2 c.demo=127.82.0.3",
    ]);
    await pass([]);
    expect(events.splice(0).slice(1)).toEqual([
      "advertise",
      "retire 127.82.0.2:18102 b.demo",
      "retire 127.82.0.3:18103 c.demo",
    ]);
  });

  test("gives a name its address back after an absence, and both its ports one address", async () => {
    const { pass } = machine();
    const also = endpoint("ep_a2", "tcp://a.demo:18104");
    await pass([a, b]);
    await pass([b]);
    expect(told(await pass([a, also, b]))).toEqual([
      "tcp://a.demo:18101 listening 127.82.0.1:18101",
      "tcp://a.demo:18104 listening 127.82.0.1:18104",
      "tcp://b.demo:18102 listening 127.82.0.2:18102",
    ]);
  });

  test("takes a change of the endpoints behind a place without touching its listener or its counters", async () => {
    const { pass, events, talk } = machine();
    await pass([a]);
    await talk("127.82.0.1", 18101);
    events.length = 0;
    const [state] = (await pass([endpoint("ep_z", a.url), endpoint("ep_y", a.url)])).endpoints;
    expect([
      state?.ids,
      state?.meter.total,
      events.filter((event) => /^(?:raise|retire)/.test(event)),
    ]).toEqual([["ep_y", "ep_z"], 1, []]);
  });

  test("lets the connections of an endpoint that is gone end in their own time, and shows them", async () => {
    const { pass, listeners } = machine();
    await pass([a]);
    const conn = await net.dial({ host: "127.82.0.1", port: 18101 });
    await conn.write(bytes("hi"));
    await read(conn, 2);
    await pass([]);
    expect(told({ endpoints: drainingStates(listeners), problems: [] })).toEqual([
      "tcp://a.demo:18101 draining 127.82.0.1:18101: waits for its open connections",
    ]);
    await conn.write(bytes("still"));
    expect(await read(conn, 5)).toBe("still");
    conn.closeWrite();
    expect(await ending(conn)).toBe("FIN");
    conn.close();
    for (let i = 0; listeners.draining.size > 0 && i < 1000; i += 1) await later(5);
    expect(drainingStates(listeners)).toEqual([]);
  });

  test("resets the connections of an endpoint that is gone once their time is over", async () => {
    const { pass } = machine({ drainMs: 30 });
    await pass([a]);
    const conn = await net.dial({ host: "127.82.0.1", port: 18101 });
    await conn.write(bytes("hi"));
    await read(conn, 2);
    await pass([]);
    expect(await ending(conn)).toBe("aborted");
  });
});

describe("reconcile, with many endpoints", () => {
  test("takes half of them out at about the cost of leaving them all as they are", async () => {
    const { pass, listeners } = machine({
      listeners: withoutSockets(),
      range: subnet("127.80.0.0/12"),
      advertise: async () => [],
    });
    const all = Array.from({ length: 12_000 }, (_, i) =>
      endpoint(`ep_${i}`, `tcp://service-${i}.demo:18101`),
    );
    const costOf = async (listed: typeof all): Promise<number> => {
      const before = process.cpuUsage();
      await pass(listed);
      const { user, system } = process.cpuUsage(before);
      return (user + system) / 1000;
    };
    const [unchanged, halved]: [number[], number[]] = [[], []];
    // Of three rounds the cheapest counts: a collection of garbage in the midst
    // of one costs as much as a pass.
    for (let round = 0; round < 3; round += 1) {
      await pass(all);
      unchanged.push(await costOf(all));
      halved.push(await costOf(all.slice(6000)));
      expect(listeners.present.size).toBe(6000);
    }
    // Half of it; where every place is compared with all that go, twice as
    // much.
    expect(Math.min(...halved)).toBeLessThan(1.2 * Math.min(...unchanged));
  }, 60_000);
});

describe("one bad thing stays one bad thing", () => {
  test("what cannot be served is listed with its reason, and the rest is served", async () => {
    const { pass, hosts } = machine();
    const bad = [
      "https://*.demo",
      "tcp://local\nhost:1",
      "",
      "http://localhost",
      "tcp://api.ngrok.test:18101",
    ].map((url, i) => endpoint(`bad_${i}`, url));
    expect(told(await pass([...bad, a]))).toEqual([
      " unsupported: the endpoint has no URL",
      'http://localhost unsupported: "localhost" always means the local machine or network',
      "https://*.demo unsupported: wildcard endpoints are not supported yet",
      "tcp://a.demo:18101 listening 127.82.0.1:18101",
      'tcp://api.ngrok.test:18101 unsupported: "api.ngrok.test" is a host that ngrokd itself has to reach',
      'tcp://local\nhost:1 unsupported: the host name "local\\nhost" has a character that names do not have, or a hyphen at a label\'s end',
    ]);
    expect(hosts()).toEqual({ "a.demo": "127.82.0.1" });
  });

  test("a new name gets an address where nothing else listens on its port", async () => {
    const { pass, saved } = machine();
    const other = await occupy("127.82.0.1", 18101);
    expect(told(await pass([a, b]))).toEqual([
      "tcp://a.demo:18101 listening 127.82.0.3:18101",
      "tcp://b.demo:18102 listening 127.82.0.2:18102",
    ]);
    expect(saved()).toEqual({ "a.demo": "127.82.0.3", "b.demo": "127.82.0.2" });
    other.close();
    expect((await pass([a, b])).endpoints.map(({ ip }) => ip) as string[]).toEqual([
      "127.82.0.3",
      "127.82.0.2",
    ]);
  });

  test("a name whose saved address does not count is new in this: another has it, it is reserved, it is out of the range", async () => {
    const other = await occupy("127.82.0.2", 18102);
    const useless: Record<string, string>[] = [
      { "b.demo": "127.82.0.3" },
      { "b.demo": "127.82.0.255" },
      { "b.demo": "127.83.0.7" },
    ];
    for (const damaged of useless) {
      const { pass, saved, listeners } = machine(
        {},
        mapping({ "c.demo": "127.82.0.3", "x.demo": "127.82.0.1", ...damaged }),
      );
      expect(told(await pass([b, c]))).toEqual([
        "tcp://b.demo:18102 listening 127.82.0.4:18102",
        "tcp://c.demo:18103 listening 127.82.0.3:18103",
      ]);
      expect(saved()).toMatchObject({ "b.demo": "127.82.0.4", "c.demo": "127.82.0.3" });
      await listeners.retireAll(0, AbortSignal.abort());
    }
    other.close();
  });

  test("a new name gets past the many addresses of another daemon on its port", async () => {
    const { pass } = machine();
    const others = await Promise.all(
      Array.from({ length: 20 }, (_, i) => occupy(`127.82.0.${i + 1}`, 18101)),
    );
    expect(told(await pass([a]))).toEqual(["tcp://a.demo:18101 listening 127.82.0.21:18101"]);
    for (const other of others) other.close();
  });

  test("a port that is taken on all addresses costs that endpoint alone, with the reason, until it is free", async () => {
    const { pass, hosts, saved } = machine();
    const other = await occupy("0.0.0.0", 18102);
    const [first, second] = (await pass([a, b])).endpoints;
    expect([first?.state, second?.state]).toEqual(["listening", "failed"]);
    expect(second?.reason).toBe(
      `another program listens on ${second?.ip}:18102 (or on port 18102 of all addresses)`,
    );
    expect(hosts()).toEqual({ "a.demo": "127.82.0.1" });
    const address = saved()["b.demo"];
    // It has an address now, and keeps it: nobody probes for another one at
    // every pass.
    await pass([a, b]);
    expect(saved()["b.demo"]).toBe(address);
    other.close();
    expect((await pass([a, b])).endpoints[1]).toMatchObject({
      state: "listening",
      ip: address,
      reason: "",
    });
    expect(hosts()).toEqual({ "a.demo": "127.82.0.1", "b.demo": String(address) });
  });

  test("a name keeps its saved address although something else listens there, and says so", async () => {
    const { pass } = machine({}, mapping({ "a.demo": "127.82.0.9" }));
    const other = await occupy("127.82.0.9", 18101);
    expect(told(await pass([a]))).toEqual([
      "tcp://a.demo:18101 failed 127.82.0.9:18101: another program listens on 127.82.0.9:18101 (or on port 18101 of all addresses)",
    ]);
    other.close();
  });

  test("a name is written as long as one of its ports answers", async () => {
    const { pass, hosts } = machine({}, mapping({ "a.demo": "127.82.0.9" }));
    const other = await occupy("127.82.0.9", 18104);
    await pass([a, endpoint("ep_a2", "tcp://a.demo:18104")]);
    expect(hosts()).toEqual({ "a.demo": "127.82.0.9" });
    await pass([endpoint("ep_a2", "tcp://a.demo:18104")]);
    expect(hosts()).toEqual({});
    other.close();
  });

  test("names beyond the range fail with what makes room, and get the first address that comes free, one pass later", async () => {
    const { pass } = machine({ range: subnet("127.82.0.8/31") });
    expect(told(await pass([a, b, c]))).toEqual([
      "tcp://a.demo:18101 listening 127.82.0.8:18101",
      "tcp://b.demo:18102 listening 127.82.0.9:18102",
      "tcp://c.demo:18103 failed: no address is left in 127.82.0.8/31; a wider net.subnet makes room",
    ]);
    expect(told(await pass([b, c]))).toEqual([
      "tcp://b.demo:18102 listening 127.82.0.9:18102",
      "tcp://c.demo:18103 listening 127.82.0.8:18103",
    ]);
  });

  test("an address that changes hands at one port is served by the next pass", async () => {
    const { pass, hosts } = machine({ range: subnet("127.82.0.8/32") });
    const heir = endpoint("ep_h", "tcp://heir.demo:18101");
    await pass([a]);
    await pass([heir]);
    expect(told(await pass([heir]))).toEqual(["tcp://heir.demo:18101 listening 127.82.0.8:18101"]);
    expect(hosts()).toEqual({ "heir.demo": "127.82.0.8" });
  });

  test("a state folder or a hosts file that cannot be written is a problem of the pass, and everything is served all the same", async () => {
    const full = new NgrokdError(
      "state",
      'Cannot write "ip_mappings.json": no space left on the device',
      { hint: "make room" },
    );
    const { pass, talk } = machine(
      { advertise: () => Promise.reject(new Error("EROFS")) },
      new Map(),
      full,
    );
    const first = await pass([a, b]);
    expect(first.endpoints.map(({ state }) => state)).toEqual(["listening", "listening"]);
    expect(first.problems).toEqual([
      { reason: full.message, hint: "make room" },
      { reason: "EROFS", hint: "" },
    ]);
    expect(await talk("127.82.0.1", 18101)).toBe("hi");
    expect(told(await pass([b]))).toEqual(["tcp://b.demo:18102 listening 127.82.0.2:18102"]);
  });

  test("a line of the user's own that overrides a name is a warning", async () => {
    const { pass } = machine({
      advertise: async (entries) => [...entries.keys()].filter((name) => name === "b.demo"),
    });
    expect((await pass([a, b])).endpoints.map(({ warning }) => warning)).toEqual([
      "",
      'another line of the hosts file gives "b.demo" an address of its own, which may win',
    ]);
  });
});

/**
 * A machine of its own: the real listeners, and everything else kept in memory.
 * What was done is in `events`.
 */
function machine(overrides: Partial<World> = {}, saved: Assignment = new Map(), saveFails?: Error) {
  const events: string[] = [];
  const text = (entries: ReadonlyMap<string, string>): string =>
    [...entries].map(([name, at]) => ` ${name}=${at}`).join("");
  const real = createListeners(net, echoing());
  const listeners: Listeners = overrides.listeners ?? {
    ...real,
    async raise(placed) {
      events.push(`raise ${placed.ip}:${placed.binding.port}`);
      return await real.raise(placed);
    },
    retire(place, drainMs) {
      events.push(`retire ${place}`);
      real.retire(place, drainMs);
    },
  };
  let assignment = saved;
  let hosts: ReadonlyMap<string, string> = new Map();
  const world: World = {
    listeners,
    assignment: () => assignment,
    async saveAssignment(next) {
      assignment = next;
      events.push(`save${text(next)}`);
      if (saveFails !== undefined) throw saveFails;
    },
    async advertise(entries) {
      hosts = entries;
      events.push(`advertise${text(entries)}`);
      return [];
    },
    forbidden: (host) => forbiddenName(host, { hostnames: [], hosts: ["api.ngrok.test"] }),
    range,
    drainMs: 10_000,
    log: echoing().log,
    ...overrides,
  };
  const made = {
    events,
    listeners,
    hosts: () => Object.fromEntries(hosts),
    saved: () => Object.fromEntries(assignment) as Record<string, string>,
    pass: (listed: Parameters<typeof reconcile>[0]) => reconcile(listed, world),
    /** What an endpoint sends back. */
    async talk(host: string, port: number): Promise<string> {
      const conn = await net.dial({ host, port });
      await conn.write(bytes("hi"));
      conn.closeWrite();
      const answer = await read(conn);
      conn.close();
      return answer;
    },
  };
  machines.push(made);
  return made;
}

/** Listeners that only know where they would listen. */
function withoutSockets(): Listeners {
  const real = createListeners(net, echoing());
  const present = new Map<string, Raised>();
  return {
    ...real,
    present,
    async raise(placed) {
      const listener: Listener = {
        address: { host: placed.ip, port: placed.binding.port },
        close() {},
      };
      present.set(placeOf(placed), {
        placed,
        key: placed.binding.key,
        meter: createMeter(),
        listener,
        conns: new Set(),
        waiting: [],
      });
      return undefined;
    },
    retire: (place) => void present.delete(place),
    probe: async () => new Set(),
  };
}

/** `URL state address: reason` */
const told = ({ endpoints }: Reconciled): string[] =>
  endpoints.map(
    ({ url, state, ip, port, reason }) =>
      `${url} ${state}${ip === "" ? "" : ` ${ip}:${port}`}${reason === "" ? "" : `: ${reason}`}`,
  );
