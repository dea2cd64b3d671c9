import { afterEach, describe, expect, test } from "bun:test";
import { createPlainGuard } from "../../src/access/guard.ts";
import { drainingStates } from "../../src/daemon/endpoint-states.ts";
import { reconcile, type World } from "../../src/daemon/reconcile.ts";
import type { Assignment } from "../../src/exposure/allocate.ts";
import { forbiddenName } from "../../src/exposure/forbidden.ts";
import type { Ground } from "../../src/exposure/ground.ts";
import type { ApiEndpoint } from "../../src/model/endpoint.ts";
import { NgrokdError } from "../../src/model/error.ts";
import type { Hostname } from "../../src/model/hostname.ts";
import { parsePrefix6, type Subnet } from "../../src/model/ip.ts";
import type { Reconciled } from "../../src/model/pass.ts";
import type { Listener } from "../../src/net/types.ts";
import { unlimited } from "../../src/relay/connection-limits.ts";
import { createDoors, type Doors } from "../../src/relay/doors.ts";
import { mapping, subnet } from "../machine/support.ts";
import { bytes, ending, later, net, read } from "../support/conns.ts";
import { echoing, endpoint, occupy } from "./support.ts";

// High ports that the kernel does not assign itself, on addresses of this file
// and this run.
const base = `127.${64 + (process.pid % 128)}`;
/** In the range of no run. */
const outside = "127.200";
const range = subnet(`${base}.0.0/24`);
const a = endpoint("ep_a", "tcp://a.demo:18101");
const b = endpoint("ep_b", "tcp://b.demo:18102");
const c = endpoint("ep_c", "tcp://c.demo:18103");

let machines: { readonly doors: Doors }[] = [];
let programs: Listener[] = [];
afterEach(async () => {
  for (const { doors } of machines) await doors.drain(0, AbortSignal.abort());
  for (const program of programs) program.close();
  machines = [];
  programs = [];
});

/** Another program that listens there, until the end of the test at most. */
async function listening(host: string, port: number): Promise<Listener> {
  const program = await occupy(host, port);
  programs.push(program);
  return program;
}

describe("reconcile", () => {
  test("gives each listed endpoint an address, a listener and a line in the hosts file", async () => {
    const { pass, hosts, talk } = machine();
    expect(told(await pass([c, a, b]))).toEqual([
      `tcp://a.demo:18101 listening ${base}.0.1:18101`,
      `tcp://b.demo:18102 listening ${base}.0.2:18102`,
      `tcp://c.demo:18103 listening ${base}.0.3:18103`,
    ]);
    expect(hosts()).toEqual({
      "a.demo": `${base}.0.1`,
      "b.demo": `${base}.0.2`,
      "c.demo": `${base}.0.3`,
    });
    expect(await talk(`${base}.0.2`, 18102)).toBe("hi");
  });

  test("saves an address, then listens, then writes the name; takes down in reverse", async () => {
    const { pass, events } = machine();
    await pass([a, b]);
    expect(events.splice(0)).toEqual([
      `save a.demo=${base}.0.1 b.demo=${base}.0.2`,
      `open ${base}.0.1:18101`,
      `open ${base}.0.2:18102`,
      `advertise a.demo=${base}.0.1 b.demo=${base}.0.2`,
    ]);
    await pass([b, c]);
    expect(events.splice(0)).toEqual([
      `save a.demo=${base}.0.1 b.demo=${base}.0.2 c.demo=${base}.0.3`,
      `open ${base}.0.3:18103`,
      `advertise b.demo=${base}.0.2 c.demo=${base}.0.3`,
      `close ${base}.0.1:18101`,
    ]);
    await pass([c, b]);
    expect(events.splice(0)).toEqual([
      `save a.demo=${base}.0.1 b.demo=${base}.0.2 c.demo=${base}.0.3`,
      `advertise b.demo=${base}.0.2 c.demo=${base}.0.3`,
    ]);
    await pass([]);
    expect(events.splice(0).slice(1)).toEqual([
      "advertise",
      `close ${base}.0.2:18102`,
      `close ${base}.0.3:18103`,
    ]);
  });

  test("gives a name its address back after an absence, and both its ports one address", async () => {
    const { pass } = machine();
    const also = endpoint("ep_a2", "tcp://a.demo:18104");
    await pass([a, b]);
    await pass([b]);
    expect(told(await pass([a, also, b]))).toEqual([
      `tcp://a.demo:18101 listening ${base}.0.1:18101`,
      `tcp://a.demo:18104 listening ${base}.0.1:18104`,
      `tcp://b.demo:18102 listening ${base}.0.2:18102`,
    ]);
  });

  test("keeps listener and counters if the endpoints behind an address change", async () => {
    const { pass, events, talk } = machine();
    await pass([a]);
    await talk(`${base}.0.1`, 18101);
    events.length = 0;
    const [state] = (await pass([endpoint("ep_z", a.url), endpoint("ep_y", a.url)])).endpoints;
    expect(state?.ids).toEqual(["ep_y", "ep_z"]);
    expect(state?.meter.total).toBe(1);
    expect(events.filter((event) => /^(?:open|close)/.test(event))).toEqual([]);
  });

  test("lets the connections of a removed endpoint end by themselves, and shows them", async () => {
    const { pass, doors } = machine();
    await pass([a]);
    const conn = await net.dial({ host: `${base}.0.1`, port: 18101 });
    await conn.write(bytes("hi"));
    await read(conn, 2);
    await pass([]);
    expect(told({ endpoints: drainingStates(doors.draining), problems: [] })).toEqual([
      `tcp://a.demo:18101 draining ${base}.0.1:18101: waits for its open connections`,
    ]);
    await conn.write(bytes("still"));
    expect(await read(conn, 5)).toBe("still");
    conn.closeWrite();
    expect(await ending(conn)).toBe("FIN");
    conn.close();
    for (let i = 0; doors.draining.size > 0 && i < 1000; i += 1) await later(5);
    expect(drainingStates(doors.draining)).toEqual([]);
  });

  test("resets the connections of an endpoint that is gone once their time is over", async () => {
    const { pass } = machine({ drainMs: 30 });
    await pass([a]);
    const conn = await net.dial({ host: `${base}.0.1`, port: 18101 });
    await conn.write(bytes("hi"));
    await read(conn, 2);
    await pass([]);
    expect(await ending(conn)).toBe("aborted");
  });
});

