import { afterEach, describe, expect, test } from "bun:test";
import { createPlainGuard } from "../../src/access/guard.ts";
import type { Conn } from "../../src/net/types.ts";
import { createRelay, type Relay, type RelayLimits } from "../../src/relay/relay.ts";
import { doorway } from "../daemon/support.ts";
import { bytes, ending, later, net, read } from "../support/conns.ts";
import { accepted, type FakeIngress, fakeIngress } from "../support/fake-ingress.ts";
import { memoryLog } from "../support/memory-log.ts";

const limits: RelayLimits = {
  openTimeoutMs: 15_000,
  earlyData: false,
  idleMs: 0,
  halfClosedMs: 0,
  drainMs: 0,
  rewriteHost: false,
  hosts: [],
  connections: { inAll: Number.POSITIVE_INFINITY, perEndpoint: Number.POSITIVE_INFINITY },
  pool: { min: 0, max: 0, idleTimeoutMs: 60_000 },
};
const work = withAccount(doorway("tcp://a.demo:18201", "127.84.0.2"), "work");
const home = withAccount(doorway("tcp://b.demo:18201", "127.84.0.3"), "home");

let relays: Relay[] = [];
afterEach(async () => {
  for (const relay of relays) await relay.drain(AbortSignal.abort());
  relays = [];
});

describe("a relay", () => {
  test("carries the connections of each account to the ingress of that account", async () => {
    await using one = await saying("work");
    await using two = await saying("home");
    const relay = fresh();
    relay.credentials("work", one.settings);
    relay.credentials("home", two.settings);
    await relay.apply({ open: [work, home] });
    expect(await heardAt("127.84.0.2")).toBe("work");
    expect(await heardAt("127.84.0.3")).toBe("home");
    expect(one.requests).toEqual([{ host: "a.demo", port: 18201 }]);
    expect(two.requests).toEqual([{ host: "b.demo", port: 18201 }]);
    expect(relay.stats().ingress).toMatchObject({ dials: 2, misses: 2 });
  });

  test("resets the connections of an account without credentials, and counts them", async () => {
    const relay = fresh();
    await relay.apply({ open: [work] });
    expect(await ending(await net.dial({ host: "127.84.0.2", port: 18201 }))).toBe("aborted");
    const [meter] = [...relay.present.values()].flatMap(({ lanes }) =>
      lanes.map((lane) => lane.meter),
    );
    expect(meter?.lastError).toContain("This machine is not registered with ngrok yet");
    expect(relay.ingress("work")).toBeUndefined();
  });

  test("takes other credentials for new connections, and leaves live ones alone", async () => {
    await using before = await saying("before");
    await using after = await saying("after");
    const relay = fresh();
    relay.credentials("work", before.settings);
    await relay.apply({ open: [work] });
    const live = await net.dial({ host: "127.84.0.2", port: 18201 });
    expect(await read(live, 6)).toBe("before");
    relay.credentials("work", after.settings);
    expect(await heardAt("127.84.0.2")).toBe("after");
    await live.write(bytes("ping"));
    expect(await read(live, 4)).toBe("ping");
    live.close();
  });

  test("changes the account of a route without touching live connections", async () => {
    await using one = await saying("work");
    await using two = await saying("home");
    const relay = fresh();
    relay.credentials("work", one.settings);
    relay.credentials("home", two.settings);
    await relay.apply({ open: [work] });
    const live = await net.dial({ host: "127.84.0.2", port: 18201 });
    expect(await read(live, 4)).toBe("work");
    const listeners = [...relay.present.values()].map(({ listener }) => listener);
    await relay.apply({ reroute: [withAccount(work, "home")] });
    expect([...relay.present.values()].map(({ listener }) => listener)).toEqual(listeners);
    expect(await heardAt("127.84.0.2")).toBe("home");
    await live.write(bytes("ping"));
    expect(await read(live, 4)).toBe("ping");
    live.close();
  });

  test("discards ready connections if credentials differ, but for the CA file alone", async () => {
    await using ingress = await saying("hello");
    const relay = fresh({ ...limits, pool: { min: 1, max: 4, idleTimeoutMs: 60_000 } });
    relay.credentials("work", ingress.settings);
    await relay.apply({ open: [work] });
    relay.prepare();
    await until(() => relay.stats().ingress.ready === 1);
    const { dials } = relay.stats().ingress;
    relay.credentials("work", { ...ingress.settings, caFile: "/nowhere/ca.pem" });
    expect(relay.stats().ingress).toMatchObject({ ready: 1, dials });
    relay.credentials("work", { ...ingress.settings, resume: false });
    expect(relay.stats().ingress.ready).toBe(0);
  });

  test("keeps nothing ready while it has no doors", async () => {
    await using ingress = await saying("hello");
    const relay = fresh({ ...limits, pool: { min: 2, max: 4, idleTimeoutMs: 60_000 } });
    relay.credentials("work", ingress.settings);
    relay.prepare();
    await later(50);
    expect(relay.stats().ingress.dials).toBe(0);
  });

  test("follows other limits from the next connection on", async () => {
    await using ingress = await saying("hello");
    const relay = fresh();
    relay.credentials("work", ingress.settings);
    await relay.apply({ open: [work] });
    relay.limits({ ...limits, connections: { ...limits.connections, inAll: 0 } });
    expect(await ending(await net.dial({ host: "127.84.0.2", port: 18201 }))).toBe("aborted");
    expect(relay.stats().limit).toBe(0);
    relay.limits(limits);
    expect(await heardAt("127.84.0.2")).toBe("hello");
  });
});

