import { afterEach, describe, expect, test } from "bun:test";
import { createPlainGuard, type Guard } from "../../src/access/guard.ts";
import { listeningKey } from "../../src/net/proc-net.ts";
import { addressText, type Conn, type Net } from "../../src/net/types.ts";
import { type Limits, unlimited } from "../../src/relay/connection-limits.ts";
import { createDoors, type Doors } from "../../src/relay/doors.ts";
import { doorway, echoing, occupy } from "../daemon/support.ts";
import { host, ip } from "../machine/support.ts";
import { bytes, ending, later, net, read } from "../support/conns.ts";
import type { memoryLog } from "../support/memory-log.ts";

const home = "127.81.0.2";
const url = "tcp://a.demo:18001";
const never = new AbortController().signal;

let all: Doors[] = [];
afterEach(async () => {
  for (const doors of all) await doors.drain(0, AbortSignal.abort());
  all = [];
});

describe("open", () => {
  test("listens, carries connections, and counts them", async () => {
    const doors = fresh();
    expect(await open(doors, url)).toBeUndefined();
    const conn = await talking(home, 18001);
    conn.closeWrite();
    expect(await ending(conn)).toBe("FIN");
    conn.close();
    const [door] = doors.present.values();
    await until(() => door?.lanes[0]?.meter.active === 0);
    expect([...doors.present.keys()]).toEqual([`${home}:18001`]);
    expect(door?.lanes[0]?.meter).toMatchObject({
      active: 0,
      total: 1,
      bytesUp: 2,
      bytesDown: 2,
      errors: 0,
    });
  });

  test("lets other work run while many doors open, and while they close", async () => {
    const doors = fresh();
    const many = Array.from({ length: 400 }, (_, i) => doorway(`tcp://a.demo:${18_100 + i}`, home));
    expect(await otherWorkDuring(() => doors.apply({ open: many }, 0))).toBeGreaterThan(1);
    expect(doors.present.size).toBe(400);
    const close = many.map(({ door }) => door.id);
    expect(await otherWorkDuring(() => doors.apply({ close }, 0))).toBeGreaterThan(0);
    expect(doors.present.size).toBe(0);
  });

  test("returns the reason of a failure, and remembers nothing of it", async () => {
    const doors = fresh();
    const other = await occupy(home, 18001);
    expect(await open(doors, url)).toBe(
      `another program listens on ${home}:18001 (or on port 18001 of all addresses)`,
    );
    expect(await open(doors, url, "192.0.2.1")).toBe("192.0.2.1 is not an address of this machine");
    expect(sizes(doors)).toEqual({ present: 0, draining: 0 });
    other.close();
    expect(await open(doors, url)).toBeUndefined();
  });
});

/** Counts the turns of other work. */
async function otherWorkDuring(work: () => Promise<unknown>): Promise<number> {
  let turns = 0;
  let waiting = setImmediate(function count() {
    turns += 1;
    waiting = setImmediate(count);
  });
  await work();
  clearImmediate(waiting);
  return turns;
}