describe("one bad thing stays one bad thing", () => {
  test("an unusable endpoint is listed with its reason, and the rest is served", async () => {
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
      "https://*.demo unsupported: a wildcard needs dns.enabled: true, or its names in names.expand",
      `tcp://a.demo:18101 listening ${base}.0.1:18101`,
      'tcp://api.ngrok.test:18101 unsupported: "api.ngrok.test" is a host that ngrokd itself must reach',
      'tcp://local\nhost:1 unsupported: the host name "local\\nhost" has a character that is not allowed in names, or a hyphen at a label\'s end',
    ]);
    expect(hosts()).toEqual({ "a.demo": `${base}.0.1` });
  });

  test("a new name gets an address without another listener on its port", async () => {
    const { pass, saved } = machine();
    const other = await listening(`${base}.0.1`, 18101);
    expect(told(await pass([a, b]))).toEqual([
      `tcp://a.demo:18101 listening ${base}.0.3:18101`,
      `tcp://b.demo:18102 listening ${base}.0.2:18102`,
    ]);
    expect(saved()).toEqual({ "a.demo": `${base}.0.3`, "b.demo": `${base}.0.2` });
    other.close();
    expect((await pass([a, b])).endpoints.map(({ ip }) => ip) as string[]).toEqual([
      `${base}.0.3`,
      `${base}.0.2`,
    ]);
  });

  test("a saved address that is taken, reserved or out of the range is replaced", async () => {
    await listening(`${base}.0.2`, 18102);
    // Outside the range, its host part stays.
    const useless: [Record<string, string>, string][] = [
      [{ "b.demo": `${base}.0.3` }, `${base}.0.4`],
      [{ "b.demo": `${base}.0.255` }, `${base}.0.4`],
      [{ "b.demo": `${outside}.0.7` }, `${base}.0.7`],
      [{ "b.demo": `${outside}.0.2` }, `${base}.0.4`],
    ];
    for (const [damaged, next] of useless) {
      const { pass, saved, doors } = machine(
        {},
        mapping({ "c.demo": `${base}.0.3`, "x.demo": `${base}.0.1`, ...damaged }),
      );
      expect(told(await pass([b, c]))).toEqual([
        `tcp://b.demo:18102 listening ${next}:18102`,
        `tcp://c.demo:18103 listening ${base}.0.3:18103`,
      ]);
      expect(saved()).toMatchObject({ "b.demo": next, "c.demo": `${base}.0.3` });
      await doors.drain(0, AbortSignal.abort());
    }
  });

  test("a new name gets past the many addresses of another daemon on its port", async () => {
    const { pass } = machine();
    for (let i = 1; i <= 20; i += 1) await listening(`${base}.0.${i}`, 18101);
    expect(told(await pass([a]))).toEqual([`tcp://a.demo:18101 listening ${base}.0.21:18101`]);
  });

  test("a port that is taken on all addresses fails one endpoint, until it is free", async () => {
    const { pass, hosts, saved } = machine();
    const other = await listening("0.0.0.0", 18102);
    const [first, second] = (await pass([a, b])).endpoints;
    expect(first).toMatchObject({ state: "listening" });
    expect(second).toMatchObject({
      state: "failed",
      reason: `another program listens on ${second?.ip}:18102 (or on port 18102 of all addresses)`,
    });
    expect(hosts()).toEqual({ "a.demo": `${base}.0.1` });
    const address = saved()["b.demo"];
    // It has an address now and keeps it. Later passes probe for no other.
    await pass([a, b]);
    expect(saved()["b.demo"]).toBe(address);
    other.close();
    expect((await pass([a, b])).endpoints[1]).toMatchObject({
      state: "listening",
      ip: address,
      reason: "",
    });
    expect(hosts()).toEqual({ "a.demo": `${base}.0.1`, "b.demo": String(address) });
  });

  test("a name keeps its saved address if another program listens there, with a reason", async () => {
    const { pass } = machine({}, mapping({ "a.demo": `${base}.0.9` }));
    await listening(`${base}.0.9`, 18101);
    expect(told(await pass([a]))).toEqual([
      `tcp://a.demo:18101 failed ${base}.0.9:18101: another program listens on ${base}.0.9:18101 (or on port 18101 of all addresses)`,
    ]);
  });

  test("a name is written as long as one of its ports listens", async () => {
    const { pass, hosts } = machine({}, mapping({ "a.demo": `${base}.0.9` }));
    await listening(`${base}.0.9`, 18104);
    await pass([a, endpoint("ep_a2", "tcp://a.demo:18104")]);
    expect(hosts()).toEqual({ "a.demo": `${base}.0.9` });
    await pass([endpoint("ep_a2", "tcp://a.demo:18104")]);
    expect(hosts()).toEqual({});
  });

  test("names beyond the range fail with advice, and get the next address that is free", async () => {
    const { pass } = machine({ range: subnet(`${base}.0.8/31`) });
    expect(told(await pass([a, b, c]))).toEqual([
      `tcp://a.demo:18101 listening ${base}.0.8:18101`,
      `tcp://b.demo:18102 listening ${base}.0.9:18102`,
      `tcp://c.demo:18103 failed: no address is left in ${base}.0.8/31; a wider net.subnet makes room`,
    ]);
    expect(told(await pass([b, c]))).toEqual([
      `tcp://b.demo:18102 listening ${base}.0.9:18102`,
      `tcp://c.demo:18103 listening ${base}.0.8:18103`,
    ]);
  });

  test("an address that changes hands at one port is served in the same pass", async () => {
    const { pass, hosts } = machine({ range: subnet(`${base}.0.8/32`) });
    const heir = endpoint("ep_h", "tcp://heir.demo:18101");
    await pass([a]);
    expect(told(await pass([heir]))).toEqual([`tcp://heir.demo:18101 listening ${base}.0.8:18101`]);
    expect(hosts()).toEqual({ "heir.demo": `${base}.0.8` });
  });

  test("everything is served if the state folder or the hosts file cannot be written", async () => {
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
    expect(await talk(`${base}.0.1`, 18101)).toBe("hi");
    expect(told(await pass([b]))).toEqual([`tcp://b.demo:18102 listening ${base}.0.2:18102`]);
  });

  test("a line of the user's own that overrides a name is a warning", async () => {
    const { pass } = machine({
      advertise: async (entries) => [...entries.keys()].filter((name) => name === "b.demo"),
    });
    expect((await pass([a, b])).endpoints.map(({ warning }) => warning)).toEqual([
      "",
      'another line of the hosts file gives "b.demo" an address of its own, and that line counts',
    ]);
  });
});

