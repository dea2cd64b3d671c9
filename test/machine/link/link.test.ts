import { describe, expect, test } from "bun:test";
import { createOwnAddresses } from "../../../src/access/own-addresses.ts";
import {
  groundText,
  groundWish,
  type MachineRoute,
  type VirtualGround,
} from "../../../src/exposure/ground.ts";
import { createLink } from "../../../src/machine/link/link.ts";
import { ipv4In } from "../../../src/machine/link/name-servers.ts";
import { ownPrefix, prefixOf } from "../../../src/machine/link/own-prefix.ts";
import type { LinkSystem } from "../../../src/machine/link/system.ts";
import { NgrokdError } from "../../../src/model/error.ts";
import { type AnyIp, type Ip, prefix6Text } from "../../../src/model/ip.ts";
import { memoryLog } from "../../support/memory-log.ts";
import { ip, subnet } from "../support.ts";

const wish = (text: string) =>
  groundWish({ subnet: text, subnet6: "off", interface_name: "ngrokd0" });
const unused = (): AnyIp[] => [];

describe("the virtual interface", () => {
  test("is not even looked for if the addresses are loopback ones", async () => {
    const { link, world } = staged();
    await link.settle(wish("127.7.0.0/16"));
    expect(await link.guard(unused)).toBe(false);
    expect({ opened: world.opened, ground: groundText(link.ground), log: world.log.lines }).toEqual(
      {
        opened: 0,
        ground: "127.7.0.0/16",
        log: [],
      },
    );
  });

  test("stays for the old addresses until nothing uses them", async () => {
    const { link, world } = staged();
    await link.settle(wish("10.107.0.0/16"));
    await link.settle(wish("127.0.0.0/8"));
    expect(groundText(link.ground)).toBe("127.0.0.0/8");
    await link.guard(() => [ip("10.107.0.2")]);
    expect(world.held).toEqual(["10.107.0.0/16 on ngrokd0"]);
    await link.guard(() => [ip("127.0.0.2")]);
    expect({ held: world.held, devices: link.devices }).toEqual({ held: [], devices: [] });
  });

  test("holds the old subnet and the next one at once, and then the next one alone", async () => {
    const { link, world } = staged();
    await link.settle(wish("10.107.0.0/16"));
    await link.settle(wish("10.207.0.0/16"));
    expect(world.held).toEqual(["10.107.0.0/16 on ngrokd0", "10.207.0.0/16 on ngrokd0"]);
    await link.guard(unused);
    expect(world.held).toEqual(["10.207.0.0/16 on ngrokd0"]);
  });

  test("that is refused is loopback with the reason, and is tried again after a minute", async () => {
    const { link, world } = staged();
    world.refusal = new NgrokdError("permission", "Cannot make the interface", {
      hint: "ask root",
    });
    await link.settle(wish("10.107.0.0/16"));
    expect(groundText(link.ground)).toBe("127.0.0.0/8");
    expect(link.remarks).toEqual([
      "Cannot make the interface (ask root); names get loopback addresses instead",
    ]);
    world.refusal = undefined;
    expect(await link.guard(unused)).toBe(false);
    world.now += 60_000;
    expect(await link.guard(unused)).toBe(true);
    expect({ ground: groundText(link.ground), remarks: link.remarks }).toEqual({
      ground: "10.107.0.0/16 on ngrokd0",
      remarks: [],
    });
  });

  test("is looked at only after a change, and a new network in its subnet moves it", async () => {
    const { link, world } = staged();
    await link.settle(wish("auto"));
    world.routes = [{ to: subnet("10.107.5.0/24"), to6: undefined, device: "wg0" }];
    expect(await link.guard(unused)).toBe(false);
    world.changed = true;
    expect(await link.guard(unused)).toBe(true);
    expect(groundText(link.ground)).toBe("10.207.0.0/16 on ngrokd0");
    world.routes = [];
    await link.guard(unused);
    expect(groundText(link.ground)).toBe("10.207.0.0/16 on ngrokd0");
  });

  test("gives way to a program that removes it again and again", async () => {
    const { link, world } = staged();
    await link.settle(wish("10.107.0.0/16"));
    world.changed = true;
    world.mended = ["route"];
    for (let n = 0; n < 10; n += 1) await link.guard(unused);
    expect(world.holds).toBe(4);
    expect(world.log.lines.at(-1)).toContain("This happens again and again");
    world.now += 61_000;
    await link.guard(unused);
    expect(world.holds).toBe(5);
  });

  test("is put back after the wait, if it was removed during the wait", async () => {
    const { link, world } = staged();
    await link.settle(wish("10.107.0.0/16"));
    world.mended = ["route"];
    const removed = async (): Promise<void> => {
      world.changed = true;
      await link.guard(unused);
      world.changed = false;
    };
    for (let n = 0; n < 4; n += 1) await removed();
    expect({ holdsBefore: world.holds }).toEqual({ holdsBefore: 4 });
    world.now += 61_000;
    await link.guard(unused);
    await link.guard(unused);
    expect({ holdsAfter: world.holds }).toEqual({ holdsAfter: 5 });
  });

  test("is gone after a close", async () => {
    const { link, world } = staged();
    await link.settle(wish("10.107.0.0/16"));
    await link.close();
    expect({ closed: world.closed, devices: link.devices }).toEqual({ closed: 1, devices: [] });
  });
});