describe("the guard of doors", () => {
  const refusal = { reason: "nobody may", detail: "nobody may (7)", hint: "ask" };

  test("has a client reset before anything is dialled, counted, and logged once", async () => {
    const deps = echoing();
    let dials = 0;
    const counting = {
      ...deps,
      ingress: {
        open: (...args: Parameters<typeof deps.ingress.open>) => {
          dials += 1;
          return deps.ingress.open(...args);
        },
      },
    };
    const seen: unknown[] = [];
    const judge: Guard["judge"] = (conn, { host, port }) => {
      seen.push({ host, port, at: addressText(conn.local) });
      return refusal;
    };
    const doors = fresh(counting, undefined, { judge });
    await open(doors, url);
    expect(await ending(await net.dial({ host: home, port: 18001 }))).toBe("aborted");
    expect({ dials, seen }).toEqual({
      dials: 0,
      seen: [{ host: "a.demo", port: 18001, at: `${home}:18001` }],
    });
    const [meter] = [...doors.present.values()].flatMap(({ lanes }) =>
      lanes.map((one) => one.meter),
    );
    expect(meter).toMatchObject({
      active: 0,
      total: 1,
      errors: 1,
      errorsBy: { access: 1, limit: 0 },
      lastError: "reset at once: nobody may (7)",
    });
    expect((deps.log as ReturnType<typeof memoryLog>).lines).toEqual([
      "warn a.demo:18001: reset at once: nobody may (hint: ask)",
    ]);
  });

  test("may need time: then the client waits, and loses nothing it has sent", async () => {
    const judged = Promise.withResolvers<undefined>();
    const doors = fresh(undefined, undefined, { judge: () => judged.promise });
    await open(doors, url);
    const conn = await net.dial({ host: home, port: 18001 });
    await conn.write(bytes("early"));
    await later(50);
    expect([...doors.present.values()][0]?.lanes[0]?.meter.total).toBe(0);
    judged.resolve(undefined);
    expect(await read(conn, 5)).toBe("early");
    conn.close();
  });

  test("lets nobody in at a door that has closed meanwhile", async () => {
    const judged = Promise.withResolvers<undefined>();
    const doors = fresh(undefined, undefined, { judge: () => judged.promise });
    await open(doors, url);
    const conn = await net.dial({ host: home, port: 18001 });
    await later(50);
    await close(doors, home, 0);
    judged.resolve(undefined);
    expect(await ending(conn)).toBe("aborted");
    expect(doors.open).toBe(0);
  });
});

describe("mend", () => {
  const key = listeningKey(home, 18001);

  test("listens again at the first look if the system lists another listener", async () => {
    const doors = fresh();
    await open(doors, url);
    const others = new Set([listeningKey("127.0.0.1", 8081)]);
    expect(await doors.mend(async () => others)).toEqual([
      { doorway: doorway(url, home), reason: undefined },
    ]);
    expect(await refused(home, 18001)).toBe("accepted");
  });

  test("keeps a door that the system lists, and trusts no list that is always empty", async () => {
    const doors = fresh();
    await open(doors, url);
    expect(await doors.mend(async () => undefined)).toEqual([]);
    expect(await doors.mend(async () => new Set())).toEqual([]);
    expect(await doors.mend(async () => new Set([key]))).toEqual([]);
    expect(await refused(home, 18001)).toBe("accepted");
  });

  test("listens again if the system lists it no more, and open connections go on", async () => {
    const doors = fresh();
    await open(doors, url);
    const conn = await talking(home, 18001);
    const [before] = doors.present.values();
    await doors.mend(async () => new Set([key]));
    expect(await doors.mend(async () => new Set())).toEqual([
      { doorway: doorway(url, home), reason: undefined },
    ]);
    const [after] = doors.present.values();
    expect(after?.lanes).toBe(before?.lanes as never);
    expect(after?.listener).not.toBe(before?.listener as never);
    await conn.write(bytes("still here"));
    expect(await read(conn, 10)).toBe("still here");
    (await talking(home, 18001)).close();
    conn.close();
  });

  test("gives up doors that cannot listen again, so that the next pass tries", async () => {
    const doors = fresh();
    await open(doors, url);
    const conn = await talking(home, 18001);
    await doors.mend(async () => new Set([key]));
    // Another program is faster: it listens as soon as our listener is closed.
    const [door] = doors.present.values();
    door?.listener.close();
    const other = await occupy(home, 18001);
    const [found] = await doors.mend(async () => new Set());
    expect(found?.reason).toContain("another program listens on");
    expect(sizes(doors)).toEqual({ present: 0, draining: 1 });
    other.close();
    conn.close();
  });

  test("does not take a door for dead after a single missed check", async () => {
    const doors = fresh();
    await open(doors, url);
    const other = doorway("tcp://b.demo:18002", "127.81.0.3");
    await doors.apply({ open: [other] }, 0);
    const both = [key, listeningKey(other.door.at.ip, 18002)];
    const lists = [[key], both, [key], [key]].map((list) => new Set(list));
    const before = [...doors.present.values()].map(({ listener }) => listener);
    expect(await doors.mend(async () => lists.shift())).toEqual([]);
    expect([...doors.present.values()].map(({ listener }) => listener)).toEqual(before);
    expect(await doors.mend(async () => lists.shift())).toEqual([
      { doorway: other, reason: undefined },
    ]);
  });

  test("does not take a door for dead if it was opened during the check", async () => {
    const doors = fresh();
    await open(doors, url);
    await doors.mend(async () => new Set([key]));
    const found = await doors.mend(async () => {
      await open(doors, "tcp://b.demo:18002", "127.81.0.3");
      return new Set([key]);
    });
    expect(found).toEqual([]);
    expect(doors.present.size).toBe(2);
  });

  test("keeps the listener and the new routes of a door that changes meanwhile", async () => {
    const gate = Promise.withResolvers<void>();
    let isOpen = true;
    const listen: Net["listen"] = async (...args) => {
      if (!isOpen) await gate.promise;
      return await net.listen(...args);
    };
    const doors = fresh(echoing(), () => unlimited, {}, { ...net, listen });
    await open(doors, url);
    await doors.mend(async () => new Set([key]));
    isOpen = false;
    const mending = doors.mend(async () => new Set());
    await later(5);
    await doors.apply({ reroute: [doorway("tcp://b.demo:18001", home)] }, 0);
    gate.resolve();
    expect(await mending).toHaveLength(1);
    expect(await refused(home, 18001)).toBe("accepted");
    const [door] = doors.present.values();
    expect(door?.lanes.map(({ route }) => route.target.binding.host)).toEqual([host("b.demo")]);
    await doors.apply({ close: [`${home}:18001`] }, 0);
    expect(await refused(home, 18001)).toBe("network");
  });
});

