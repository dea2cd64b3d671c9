import { describe, expect, test } from "bun:test";
import type { NetworkInterfaceInfo } from "node:os";
import {
  type Clocks,
  type Moved,
  networkKey,
  startWatch,
  timeJumped,
} from "../../src/machine/wake.ts";
import { later } from "../support/conns.ts";

const clocks = (wall: number, steady: number): Clocks => ({ wall, steady });

describe("timeJumped", () => {
  const since = clocks(1_000_000, 0);
  test.each<[string, Clocks, boolean]>([
    ["a look in time", clocks(1_002_000, 2000), false],
    ["a look that is late since the machine is busy", clocks(1_006_500, 6500), false],
    ["sleep in which both clocks went on", clocks(1_060_000, 60_000), true],
    ["sleep in which the steady clock stood still", clocks(1_060_000, 2000), true],
    ["a clock set forward by a minute", clocks(1_062_000, 2000), true],
    ["a clock set back by a year", clocks(-31_000_000_000, 2000), true],
    ["a clock that is slewed", clocks(1_002_001, 2000), false],
  ])("%s", (_, now, jumped) => {
    expect(timeJumped(since, now, 2000)).toBe(jumped);
  });
});

describe("networkKey", () => {
  const head =
    "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";
  const route = "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n";
  const lan = "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
  const half = "tun0\t00000080\t0100080A\t0003\t0\t0\t0\t00000080\t0\t0\t0\n";
  const at = (...addresses: string[]) =>
    addresses.map((address) => ({ address }) as NetworkInterfaceInfo);
  const home = networkKey(
    { lo: at("127.0.0.1", "::1"), eth0: at("192.0.2.5", "fe80::1") },
    head + route + lan,
  );

  test("names addresses and the routes that lead everywhere", () => {
    expect(home).toBe("eth0 192.0.2.5\neth0 00000000/00000000 010200C0 0");
  });

  test.each<[string, string]>([
    [
      "another order",
      networkKey({ eth0: at("fe80::1", "192.0.2.5"), lo: at("127.0.0.1") }, head + lan + route),
    ],
    [
      "a container's interface",
      networkKey(
        { lo: [], eth0: at("192.0.2.5"), veth1: at("fe80::2", "169.254.7.7") },
        head + route,
      ),
    ],
    [
      "an address of our own on the loopback",
      networkKey({ lo: at("127.0.0.1", "127.0.0.9"), eth0: at("192.0.2.5") }, head + route),
    ],
  ])("stays equal with %s", (_, key) => {
    expect(key).toBe(home);
  });

  test.each<[string, string]>([
    ["another address", networkKey({ eth0: at("192.0.2.6") }, head + route)],
    ["a VPN's half of all routes", networkKey({ eth0: at("192.0.2.5") }, head + route + half)],
    ["no route", networkKey({ eth0: at("192.0.2.5") }, head)],
    [
      "another gateway",
      networkKey({ eth0: at("192.0.2.5") }, head + route.replace("010200C0", "020200C0")),
    ],
  ])("differs with %s", (_, key) => {
    expect(key).not.toBe(home);
  });
});

describe("the watch", () => {
  async function watched(
    steps: { clocks?: Clocks; network?: string | undefined }[],
  ): Promise<{ moved: Moved[]; looks: () => number }> {
    const moved: Moved[] = [];
    const finished = Promise.withResolvers<void>();
    let looks = 0;
    // Between two checks the clocks are read twice. The next check counts from
    // the second reading.
    const step = () => steps[Math.min(looks, steps.length - 1)] ?? {};
    const watch = startWatch({
      moved: (what) => moved.push(what),
      async look() {
        looks += 1;
        if (looks === steps.length) finished.resolve();
      },
      intervalMs: 1,
      clocks: () => step().clocks ?? clocks(0, 0),
      network: () => ("network" in step() ? step().network : "home"),
    });
    await finished.promise;
    await watch.stop();
    return { moved, looks: () => looks };
  }

  test("reports nothing while nothing moves, checks each time, and stops when stopped", async () => {
    const seen = await watched([{}, {}, {}]);
    expect(seen.moved).toEqual([]);
    await later(5);
    expect(seen.looks()).toBe(3);
  });

  test("reports a change of the network once; a failed question is no change", async () => {
    const { moved } = await watched([
      {},
      { network: undefined },
      { network: "office" },
      { network: "office" },
    ]);
    expect(moved).toEqual(["network"]);
  });

  // The clocks are read at the start, then before and after each check.
  test.each([
    ["between two looks", 4],
    ["in the middle of a look", 5],
  ])("reports a sleep %s once", async (_when, read) => {
    let reads = 0;
    const moved: Moved[] = [];
    const finished = Promise.withResolvers<void>();
    let looks = 0;
    const watch = startWatch({
      moved: (what) => moved.push(what),
      async look() {
        looks += 1;
        if (looks === 3) finished.resolve();
      },
      intervalMs: 1,
      clocks: () => clocks(++reads >= read ? 3_600_000 : 0, 0),
      network: () => "home",
    });
    await finished.promise;
    await watch.stop();
    expect(moved).toEqual(["time"]);
  });
});