describe.skipIf(process.platform !== "linux")("a second address", () => {
  const six = "fd00:6e67:726f:6b65";
  const prefix = parsePrefix6(`${six}::/64`);
  const ground: Ground = {
    kind: "virtual",
    range,
    range6: prefix.ok ? prefix.value : undefined,
    device: "none",
  };

  test("listens too, is shown, and gets a line in the hosts file", async () => {
    const { pass, names, doors } = machine({ ground });
    const { endpoints } = await pass([a]);
    expect(endpoints.map(({ ip6, state, warning }) => [ip6, state, warning] as string[])).toEqual([
      [`${six}::1`, "listening", ""],
    ]);
    expect(names()).toEqual([`${base}.0.1 ${six}::1`]);
    expect(doors.present.size).toBe(2);
    await pass([]);
    expect(doors.present.size).toBe(0);
  });

  test("on which nothing can listen is a warning, and has no line there", async () => {
    const place = { host: `${six}::1`, port: 18101 };
    const other = await net.listen(place, (conn) => conn.close(), { routed: true });
    programs.push(other);
    const { pass, names } = machine({ ground });
    const { endpoints, problems } = await pass([a]);
    expect(endpoints.map(({ state, warning }) => [state, warning] as string[])).toEqual([
      [
        "listening",
        `another program listens on [${six}::1]:18101 (or on port 18101 of all addresses)`,
      ],
    ]);
    expect({ names: names(), problems }).toEqual({ names: [`${base}.0.1`], problems: [] });
    other.close();
    const again = await pass([a]);
    expect(again.endpoints.map(({ warning }) => warning)).toEqual([""]);
    expect(names()).toEqual([`${base}.0.1 ${six}::1`]);
  });
});

