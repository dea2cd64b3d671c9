import { afterEach, describe, expect, test } from "bun:test";
import { listeningKey } from "../../src/net/proc-net.ts";
import { addressText, type Conn } from "../../src/net/types.ts";
import { answeringNames, createListeners, type Listeners } from "../../src/relay/doors.ts";
import { type Limits, unlimited } from "../../src/relay/limits.ts";
import { echoing, occupy, place, placed } from "../daemon/support.ts";
import { ip } from "../machine/support.ts";
import { bytes, ending, later, net, read } from "../support/conns.ts";
import type { memoryLog } from "../support/memory-log.ts";

const home = "127.81.0.2";
const url = "tcp://a.demo:18001";
const never = new AbortController().signal;

let all: Listeners[] = [];
afterEach(async () => {
  for (const listeners of all) await listeners.retireAll(0, AbortSignal.abort());
  all = [];
});

describe("raise", () => {
  test("listens, carries connections, and counts them", async () => {
    const listeners = fresh();
    expect(await listeners.raise(placed(url, home))).toBeUndefined();
    const conn = await talking(home, 18001);
    conn.closeWrite();
    expect(await ending(conn)).toBe("FIN");
    conn.close();
    const [raised] = listeners.present.values();
    await until(() => raised?.meter.active === 0);
    expect([...listeners.present.keys()]).toEqual([place(url, home)]);
    expect(raised?.meter).toMatchObject({
      active: 0,
      total: 1,
      bytesUp: 2,
      bytesDown: 2,
      errors: 0,
    });
    expect([...answeringNames(listeners.present)] as unknown).toEqual([["a.demo", home]]);
  });

  test("answers why it cannot listen, and remembers nothing of it", async () => {
    const listeners = fresh();
    const other = await occupy(home, 18001);
    expect(await listeners.raise(placed(url, home))).toBe(
      `another program listens on ${home}:18001 (or on port 18001 of all addresses)`,
    );
    expect(await listeners.raise(placed(url, "192.0.2.1"))).toBe(
      "192.0.2.1 is not an address of this machine",
    );
    expect([listeners.present.size, listeners.draining.size]).toEqual([0, 0]);
    other.close();
    expect(await listeners.raise(placed(url, home))).toBeUndefined();
  });
});

describe("mend", () => {
  const key = listeningKey(home, 18001);

  test("listens again where the first look already misses it: whatever else is listed shows that the system tells", async () => {
    const listeners = fresh();
    await listeners.raise(placed(url, home));
    const others = new Set([listeningKey("127.0.0.1", 8081)]);
    expect(await listeners.mend(async () => others)).toEqual([
      { placed: placed(url, home), reason: undefined },
    ]);
    expect(await refused(home, 18001)).toBe("accepted");
  });

  test("leaves what the system lists, and believes no list that was never anything but empty", async () => {
    const listeners = fresh();
    await listeners.raise(placed(url, home));
    expect(await listeners.mend(async () => undefined)).toEqual([]);
    expect(await listeners.mend(async () => new Set())).toEqual([]);
    expect(await listeners.mend(async () => new Set([key]))).toEqual([]);
    expect(await refused(home, 18001)).toBe("accepted");
  });

  test("listens again where the system lists it no more, and open connections go on", async () => {
    const listeners = fresh();
    await listeners.raise(placed(url, home));
    const conn = await talking(home, 18001);
    const [before] = listeners.present.values();
    await listeners.mend(async () => new Set([key]));
    expect(await listeners.mend(async () => new Set())).toEqual([
      { placed: placed(url, home), reason: undefined },
    ]);
    expect([...listeners.present.values()]).toEqual([before as never]);
    await conn.write(bytes("still here"));
    expect(await read(conn, 10)).toBe("still here");
    (await talking(home, 18001)).close();
    conn.close();
  });

  test("gives up what cannot be raised, so that the next pass tries", async () => {
    const listeners = fresh();
    await listeners.raise(placed(url, home));
    const conn = await talking(home, 18001);
    await listeners.mend(async () => new Set([key]));
    // Another program is quicker: it has the place as soon as ours is closed.
    const [raised] = listeners.present.values();
    raised?.listener.close();
    const other = await occupy(home, 18001);
    const [found] = await listeners.mend(async () => new Set());
    expect(found?.reason).toContain("another program listens on");
    expect([listeners.present.size, listeners.draining.size]).toEqual([0, 1]);
    other.close();
    conn.close();
  });

  test("does not take for dead what a single look has missed", async () => {
    const listeners = fresh();
    await listeners.raise(placed(url, home));
    const other = placed("tcp://b.demo:18002", "127.81.0.3");
    await listeners.raise(other);
    const both = [key, listeningKey(other.ip, 18002)];
    const lists = [[key], both, [key], [key]].map((list) => new Set(list));
    const before = [...listeners.present.values()].map(({ listener }) => listener);
    expect(await listeners.mend(async () => lists.shift())).toEqual([]);
    expect([...listeners.present.values()].map(({ listener }) => listener)).toEqual(before);
    expect(await listeners.mend(async () => lists.shift())).toEqual([
      { placed: other, reason: undefined },
    ]);
  });

  test("does not take for dead what was raised while the system was asked", async () => {
    const listeners = fresh();
    await listeners.raise(placed(url, home));
    await listeners.mend(async () => new Set([key]));
    const found = await listeners.mend(async () => {
      await listeners.raise(placed("tcp://b.demo:18002", "127.81.0.3"));
      return new Set([key]);
    });
    expect(found).toEqual([]);
    expect(listeners.present.size).toBe(2);
  });
});

