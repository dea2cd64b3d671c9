import { afterEach, describe, expect, test } from "bun:test";
import { createPlainGuard, type Guard } from "../../src/access/guard.ts";
import { type Doorway, doorId, type Match } from "../../src/exposure/exposure.ts";
import type { AnyIp } from "../../src/model/ip.ts";
import type { Conn } from "../../src/net/types.ts";
import { unlimited } from "../../src/relay/connection-limits.ts";
import { createDoors, type Doors } from "../../src/relay/doors.ts";
import type { ForwardDeps } from "../../src/relay/forward.ts";
import { prefaceOfHttp2, settingsFrame } from "../../src/relay/greet/http2.ts";
import { doorway, echoing } from "../daemon/support.ts";
import { host, ip } from "../machine/support.ts";
import { bytes, ending, later, net, read } from "../support/conns.ts";
import { memoryLog } from "../support/memory-log.ts";
import { frame, helloFor } from "./greet/support.ts";

const at = "127.82.0.2";
const port = 18080;
const a = route("http://a.demo:18080", { kind: "name", host: host("a.demo") });
const b = route("https://b.demo:18080", { kind: "name", host: host("b.demo") });
const c = route("http://c.demo:18080", { kind: "name", host: host("c.demo") });
const aliased = route("http://a.demo:18080", {
  kind: "name",
  host: host("a.demo"),
  aliases: [host("db")],
});
const request = (name: string, path = "/"): string =>
  `GET ${path} HTTP/1.1\r\nHost: ${name}\r\n\r\n`;

let all: Doors[] = [];
afterEach(async () => {
  for (const doors of all) await doors.drain(0, AbortSignal.abort());
  all = [];
});