describe("close", () => {
  test("refuses new connections, lets open ones end, and frees the address at once", async () => {
    const doors = fresh();
    await open(doors, url);
    const conn = await talking(home, 18001);
    await close(doors, home, 10_000);
    expect(await refused(home, 18001)).toBe("network");
    expect(sizes(doors)).toEqual({ present: 0, draining: 1 });
    await conn.write(bytes("still here"));
    expect(await read(conn, 10)).toBe("still here");
    // The same place can be used again meanwhile, and the draining connections
    // are not disturbed.
    expect(await open(doors, url)).toBeUndefined();
    conn.closeWrite();
    expect(await ending(conn)).toBe("FIN");
    conn.close();
    await gone(doors);
    expect(sizes(doors)).toEqual({ present: 1, draining: 0 });
  });

  test("resets connections that are still open after its time", async () => {
    const doors = fresh();
    await open(doors, url);
    const conn = await talking(home, 18001);
    const meter = [...doors.present.values()][0]?.lanes[0]?.meter;
    await close(doors, home, 40);
    expect(await ending(conn)).toBe("aborted");
    await gone(doors);
    // Our deadline ends it, not one of the two ends.
    expect(meter?.errorsBy).toMatchObject({ timeout: 1, reset: 0 });
  });

  test("drains nothing without connections, and ignores an unknown door", async () => {
    const doors = fresh();
    await open(doors, url);
    await close(doors, home, 10_000);
    await close(doors, home, 10_000);
    expect(sizes(doors)).toEqual({ present: 0, draining: 0 });
  });

  test("keeps a binding's counters while it moves or drains, and forgets them with it", async () => {
    const doors = fresh();
    const total = (): number | undefined => [...doors.present.values()][0]?.lanes[0]?.meter.total;
    await open(doors, url);
    const conn = await talking(home, 18001);
    await open(doors, url, "127.81.0.3");
    await close(doors, home, 10_000);
    expect(total()).toBe(1);
    await close(doors, "127.81.0.3", 10_000);
    await open(doors, url);
    expect(total()).toBe(1);
    await close(doors, home, 10_000);
    conn.close();
    expect(doors.departed.total).toBe(0);
    await gone(doors);
    await open(doors, url);
    expect(total()).toBe(0);
    expect(doors.departed).toMatchObject({ active: 0, total: 1, bytesUp: 2, bytesDown: 2 });
  });

  test("keeps them also if one of two draining doors ends before the other", async () => {
    const doors = fresh();
    const away = "127.81.0.3";
    await open(doors, url);
    const first = await talking(home, 18001);
    await open(doors, url, away);
    const second = await talking(away, 18001);
    await close(doors, home, 10_000);
    await close(doors, away, 10_000);
    first.close();
    await until(() => doors.draining.size === 1);
    await open(doors, url);
    expect([...doors.present.values()][0]?.lanes[0]?.meter.total).toBe(2);
    second.close();
    await gone(doors);
  });
});