interface Stage {
  readonly ground?: Ground;
  readonly drainMs?: number;
  readonly range?: Subnet;
  readonly advertise?: (names: ReadonlyMap<Hostname, string>) => Promise<readonly Hostname[]>;
}

/**
 * A separate machine: the real doors, and everything else in memory. `events`
 * has the actions.
 */
function machine(stage: Stage = {}, saved: Assignment = new Map(), saveFails?: Error) {
  const events: string[] = [];
  const text = (entries: ReadonlyMap<string, string>): string =>
    [...entries].map(([name, at]) => ` ${name}=${at}`).join("");
  const deps = echoing();
  const real = createDoors({
    net,
    forwarding: () => deps,
    limits: () => unlimited,
    guard: createPlainGuard(net),
  });
  let assignment = saved;
  let addresses: readonly string[] = [];
  let hosts: ReadonlyMap<Hostname, string> = new Map();
  const world: World = {
    relay: {
      present: real.present,
      probe: real.probe,
      async apply(steps) {
        for (const { door } of steps.open ?? []) events.push(`open ${door.id}`);
        for (const id of steps.close ?? []) events.push(`close ${id}`);
        return await real.apply(steps, stage.drainMs ?? 10_000);
      },
    },
    machine: {
      get assignment() {
        return assignment;
      },
      async saveAssignment(next) {
        assignment = next;
        events.push(`save${text(next)}`);
        if (saveFails !== undefined) throw saveFails;
      },
      async apply({ names }) {
        hosts = new Map(names.map(({ host, ip }) => [host, ip]));
        addresses = names.map(({ ip, ip6 }) => [ip, ip6 ?? []].flat().join(" "));
        events.push(`advertise${text(hosts)}`);
        return (await stage.advertise?.(hosts)) ?? [];
      },
    },
    policy: {
      forbidden: (host) => forbiddenName(host, { hostnames: [], hosts: ["api.ngrok.test"] }),
    },
    link: {
      ground: stage.ground ?? { kind: "loopback", range: stage.range ?? range },
      carry: async () => undefined,
    },
    log: deps.log,
  };
  const staged = {
    events,
    doors: real,
    hosts: () => Object.fromEntries(hosts),
    names: () => addresses,
    saved: () => Object.fromEntries(assignment) as Record<string, string>,
    pass: (listed: readonly ApiEndpoint[]) => reconcile([{ account: "default", listed }], world),
    /** The reply of an endpoint. */
    async talk(host: string, port: number): Promise<string> {
      const conn = await net.dial({ host, port });
      await conn.write(bytes("hi"));
      conn.closeWrite();
      const answer = await read(conn);
      conn.close();
      return answer;
    },
  };
  machines.push(staged);
  return staged;
}

/** `URL state address: reason` */
const told = ({ endpoints }: Reconciled): string[] =>
  endpoints.map(
    ({ url, state, ip, port, reason }) =>
      `${url} ${state}${ip === "" ? "" : ` ${ip}:${port}`}${reason === "" ? "" : `: ${reason}`}`,
  );