describe("a relay with little memory", () => {
  const MiB = 1024 ** 2;

  /** What is read for 24 clients that never read, in MiB each. */
  async function readForStuckReaders(memory: number): Promise<number> {
    const chunk = new Uint8Array(256 * 1024);
    await using ingress = await fakeIngress(async (conn) => {
      await conn.write(accepted());
      try {
        for (;;) await conn.write(chunk);
      } catch {
        // The test is over.
      }
    });
    const relay = fresh(limits, memory);
    relay.credentials("work", ingress.settings);
    await relay.apply({ open: [work] });
    const clients: Conn[] = [];
    for (let i = 0; i < 24; i += 1)
      clients.push(await net.dial({ host: "127.84.0.2", port: 18201 }));
    const read = (): number =>
      [...relay.present.values()]
        .flatMap(({ lanes }) => lanes)
        .reduce((sum, { meter }) => sum + meter.bytesDown, 0);
    for (let before = -1; before !== read(); ) {
      before = read();
      await later(300);
    }
    for (const client of clients) client.abort();
    return read() / clients.length / MiB;
  }

  test("reads little for readers that are stuck", async () => {
    // The system chooses the buffers of the first two.
    expect(await readForStuckReaders(16 * MiB)).toBeLessThan(1.5);
  });

  test("has room for some connections, unless the settings have a number", async () => {
    await using ingress = await saying("hello");
    const relay = fresh(limits, 2 * MiB);
    relay.credentials("work", ingress.settings);
    await relay.apply({ open: [work] });
    expect(relay.stats().limit).toBe(4);
    const place = { host: "127.84.0.2", port: 18201 };
    const four = await Promise.all([1, 2, 3, 4].map(() => net.dial(place)));
    for (const conn of four) expect(await read(conn, 5)).toBe("hello");
    expect(await ending(await net.dial(place))).toBe("aborted");
    relay.limits({ ...limits, connections: { ...limits.connections, inAll: 5 } });
    expect(relay.stats().limit).toBe(5);
    expect(await read(await net.dial(place), 5)).toBe("hello");
  });
});

function fresh(first: RelayLimits = limits, memory = Number.POSITIVE_INFINITY): Relay {
  const relay = createRelay({
    net,
    log: memoryLog(),
    accounts: ["work", "home"],
    limits: first,
    room: () => Number.POSITIVE_INFINITY,
    memory,
    guard: createPlainGuard(net),
  });
  relays.push(relay);
  return relay;
}

/** An ingress that sends its name, and sends all its input back. */
function saying(name: string): Promise<FakeIngress> {
  return fakeIngress(async (conn: Conn) => {
    await conn.write(accepted());
    await conn.write(bytes(name));
    for (let chunk = await conn.read(); chunk !== null; chunk = await conn.read())
      await conn.write(chunk);
    conn.closeWrite();
  });
}

async function heardAt(host: string): Promise<string> {
  const conn = await net.dial({ host, port: 18201 });
  conn.closeWrite();
  const heard = await read(conn);
  conn.close();
  return heard;
}

function withAccount(one: ReturnType<typeof doorway>, account: string) {
  const routes = one.routes.map((route) => ({ ...route, target: { ...route.target, account } }));
  return { ...one, routes };
}

async function until(holds: () => boolean): Promise<void> {
  for (let waited = 0; !holds() && waited < 1000; waited += 1) await later(10);
  expect(holds()).toBe(true);
}
