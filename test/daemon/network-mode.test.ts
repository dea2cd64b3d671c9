import { afterEach, describe, expect, test } from "bun:test";
import { createPlainGuard } from "../../src/access/guard.ts";
import { configSchema } from "../../src/config/schema.ts";
import { endpointStates } from "../../src/daemon/endpoint-states.ts";
import { networkBasis, openToAll, shareOnFreePorts } from "../../src/daemon/network-mode.ts";
import { expose } from "../../src/exposure/expose.ts";
import { doorwaysOf, type Exposure } from "../../src/exposure/exposure.ts";
import { plan } from "../../src/exposure/plan.ts";
import { reachOf } from "../../src/exposure/reach.ts";
import { share } from "../../src/exposure/share.ts";
import type { ApiEndpoint } from "../../src/model/endpoint.ts";
import { createMeter } from "../../src/model/meter.ts";
import { listeningSockets } from "../../src/net/proc-net.ts";
import { unlimited } from "../../src/relay/connection-limits.ts";
import { createDoors, type Doors } from "../../src/relay/doors.ts";
import { ip, subnet } from "../machine/support.ts";
import { net } from "../support/conns.ts";
import { echoing, endpoint, occupy } from "./support.ts";

const base = `127.${64 + (process.pid % 128)}`;
const [http, tcp] = ["http://a.demo:18301", "tcp://b.demo:18302"];

let all: Doors[] = [];
afterEach(async () => {
  for (const doors of all) await doors.drain(0, AbortSignal.abort());
  all = [];
});

describe("a port for other machines", () => {
  test("that another program has is left alone, whether or not doors of ours are there", async () => {
    for (const own of [false, true]) {
      const { relay, show, opened } = fresh();
      if (own) await show("virtual");
      const other = await occupy("127.0.0.1", 18_301);
      const { network } = await show("0.0.0.0");
      expect([own, network.get("a.demo:18301")?.places]).toEqual([
        own,
        [{ ip: ip("0.0.0.0"), port: 9080, door: "0.0.0.0:9080" }],
      ]);
      expect([own, opened()]).toEqual([
        own,
        [`${base}.0.1:18301`, "0.0.0.0:18302", "0.0.0.0:9080"].sort(),
      ]);
      other.close();
      await relay.drain(0, AbortSignal.abort());
    }
  });

  test("is looked up in one reading of the system's table", async () => {
    const { show, readings } = fresh();
    await show("virtual");
    await show("0.0.0.0");
    expect(readings()).toBe(1);
  });

  test("opens on all addresses of both families, and closes again", async () => {
    const { show, opened } = fresh();
    await show("virtual");
    await show("::");
    expect(opened()).toEqual(["[::]:18301", "[::]:18302"]);
    for (const at of ["::1", "127.0.0.1", `${base}.0.2`])
      (await net.dial({ host: at, port: 18_302 })).close();
    await show("::");
    expect(opened()).toEqual(["[::]:18301", "[::]:18302"]);
    await show("virtual");
    expect(opened()).toEqual([`${base}.0.1:18301`, `${base}.0.2:18302`]);
  });
});

describe("the states of endpoints behind one shared door", () => {
  test("are found without a search of the door for each of them", () => {
    const listed = Array.from({ length: 4000 }, (_, i) => endpoint("ep", `http://s${i}.demo`));
    const { exposure } = exposed(listed);
    const reach = reachOf({ listen_interface: "0.0.0.0", overrides: {} }, () => []);
    const taken = new Set<string>();
    const shared = share({ exposure, reach, ports: new Map(), startPort: 9080, taken });
    const meter = createMeter();
    let looks = 0;
    const present = new Map(
      doorwaysOf(shared.exposure).map((doorway) => {
        const lanes = doorway.routes.map((route) => {
          return {
            doorway,
            route,
            meter,
            conns: new Set<never>(),
            waiting: [],
            carry() {},
            take() {},
            ended() {},
          };
        });
        return [
          doorway.door.id,
          {
            get lanes() {
              looks += 1;
              return lanes;
            },
          },
        ];
      }),
    );
    const states = endpointStates({
      ...shared,
      unserved: [],
      wildcards: [],
      present,
      failures: new Map(),
      overridden: [],
    });
    expect(new Set(states.map(({ network }) => network?.sharedDoor))).toEqual(
      new Set(["0.0.0.0:80"]),
    );
    expect(looks).toBe(present.size);
  });
});

describe("the warning that nobody is excluded", () => {
  test("comes with any way for other machines, and with none without", () => {
    const textOf = (settings: object): string => openToAll(configSchema.parse({ net: settings }));
    expect(textOf({})).toBe("");
    expect(textOf({ overrides: { "a.demo": "virtual" } })).toBe("");
    expect(textOf({ overrides: { "a.demo": "eth0" } })).toContain("every machine");
    expect(textOf({ listen_interface: "192.0.2.1" })).toContain("every machine");
    const withRules = (...rules: object[]): string =>
      openToAll(configSchema.parse({ net: { listen_interface: "::" }, access: { rules } }));
    expect(withRules({ endpoint: "a.demo" })).toContain("those without a rule in access.rules");
    expect(withRules({ endpoint: "a.demo" }, { endpoint: "*" })).toBe("");
    expect(networkBasis(configSchema.parse({}))).toBeUndefined();
  });
});

function fresh() {
  const relay = createDoors({
    net,
    forwarding: () => echoing(),
    limits: () => unlimited,
    guard: createPlainGuard(net),
  });
  all.push(relay);
  const listed = [endpoint("ep_1", http), endpoint("ep_2", tcp)];
  const decided = exposed(listed);
  let count = 0;
  const listening: typeof listeningSockets = () => {
    count += 1;
    return listeningSockets();
  };
  return {
    relay,
    readings: () => count,
    opened: () => [...relay.present.keys()].sort(),
    /** Applies the exposure as a reconcile does. */
    async show(listen: string) {
      const reach = reachOf({ listen_interface: listen, overrides: {} }, () => []);
      const ports = new Map<string, number>();
      const savePorts = async () => undefined;
      const network = { reach, startPort: 9080, ports, savePorts, listening };
      const shared = await shareOnFreePorts(decided, { relay, network });
      await applied(relay, shared.exposure);
      return shared;
    },
  };
}

const exposed = (listed: readonly ApiEndpoint[]) =>
  expose({
    accounts: [{ account: "default", listed }],
    assignment: new Map(),
    policy: { forbidden: () => undefined },
    machine: { ground: { kind: "loopback", range: subnet(`${base}.0.0/16`) }, taken: new Set() },
  });

async function applied(relay: Doors, exposure: Exposure): Promise<void> {
  const { open, reroute, close, reopen } = plan(exposure, relay.present);
  const failures = new Map(await relay.apply({ open, reroute, close }, 0));
  for (const [id, reason] of await relay.apply({ open: reopen }, 0)) failures.set(id, reason);
  expect([...failures]).toEqual([]);
  expect(doorwaysOf(exposure)).toHaveLength(relay.present.size);
}