describe("drain", () => {
  test("waits for connections to end, and has cut none then", async () => {
    const doors = fresh();
    await open(doors, url);
    const conn = await talking(home, 18001);
    const done = doors.drain(10_000, never);
    expect(await refused(home, 18001)).toBe("network");
    expect(await Promise.race([done, later(20).then(() => "waiting")])).toBe("waiting");
    conn.close();
    expect(await done).toEqual({ cut: 0 });
  });

  test("cuts all that is open after the time, draining ones too, and counts each once", async () => {
    const doors = fresh();
    await open(doors, url);
    await open(doors, "tcp://b.demo:18001", "127.81.0.3");
    const conns = [
      await talking(home, 18001),
      await talking(home, 18001),
      await talking("127.81.0.3", 18001),
    ];
    await close(doors, "127.81.0.3", 10_000);
    const hurry = new AbortController();
    const done = doors.drain(40, hurry.signal);
    const endings = conns.map(ending);
    await later(45);
    hurry.abort();
    expect(await done).toEqual({ cut: 3 });
    expect(await Promise.all(endings)).toEqual(["aborted", "aborted", "aborted"]);
    expect(doors.draining.size).toBe(0);
  });

  test("cuts at once if the time is over, before or during the wait", async () => {
    for (const early of [true, false]) {
      const doors = fresh();
      await open(doors, url);
      const conn = await talking(home, 18001);
      const hurry = new AbortController();
      if (early) hurry.abort();
      const done = doors.drain(60_000, hurry.signal);
      hurry.abort();
      expect(await done).toEqual({ cut: 1 });
      expect(await ending(conn)).toBe("aborted");
    }
  });

  test("does not wait for an ingress that has not answered yet", async () => {
    const deps = echoing();
    const asked = Promise.withResolvers<void>();
    const doors = fresh({
      ...deps,
      ingress: {
        open(_target, signal) {
          asked.resolve();
          return new Promise((_resolve, reject) =>
            signal.addEventListener("abort", () => reject(signal.reason)),
          );
        },
      },
    });
    await open(doors, url);
    await net.dial({ host: home, port: 18001 });
    await asked.promise;
    expect(await doors.drain(60_000, AbortSignal.abort())).toEqual({ cut: 1 });
  });
});

describe("limits", () => {
  const only = (limits: Partial<Limits>) => ({ ...unlimited, ...limits });

  test("resets, counts and logs a connection over the limit, and takes one later", async () => {
    const deps = echoing();
    const doors = fresh(deps, () => only({ perEndpoint: 2 }));
    await open(doors, url);
    await open(doors, "tcp://b.demo:18001", "127.81.0.3");
    const conns = [await talking(home, 18001), await talking(home, 18001)];
    const meter = [...doors.present.values()][0]?.lanes[0]?.meter;
    for (let i = 0; i < 3; i += 1)
      expect(await ending(await net.dial({ host: home, port: 18001 }))).toBe("aborted");
    expect(meter).toMatchObject({ active: 2, total: 5, errors: 3, errorsBy: { limit: 3 } });
    expect(meter?.lastError).toBe(
      "reset at once: 2 connections to it are open, and forward.max_connections_per_endpoint allows no more",
    );
    expect(new Set((deps.log as ReturnType<typeof memoryLog>).lines)).toEqual(
      new Set([
        `warn a.demo:18001: new connections are ${meter?.lastError} (hint: raise \`forward.max_connections_per_endpoint\`)`,
      ]),
    );
    // The others are not affected.
    conns.push(await talking("127.81.0.3", 18001));
    conns[0]?.close();
    await until(() => doors.open === 2);
    conns.push(await talking(home, 18001));
    expect(meter).toMatchObject({ active: 2, lastError: "" });
    for (const conn of conns) conn.close();
    await until(() => doors.open === 0);
  });

  test.each([
    ["in all", { inAll: 2 }, "2 connections are open, and forward.max_connections allows no more"],
    [
      "by descriptors",
      { byDescriptors: 2 },
      "the limit of open files allows no more open connections",
    ],
  ])(
    "counts the connections of all endpoints %s, and logs the limit once for all",
    async (_name, limits, reason) => {
      const deps = echoing();
      const doors = fresh(deps, () => only(limits));
      await open(doors, url);
      await open(doors, "tcp://b.demo:18001", "127.81.0.3");
      const conns = [await talking(home, 18001), await talking("127.81.0.3", 18001)];
      await close(doors, home, 10_000);
      expect(await ending(await net.dial({ host: "127.81.0.3", port: 18001 }))).toBe("aborted");
      const [line = ""] = (deps.log as ReturnType<typeof memoryLog>).lines;
      expect(line).toStartWith(`warn New connections are reset at once: ${reason} (hint: raise `);
      conns[0]?.close();
      await gone(doors);
      conns.push(await talking("127.81.0.3", 18001));
      for (const conn of conns) conn.close();
    },
  );

  test("follows a limit that changes while connections come", async () => {
    let inAll = 0;
    const doors = fresh(echoing(), () => only({ inAll }));
    await open(doors, url);
    expect(await ending(await net.dial({ host: home, port: 18001 }))).toBe("aborted");
    inAll = 1;
    (await talking(home, 18001)).close();
  });
});