describe("retire", () => {
  test("refuses newcomers at once, lets running connections end in their own time, and frees the place", async () => {
    const listeners = fresh();
    await listeners.raise(placed(url, home));
    const conn = await talking(home, 18001);
    listeners.retire(place(url, home), 10_000);
    expect(await refused(home, 18001)).toBe("network");
    expect([listeners.present.size, listeners.draining.size]).toEqual([0, 1]);
    await conn.write(bytes("still here"));
    expect(await read(conn, 10)).toBe("still here");
    // The same place can be taken again meanwhile, and what drains is not
    // disturbed.
    expect(await listeners.raise(placed(url, home))).toBeUndefined();
    conn.closeWrite();
    expect(await ending(conn)).toBe("FIN");
    conn.close();
    await gone(listeners);
    expect([listeners.present.size, listeners.draining.size]).toEqual([1, 0]);
  });

  test("resets what is still open after its time", async () => {
    const listeners = fresh();
    await listeners.raise(placed(url, home));
    const conn = await talking(home, 18001);
    const meter = [...listeners.present.values()][0]?.meter;
    listeners.retire(place(url, home), 40);
    expect(await ending(conn)).toBe("aborted");
    await gone(listeners);
    // By our deadline, and by neither of the two ends.
    expect(meter?.errorsBy).toMatchObject({ timeout: 1, reset: 0 });
  });

  test("has nothing to drain without connections, and does nothing for a place that is not there", async () => {
    const listeners = fresh();
    await listeners.raise(placed(url, home));
    listeners.retire(place(url, home), 10_000);
    listeners.retire(place(url, home), 10_000);
    expect([listeners.present.size, listeners.draining.size]).toEqual([0, 0]);
  });

  test("keeps a binding's counters while it moves or drains, and forgets them with it", async () => {
    const listeners = fresh();
    const total = (): number | undefined => [...listeners.present.values()][0]?.meter.total;
    await listeners.raise(placed(url, home));
    const conn = await talking(home, 18001);
    await listeners.raise(placed(url, "127.81.0.3"));
    listeners.retire(place(url, home), 10_000);
    expect(total()).toBe(1);
    listeners.retire(place(url, "127.81.0.3"), 10_000);
    await listeners.raise(placed(url, home));
    expect(total()).toBe(1);
    listeners.retire(place(url, home), 10_000);
    conn.close();
    await gone(listeners);
    await listeners.raise(placed(url, home));
    expect(total()).toBe(0);
  });

  test("keeps them also where one of two that drain has ended before the other", async () => {
    const listeners = fresh();
    const away = "127.81.0.3";
    await listeners.raise(placed(url, home));
    const first = await talking(home, 18001);
    await listeners.raise(placed(url, away));
    const second = await talking(away, 18001);
    listeners.retire(place(url, home), 10_000);
    listeners.retire(place(url, away), 10_000);
    first.close();
    await until(() => listeners.draining.size === 1);
    await listeners.raise(placed(url, home));
    expect([...listeners.present.values()][0]?.meter.total).toBe(2);
    second.close();
    await gone(listeners);
  });
});