describe("a shared door", () => {
  test("leads HTTP by Host to its endpoint, with every byte", async () => {
    const { doors, opened } = await fresh([a, b]);
    const text = request("A.demo:18080");
    for (const piece of [[text], [...text]]) {
      const conn = await net.dial({ host: at, port });
      for (const part of piece) await conn.write(bytes(part));
      expect(await read(conn, text.length)).toBe(text);
      conn.close();
    }
    expect(opened).toEqual(["a.demo:18080", "a.demo:18080"]);
    await until(() => doors.open === 0);
    expect(meterOf(doors, "a.demo:18080")).toMatchObject({ total: 2, errors: 0 });
  });

  test("leads TLS by SNI to its endpoint, also in segments of one byte", async () => {
    const { opened } = await fresh([a, b]);
    const hello = await helloFor("b.demo");
    const conn = await net.dial({ host: at, port });
    for (const byte of hello) {
      await conn.write(new Uint8Array([byte]));
      if (byte % 8 === 0) await later(0);
    }
    const echo = await read(conn, hello.length);
    expect([opened, echo.length]).toEqual([["b.demo:18080"], Buffer.from(hello).toString().length]);
    conn.close();
  });

  test("answers 421 or an alert to a name that it does not have, and counts it", async () => {
    const { doors, opened, log } = await fresh([a, b]);
    expect(await said(request("c.demo"))).toStartWith("HTTP/1.1 421 Misdirected Request\r\n");
    expect(await said("GET / HTTP/1.0\r\n\r\n")).toStartWith("HTTP/1.1 421 ");
    expect(await said(request("a.demo\r\nHost: b.demo"))).toStartWith("HTTP/1.1 400 ");
    const alert = Buffer.from([21, 3, 3, 0, 2, 2, 112]).toString("latin1");
    expect(await said(await helloFor("c.demo"))).toBe(alert);
    expect(await said(await helloFor(""))).toBe(alert);
    expect(opened).toEqual([]);
    expect(doors.strangers).toMatchObject({ total: 5, errorsBy: { misdirected: 5 } });
    expect(log.lines[0]).toBe(
      "warn A client of 127.82.0.2:18080 was refused, since no endpoint at this port has the name",
    );
  });

  test("answers GOAWAY to an HTTP/2 client whose host it does not have", async () => {
    const { opened } = await fresh([a, b]);
    const headers = frame(1, 5, 1, bytes("\x41\x06c.demo"));
    const settings = frame(4, 0, 0, new Uint8Array(0));
    const reply = await said(Buffer.concat([prefaceOfHttp2, settings, headers]));
    expect(Buffer.from(reply).subarray(0, 9)).toEqual(Buffer.from(settingsFrame));
    expect(reply).toEndWith('ngrokd: No endpoint at this port has the name "c.demo".');
    expect(opened).toEqual([]);
  });

  test("leads clients that name no host to the only endpoint", async () => {
    const { opened } = await fresh([a]);
    const conn = await net.dial({ host: at, port });
    await conn.write(bytes("GET / HTTP/1.0\r\n\r\n"));
    expect(await read(conn, 4)).toStartWith("GET ");
    conn.close();
    expect(await said(request("192.0.2.1"))).toStartWith("HTTP/1.1 421 ");
    expect(opened).toEqual(["a.demo:18080"]);
  });

  test("ends a connection before a request to another host, and counts it", async () => {
    const { doors, log } = await fresh([a, b]);
    const conn = await net.dial({ host: at, port });
    await conn.write(bytes(request("a.demo", "/1")));
    await conn.write(bytes(request("a.demo", "/2") + request("b.demo", "/3")));
    expect(await read(conn)).toBe(request("a.demo", "/1") + request("a.demo", "/2"));
    conn.close();
    await until(() => doors.open === 0);
    expect(meterOf(doors, "a.demo:18080")?.errorsBy).toMatchObject({ misdirected: 1, reset: 0 });
    expect(log.lines.at(-1)).toContain('it names the host "b.demo" on a connection to "a.demo"');
  });

  test("leads an alias to its endpoint by Host and SNI, also on a kept connection", async () => {
    const { opened } = await fresh([aliased, b]);
    const conn = await net.dial({ host: at, port });
    const both = request("db:18080") + request("a.demo");
    await conn.write(bytes(both));
    expect(await read(conn, both.length)).toBe(both);
    conn.close();
    const hello = await helloFor("db");
    const tls = await net.dial({ host: at, port });
    await tls.write(hello);
    expect(await read(tls, 5)).not.toBe("");
    tls.close();
    expect(opened).toEqual(["a.demo:18080", "a.demo:18080"]);
  });

  test("leads a client without a name to the only endpoint, with an alias too", async () => {
    const { opened } = await fresh([aliased]);
    const conn = await net.dial({ host: at, port });
    await conn.write(bytes("GET / HTTP/1.0\r\n\r\n"));
    expect(await read(conn, 4)).toStartWith("GET ");
    conn.close();
    expect(opened).toEqual(["a.demo:18080"]);
  });

  test("gains and loses an alias while connections of its endpoint go on", async () => {
    const { doors } = await fresh([a]);
    const conn = await net.dial({ host: at, port });
    await conn.write(bytes(request("a.demo")));
    await read(conn, 4);
    expect(await said(request("db"))).toStartWith("HTTP/1.1 421 ");
    await doors.apply({ reroute: [joint([aliased])] }, 0);
    const other = await net.dial({ host: at, port });
    await other.write(bytes(request("db")));
    expect(await read(other, 4)).toStartWith("GET ");
    other.close();
    await doors.apply({ reroute: [joint([a])] }, 0);
    expect(await said(request("db"))).toStartWith("HTTP/1.1 421 ");
    expect(doors.draining.size).toBe(0);
    await conn.write(bytes(request("a.demo", "/2")));
    expect(await read(conn, 8)).toContain("GET /");
    conn.close();
  });

  test("resets clients that name no host in time, and those that wait when it closes", async () => {
    const { doors } = await fresh([a, b], { openTimeoutMs: 40 });
    const silent = await net.dial({ host: at, port });
    expect(await ending(silent)).toBe("aborted");
    expect(doors.strangers.errorsBy).toMatchObject({ timeout: 1 });
    const waiting = await net.dial({ host: at, port });
    await waiting.write(bytes("GET"));
    await until(() => doors.open === 1);
    await doors.apply({ close: [doorId(ip(at), port)] }, 10_000);
    expect(await ending(waiting)).toBe("aborted");
    await until(() => doors.open === 0);
  });

  test("counts clients that name no host yet against the limit", async () => {
    const { doors } = await fresh([a, b], {}, 1);
    const waiting = await net.dial({ host: at, port });
    await until(() => doors.open === 1);
    expect(await ending(await net.dial({ host: at, port }))).toBe("aborted");
    expect(doors.strangers.errorsBy).toMatchObject({ limit: 1 });
    waiting.close();
    await until(() => doors.open === 0);
  });

  test("counts refused clients until they have gone, and resets them when it closes", async () => {
    const { doors } = await fresh([a, b], {}, 1);
    const stays = await net.dial({ host: at, port });
    await stays.write(bytes(request("c.demo")));
    expect(await read(stays)).toStartWith("HTTP/1.1 421 ");
    expect(doors.open).toBe(1);
    expect(await ending(await net.dial({ host: at, port }))).toBe("aborted");
    expect(doors.strangers.errorsBy).toMatchObject({ misdirected: 1, limit: 1 });
    await doors.apply({ close: [doorId(ip(at), port)] }, 10_000);
    await until(() => doors.open === 0);
    expect(await stays.closed).toMatchObject({ code: "aborted" });
  });

  test("gets and loses names while it listens; connections of a lost one drain", async () => {
    const { doors, opened } = await fresh([a]);
    const conn = await net.dial({ host: at, port });
    await conn.write(bytes(request("a.demo")));
    await read(conn, 4);
    await doors.apply({ reroute: [joint([b])] }, 10_000);
    expect(doors.draining.size).toBe(1);
    expect(await said(request("a.demo"))).toStartWith("HTTP/1.1 421 ");
    await conn.write(bytes(request("a.demo", "/2")));
    expect(await read(conn, 8)).toContain("GET /");
    conn.close();
    await until(() => doors.draining.size === 0);
    await doors.apply({ reroute: [joint([a, b])] }, 10_000);
    const again = await net.dial({ host: at, port });
    await again.write(bytes(request("a.demo")));
    expect(await read(again, 4)).toStartWith("GET ");
    again.close();
    expect(opened).toEqual(["a.demo:18080", "a.demo:18080"]);
  });
});