describe("probe", () => {
  test("finds the addresses of other listeners, and leaves the others free", async () => {
    const doors = fresh();
    const other = await occupy("127.81.0.4", 18002);
    const places = ["127.81.0.4", "127.81.0.5"].map((at) => ({ ip: ip(at), port: 18002 }));
    expect([...(await doors.probe(places))] as string[]).toEqual(["127.81.0.4"]);
    other.close();
    expect((await doors.probe(places)).size).toBe(0);
    expect(await open(doors, "tcp://c.demo:18002", "127.81.0.5")).toBeUndefined();
  });

  test("takes a program that listens on all addresses for one on each", async () => {
    const other = await occupy("0.0.0.0", 18003);
    const places = ["127.81.0.4", "127.81.0.5"].map((at) => ({ ip: ip(at), port: 18003 }));
    expect((await fresh().probe(places)).size).toBe(2);
    other.close();
  });

  test("does not mind an address that this machine does not have: raise will say so", async () => {
    expect((await fresh().probe([{ ip: ip("192.0.2.1"), port: 18002 }])).size).toBe(0);
  });
});

/** Opens the door of an endpoint; returns the reason if that fails. */
async function open(doors: Doors, url: string, at = home): Promise<string | undefined> {
  const one = doorway(url, at);
  return (await doors.apply({ open: [one] }, 0)).get(one.door.id);
}

const close = (doors: Doors, at: string, drainMs: number): Promise<unknown> =>
  doors.apply({ close: [`${at}:18001`] }, drainMs);

const sizes = ({ present, draining }: Doors) => ({
  present: present.size,
  draining: draining.size,
});

function fresh(
  deps = echoing(),
  limits: () => Limits = () => unlimited,
  guard: Partial<Guard> = {},
  through: Net = net,
): Doors {
  const doors = createDoors({
    net: through,
    forwarding: () => deps,
    limits,
    guard: { ...createPlainGuard(net), ...guard },
  });
  all.push(doors);
  return doors;
}

/** A connection through a listener to the echo behind it, proven to work. */
async function talking(host: string, port: number): Promise<Conn> {
  const conn = await net.dial({ host, port });
  await conn.write(bytes("hi"));
  expect(await read(conn, 2)).toBe("hi");
  expect(addressText(conn.remote)).toBe(`${host}:${port}`);
  return conn;
}

const refused = (host: string, port: number): Promise<string> =>
  net.dial({ host, port }).then(
    () => "accepted",
    (error) => error.code,
  );

async function gone({ draining }: Doors): Promise<void> {
  await until(() => draining.size === 0);
}

async function until(holds: () => boolean): Promise<void> {
  for (let waited = 0; !holds() && waited < 1000; waited += 1) await later(10);
  expect(holds()).toBe(true);
}