describe("retireAll", () => {
  test("waits for connections to end, and has cut none then", async () => {
    const listeners = fresh();
    await listeners.raise(placed(url, home));
    const conn = await talking(home, 18001);
    const done = listeners.retireAll(10_000, never);
    expect(await refused(home, 18001)).toBe("network");
    expect(await Promise.race([done, later(20).then(() => "waiting")])).toBe("waiting");
    conn.close();
    expect(await done).toEqual({ cut: 0 });
  });

  test("cuts what is open after the time, what drained before included, and counts each once", async () => {
    const listeners = fresh();
    await listeners.raise(placed(url, home));
    await listeners.raise(placed("tcp://b.demo:18001", "127.81.0.3"));
    const conns = [
      await talking(home, 18001),
      await talking(home, 18001),
      await talking("127.81.0.3", 18001),
    ];
    listeners.retire(place("tcp://b.demo:18001", "127.81.0.3"), 10_000);
    const hurry = new AbortController();
    const done = listeners.retireAll(40, hurry.signal);
    const endings = conns.map(ending);
    await later(45);
    hurry.abort();
    expect(await done).toEqual({ cut: 3 });
    expect(await Promise.all(endings)).toEqual(["aborted", "aborted", "aborted"]);
    expect(listeners.draining.size).toBe(0);
  });

  test("cuts at once where there is no more patience, before or while it waits", async () => {
    for (const early of [true, false]) {
      const listeners = fresh();
      await listeners.raise(placed(url, home));
      const conn = await talking(home, 18001);
      const hurry = new AbortController();
      if (early) hurry.abort();
      const done = listeners.retireAll(60_000, hurry.signal);
      hurry.abort();
      expect(await done).toEqual({ cut: 1 });
      expect(await ending(conn)).toBe("aborted");
    }
  });

  test("does not wait for an ingress that has not answered yet", async () => {
    const deps = echoing();
    const asked = Promise.withResolvers<void>();
    const listeners = fresh({
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
    await listeners.raise(placed(url, home));
    await net.dial({ host: home, port: 18001 });
    await asked.promise;
    expect(await listeners.retireAll(60_000, AbortSignal.abort())).toEqual({ cut: 1 });
  });
});

describe("limits", () => {
  const only = (limits: Partial<Limits>) => ({ ...unlimited, ...limits });

  test("resets one connection too many at once, counts it, says it, and lets the next come when there is room", async () => {
    const deps = echoing();
    const listeners = fresh(deps, () => only({ perEndpoint: 2 }));
    await listeners.raise(placed(url, home));
    await listeners.raise(placed("tcp://b.demo:18001", "127.81.0.3"));
    const conns = [await talking(home, 18001), await talking(home, 18001)];
    const meter = [...listeners.present.values()][0]?.meter;
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
    // The others feel nothing.
    conns.push(await talking("127.81.0.3", 18001));
    conns[0]?.close();
    await until(() => listeners.open === 2);
    conns.push(await talking(home, 18001));
    expect([meter?.active, meter?.lastError]).toEqual([2, ""]);
    for (const conn of conns) conn.close();
    await until(() => listeners.open === 0);
  });

  test.each([
    ["in all", { inAll: 2 }, "2 connections are open, and forward.max_connections allows no more"],
    [
      "by descriptors",
      { byDescriptors: 2 },
      "as many connections are open as the limit of open files has room for",
    ],
  ])(
    "counts the connections of all endpoints %s, those that drain included, and tells it once for all",
    async (_name, limits, reason) => {
      const deps = echoing();
      const listeners = fresh(deps, () => only(limits));
      await listeners.raise(placed(url, home));
      await listeners.raise(placed("tcp://b.demo:18001", "127.81.0.3"));
      const conns = [await talking(home, 18001), await talking("127.81.0.3", 18001)];
      listeners.retire(place(url, home), 10_000);
      expect(await ending(await net.dial({ host: "127.81.0.3", port: 18001 }))).toBe("aborted");
      const [line = ""] = (deps.log as ReturnType<typeof memoryLog>).lines;
      expect(line).toStartWith(`warn New connections are reset at once: ${reason} (hint: raise `);
      conns[0]?.close();
      await gone(listeners);
      conns.push(await talking("127.81.0.3", 18001));
      for (const conn of conns) conn.close();
    },
  );

  test("follows a limit that changes while connections come", async () => {
    let inAll = 0;
    const listeners = fresh(echoing(), () => only({ inAll }));
    await listeners.raise(placed(url, home));
    expect(await ending(await net.dial({ host: home, port: 18001 }))).toBe("aborted");
    inAll = 1;
    (await talking(home, 18001)).close();
  });
});

describe("probe", () => {
  test("finds the addresses where something else listens, and leaves the others free", async () => {
    const listeners = fresh();
    const other = await occupy("127.81.0.4", 18002);
    const places = ["127.81.0.4", "127.81.0.5"].map((at) => ({ ip: ip(at), port: 18002 }));
    expect([...(await listeners.probe(places))] as string[]).toEqual(["127.81.0.4"]);
    other.close();
    expect((await listeners.probe(places)).size).toBe(0);
    expect(await listeners.raise(placed("tcp://c.demo:18002", "127.81.0.5"))).toBeUndefined();
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

function fresh(deps = echoing(), limits?: () => Limits): Listeners {
  const listeners = createListeners(net, deps, limits);
  all.push(listeners);
  return listeners;
}

/** A connection through a listener to the echo behind it, proven to work. */
async function talking(host: string, port: number): Promise<Conn> {
  const conn = await net.dial({ host, port });
  await conn.write(bytes("hi"));
  expect([await read(conn, 2), addressText(conn.remote)]).toEqual(["hi", `${host}:${port}`]);
  return conn;
}

const refused = (host: string, port: number): Promise<string> =>
  net.dial({ host, port }).then(
    () => "accepted",
    (error) => error.code,
  );

async function gone({ draining }: Listeners): Promise<void> {
  await until(() => draining.size === 0);
}

async function until(holds: () => boolean): Promise<void> {
  for (let waited = 0; !holds() && waited < 1000; waited += 1) await later(10);
  expect(holds()).toBe(true);
}