describe("the name servers", () => {
  test("of resolv.conf are read, without loopback and IPv6", () => {
    const text =
      "# nameserver 9.9.9.9\nnameserver 10.107.0.53\n nameserver\t1.1.1.1\nnameserver ::1\n";
    expect(ipv4In(`${text}nameserver 127.0.0.53\nsearch lan\n`)).toEqual([
      ip("10.107.0.53"),
      ip("1.1.1.1"),
    ]);
  });

  test("are never hidden by the subnet, also those behind a gateway", async () => {
    const { link, world } = staged();
    world.servers = [ip("10.107.0.53")];
    await link.settle(wish("10.107.0.0/16"));
    expect({ ground: groundText(link.ground), remarks: link.remarks }).toEqual({
      ground: "127.0.0.0/8",
      remarks: [
        "net.subnet 10.107.0.0/16 contains the name server 10.107.0.53, so loopback is used; " +
          "net.subnet: auto takes a free one",
      ],
    });
    await link.settle(wish("auto"));
    expect(groundText(link.ground)).toBe("10.207.0.0/16 on ngrokd0");
  });
});

describe("the prefix of a machine", () => {
  test("is a unique local one, the same every time, and another on another machine", () => {
    const text = prefix6Text(prefixOf("a"));
    expect(text).toMatch(/^fd[\da-f]{2}:[\da-f:]+\/64$/);
    expect(prefix6Text(prefixOf("a"))).toBe(text);
    expect(prefix6Text(prefixOf("b"))).not.toBe(text);
    expect(prefix6Text(ownPrefix("/nowhere"))).toBe(prefix6Text(ownPrefix("/nowhere/else")));
  });
});

describe("the addresses of this machine", () => {
  test("are read again, at most once a second, and an address may go away", () => {
    let [reads, now] = [0, 0];
    const addresses = ["192.0.2.1"];
    const isOwn = createOwnAddresses(
      () => {
        reads += 1;
        return { eth0: addresses.map((address) => ({ address })) } as never;
      },
      () => now,
    );
    expect(["192.0.2.1", "192.0.2.9", "192.0.2.1", "192.0.2.9"].map(isOwn)).toEqual([
      true,
      false,
      true,
      false,
    ]);
    expect(reads).toBe(1);
    addresses.push("192.0.2.9");
    now = 1000;
    expect([isOwn("192.0.2.9"), reads]).toEqual([true, 2]);
    addresses.shift();
    now = 2000;
    expect({ isOwnAfterItsEnd: isOwn("192.0.2.1") }).toEqual({ isOwnAfterItsEnd: false });
  });
});

/** A link on a machine that keeps account of what it is told. */
function staged() {
  const world = {
    opened: 0,
    closed: 0,
    holds: 0,
    held: [] as string[],
    routes: [] as MachineRoute[],
    servers: [] as Ip[],
    changed: false,
    mended: [] as string[],
    refusal: undefined as NgrokdError | undefined,
    now: 0,
    log: memoryLog(),
  };
  const system: LinkSystem = {
    routes: async () => world.routes,
    async hold(grounds: readonly VirtualGround[]) {
      if (world.refusal !== undefined) throw world.refusal;
      world.holds += 1;
      world.held = grounds.map(groundText);
      return { mended: world.holds === 1 ? [] : world.mended, withoutIp6: undefined };
    },
    carry: async () => undefined,
    changed: async () => world.changed,
    async close() {
      world.closed += 1;
    },
  };
  const link = createLink({
    system: async () => {
      world.opened += 1;
      return system;
    },
    prefix: () => prefixOf("test"),
    servers: () => world.servers,
    saved: () => undefined,
    log: world.log,
    now: () => world.now,
  });
  return { link, world };
}