describe("a client that names its host after its door has changed", () => {
  test("reaches an endpoint that is new, and none that is gone", async () => {
    const { doors, opened } = await fresh([a]);
    const early = async (name: string): Promise<Conn> => {
      const before = doors.open;
      const conn = await net.dial({ host: at, port });
      await conn.write(bytes(request(name).slice(0, -2)));
      await until(() => doors.open === before + 1);
      return conn;
    };
    const [lost, gained] = [await early("a.demo"), await early("c.demo")];
    await doors.apply({ reroute: [joint([c])] }, 10_000);
    for (const conn of [lost, gained]) await conn.write(bytes("\r\n"));
    expect(await read(lost, 13)).toStartWith("HTTP/1.1 421 ");
    expect(await read(gained, 4)).toStartWith("GET ");
    expect(opened).toEqual(["c.demo:18080"]);
    for (const conn of [lost, gained]) conn.abort();
    await until(() => doors.open === 0);
  });
});

describe("a door on all addresses", () => {
  test.each(["0.0.0.0", "::"])(
    "%s: takes the address for the host where it is its own, and reads nothing",
    async (where) => {
      const own = route("tcp://c.demo:18080", { kind: "any", at: ip("127.82.0.9") });
      const { doors, opened } = await fresh([a, own], {}, undefined, where);
      const conn = await net.dial({ host: "127.82.0.9", port });
      await until(() => opened.length === 1);
      conn.close();
      const other = await net.dial({ host: "127.82.0.8", port });
      await other.write(bytes(request("a.demo")));
      expect(await read(other, 4)).toStartWith("GET ");
      other.close();
      expect(opened).toEqual(["c.demo:18080", "a.demo:18080"]);
      // Without names there is nothing to read for.
      await doors.apply({ reroute: [joint([own], where)] }, 0);
      expect(await ending(await net.dial({ host: "127.82.0.8", port }))).toBe("aborted");
      expect(doors.strangers.total).toBe(0);
    },
  );
});

describe("a shared door with rules", () => {
  test("resets a client that may use none of its endpoints before it names one", async () => {
    const asked: unknown[] = [];
    const arrays = new Set<unknown>();
    let may: boolean | Promise<boolean> = false;
    const guard: Partial<Guard> = {
      mayUseAny(_, endpoints) {
        asked.push(endpoints.map(({ wanted, without }) => `${wanted.host} ${without}`));
        arrays.add(endpoints);
        return may;
      },
    };
    const { doors, log } = await fresh([a, b], { guard });
    const dial = () => net.dial({ host: at, port: 18_080 });
    expect(await ending(await dial())).toBe("aborted");
    expect(asked).toEqual([["a.demo everybody", "b.demo everybody"]]);
    expect(doors.strangers).toMatchObject({ total: 1, errorsBy: { access: 1 } });
    expect(doors.strangers.lastError).toEndWith("any endpoint of this door (127.0.0.1)");
    expect(log.lines[0]).toStartWith("warn ");
    may = Promise.resolve(true);
    const waiting = await dial();
    while (asked.length < 2) await later(2);
    const end = await Promise.race([ending(waiting), later(100).then(() => "waits")]);
    expect(end).toBe("waits");
    waiting.abort();
    expect(doors.strangers.errorsBy).toMatchObject({ access: 1 });
    // The guard keeps what it knows with the array.
    expect({ asked: asked.length, arrays: arrays.size }).toEqual({ asked: 2, arrays: 1 });
  });
});

describe("a shared door whose guard takes its time", () => {
  test("resets a client if the place has another door by then", async () => {
    const verdict = Promise.withResolvers<boolean>();
    const { doors, opened } = await fresh([a], { guard: { mayUseAny: () => verdict.promise } });
    const conn = await net.dial({ host: at, port });
    await conn.write(bytes(request("a.demo")));
    await later(20);
    await doors.apply({ close: [doorId(ip(at), port)] }, 0);
    await doors.apply({ open: [joint([c])] }, 0);
    verdict.resolve(true);
    expect(await ending(conn)).toBe("aborted");
    expect(opened).toEqual([]);
  });
});

describe("rewriteHost", () => {
  test("gives each request of an HTTP endpoint its host, and leaves TCP alone", async () => {
    const { doors } = await fresh([], { rewriteHost: () => true });
    const fixed = doorway("http://a.demo:18081", at);
    await doors.apply({ open: [fixed, doorway("tcp://a.demo:18082", at)] }, 0);
    for (const [where, authority] of [
      [18_081, "a.demo:18081"],
      [18_082, "192.0.2.1"],
    ] as const) {
      const conn = await net.dial({ host: at, port: where });
      await conn.write(bytes(request("192.0.2.1").repeat(2)));
      const wanted = request(authority).repeat(2);
      expect(await read(conn, wanted.length)).toBe(wanted);
      conn.close();
    }
  });
});

describe("rewriteHost and a name that a web page has chosen", () => {
  test("refuses the name, unless the settings allow it, and counts it", async () => {
    let hosts: readonly string[] = [];
    const { doors } = await fresh([], { rewriteHost: () => true, hosts: () => hosts });
    await doors.apply({ open: [doorway("http://a.demo", at)] }, 0);
    const asked = async (host: string): Promise<string> => {
      const conn = await net.dial({ host: at, port: 80 });
      await conn.write(bytes(request(host)));
      conn.closeWrite();
      return await read(conn);
    };
    for (const host of ["a.demo", "A.demo.", at, "192.0.2.1:80"])
      expect(await asked(host)).toBe(request("a.demo"));
    const [meter] = [...doors.present.values()].flatMap(({ lanes }) =>
      lanes.map((lane) => lane.meter),
    );
    const others = ["evil.example", "evil_x.example", "a.demo.evil.example", "localhost"];
    for (const host of others) expect(await asked(host)).toBe("");
    await until(() => doors.open === 0);
    expect(meter?.errorsBy.misdirected).toBe(others.length);
    hosts = ["*.proxy.internal"];
    expect(await asked("a.proxy.internal")).toBe(request("a.demo"));
    expect(await asked("evil.example")).toBe("");
  });
});

interface Options extends Partial<Pick<ForwardDeps, "openTimeoutMs">> {
  rewriteHost?: () => boolean;
  hosts?: () => readonly string[];
  guard?: Partial<Guard>;
}

/** A door with these routes, before endpoints that send their input back. */
async function fresh(
  routes: readonly Doorway[],
  { rewriteHost, hosts, guard = {}, ...options }: Options = {},
  inAll = Number.POSITIVE_INFINITY,
  where = at,
) {
  const log = memoryLog();
  const echo = echoing();
  const opened: string[] = [];
  const deps: ForwardDeps = {
    ...echo,
    ...options,
    log,
    ingress: {
      open(target, signal) {
        opened.push(`${target.host}:${target.port}`);
        return echo.ingress.open(target, signal);
      },
    },
  };
  const doors = createDoors({
    net,
    forwarding: () => deps,
    limits: () => ({ ...unlimited, inAll }),
    guard: { ...createPlainGuard(net), ...guard },
    ...(rewriteHost !== undefined && { rewriteHost }),
    ...(hosts !== undefined && { hosts }),
  });
  all.push(doors);
  if (routes.length > 0) {
    const reasons = await doors.apply({ open: [joint(routes, where)] }, 0);
    expect([...reasons]).toEqual([]);
  }
  return { doors, opened, log };
}

function route(url: string, match: Match): Doorway {
  const one = doorway(url, at);
  return { ...one, routes: one.routes.map((it) => ({ ...it, match })) };
}

/** One door with the routes of all. */
function joint(parts: readonly Doorway[], where = at): Doorway {
  const address = where as AnyIp;
  const id = doorId(address, port);
  return {
    door: { id, at: { ip: address, port }, greet: "named" },
    routes: parts.flatMap(({ routes }) =>
      routes.map((it) => ({ ...it, door: id, forOthers: true as const })),
    ),
  };
}

/** All that a client gets for these bytes. */
async function said(text: string | Uint8Array): Promise<string> {
  const conn: Conn = await net.dial({ host: at, port });
  await conn.write(typeof text === "string" ? bytes(text) : text);
  const reply = await read(conn);
  conn.close();
  return reply;
}

const meterOf = ({ present }: Doors, key: string) =>
  [...present.values()]
    .flatMap(({ lanes }) => lanes)
    .find(({ route }) => route.target.binding.key === key)?.meter;

async function until(holds: () => boolean): Promise<void> {
  for (let i = 0; i < 400 && !holds(); i += 1) await later(5);
  expect(holds()).toBe(true);
}
