import { describe, expect, test } from "bun:test";
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import type { VirtualGround } from "../../../src/exposure/ground.ts";
import { linuxLinks } from "../../../src/machine/link/linux.ts";
import type { Routing } from "../../../src/net/types.ts";
import { subnet } from "../support.ts";

// Each scene runs in a network namespace of its own, which needs root.
const canRun = process.platform === "linux" && spawnSync("unshare", ["-nm", "true"]).status === 0;
const six = "fd11:2233:4455:6677";

describe("an interface of Linux", () => {
  const ground: VirtualGround = {
    kind: "virtual",
    range: subnet("10.107.0.0/16"),
    range6: undefined,
    device: "ngrokd0",
  };
  test.each([
    ["cannot be found", "links"],
    ["cannot be started", "up"],
    ["gets no address", "address"],
  ] as const)("that %s is closed, so that it can be made again", async (_, failing) => {
    const { routing, open } = kernelThatFails(failing);
    await expect(linuxLinks(routing).hold([ground])).rejects.toMatchObject({ code: "network" });
    expect({ open }).toEqual({ open: new Set() });
  });
});

describe("the interface that the Go program leaves on Linux", () => {
  const [go, others] = [["10.107.0.1/16", "10.107.0.9/16"], ["192.0.2.7/24"]];

  test("is no network in the way, and is removed before ours is made", async () => {
    const { routing, done } = kernelWith("dummy", go);
    const links = linuxLinks(routing);
    expect(await links.routes("ngrokd0")).toEqual([]);
    expect(done).toEqual([]);
    const ground: VirtualGround = {
      kind: "virtual",
      range: subnet("10.107.0.0/16"),
      range6: undefined,
      device: "ngrokd0",
    };
    expect(await links.hold([ground])).toMatchObject({ mended: [], removed: ["ngrokd0"] });
    expect(done.slice(0, 2)).toEqual(["remove the link 7", "make ngrokd0"]);
  });

  test.each([
    ["another kind of link", "bridge", go],
    ["a link with addresses of others", "dummy", [...go, ...others]],
    ["a link without an address that ends in .1", "dummy", ["10.107.0.9/16"]],
    ["a link without addresses", "dummy", []],
  ])("is not %s: that stays, and its network counts", async (_, kind, addresses) => {
    const { routing, done } = kernelWith(kind, addresses);
    expect(await linuxLinks(routing).routes("ngrokd0")).toMatchObject([{ device: "ngrokd0" }]);
    expect(await linuxLinks(routing).routes("other0")).toHaveLength(1);
    expect(done).toEqual([]);
  });
});

/** A kernel with a link "ngrokd0" of number 7, and a route that leads there. */
function kernelWith(kind: string, addresses: readonly string[]) {
  const done: string[] = [];
  const there = new Set([kind]);
  const attribute = (type: number, value: readonly number[]): number[] => {
    const padding = Array<number>((4 - (value.length % 4)) % 4).fill(0);
    return [value.length + 4, 0, type, 0, ...value, ...padding];
  };
  const letters = (text: string): number[] => [...new TextEncoder().encode(text)];
  const linkOf = (what: string): Uint8Array => {
    const head = [0, 0, 0, 0, 7, ...Array<number>(11).fill(0)];
    const info = attribute(18, attribute(1, letters(what)));
    return Uint8Array.from([...head, ...attribute(3, letters("ngrokd0")), ...info]);
  };
  const addressOf = (text: string): Uint8Array => {
    const [address = "", bits = ""] = text.split("/");
    const bytes = address.split(".").map(Number);
    return Uint8Array.from([2, Number(bits), 0, 0, 7, 0, 0, 0, ...attribute(2, bytes)]);
  };
  const route = [2, 16, 0, 0, 254, 2, 253, 1, 0, 0, 0, 0];
  const to = [...attribute(1, [10, 107, 0, 0]), ...attribute(4, [7, 0, 0, 0])];
  const [newLink, oldLink, getLink, newAddress, getAddress] = [16, 17, 18, 20, 22];
  const [newRoute, getRoute] = [24, 26];
  const routing: Routing = {
    tun(name) {
      done.push(`make ${name}`);
      if (there.size > 0) throw new Error("there is one of this name");
      there.add("tun");
      return { fd: -1, close: () => undefined };
    },
    adoptTun: () => assert.fail("nothing is inherited"),
    inherited: [],
    ask(request) {
      const is = (bodies: readonly Uint8Array[], type: number) => {
        return { messages: bodies.map((body) => ({ type, body })), errno: 0 };
      };
      const type = request[4];
      const isOld = there.has(kind);
      if (type === getLink) return is([...there].map(linkOf), newLink);
      if (type === getAddress) return is(isOld ? addresses.map(addressOf) : [], newAddress);
      if (type === getRoute) return is(isOld ? [Uint8Array.from([...route, ...to])] : [], newRoute);
      if (type === oldLink) {
        done.push(`remove the link ${request[20]}`);
        there.clear();
      }
      return is([], 0);
    },
    changed: () => false,
    close: () => undefined,
  };
  return { routing, done };
}

/** A kernel that fails at one kind of request once there is an interface. */
function kernelThatFails(failing: "links" | "up" | "address") {
  const open = new Set<string>();
  const [newLink, getLink, newAddress] = [16, 18, 20];
  const failingType = { links: getLink, up: newLink, address: newAddress }[failing];
  const link = new Uint8Array(28);
  link[4] = 7;
  link.set([12, 0, 3, 0, ...new TextEncoder().encode("ngrokd0")], 16);
  const routing: Routing = {
    tun(name) {
      open.add(name);
      return { fd: -1, close: () => void open.delete(name) };
    },
    adoptTun: () => assert.fail("nothing is inherited"),
    inherited: [],
    ask(request) {
      const type = request[4];
      if (open.size > 0 && type === failingType) return { messages: [], errno: 105 };
      const isThere = open.size > 0 && type === getLink;
      return { messages: isThere ? [{ type: newLink, body: link }] : [], errno: 0 };
    },
    changed: () => false,
    close: () => undefined,
  };
  return { routing, open };
}

describe.skipIf(!canRun)("the virtual interface of Linux", () => {
  test("carries every address of both families, and is put back part by part", () => {
    const { told, warnings, left } = scene("repaired");
    const well = {
      again: false,
      answers: ["10.107.3.4", `${six}::304`],
      addresses: ["10.107.0.1/32", `${six}::1/128`],
    };
    expect(told).toEqual({
      none: well,
      link: well,
      name: well,
      state: well,
      address: well,
      route: well,
      route6: well,
    });
    expect({ warnings, left }).toEqual({ warnings: 6, left: "0" });
  });

  test("moves off a network that appears; its old subnet stays while it is used", () => {
    expect(scene("overlapped")).toEqual({
      first: `10.107.0.0/16 and ${six}::/64 on ngrokd0`,
      moved: true,
      next: `10.207.0.0/16 and ${six}::/64 on ngrokd0`,
      kept: "1",
      dropped: "0",
      explicit: {
        ground: "127.0.0.0/8",
        remarks: [
          expect.stringMatching(
            /^net\.subnet 10\.107\.0\.0\/16 overlaps the network 10\.107\.5\.\d+\/\d+ of the interface "v0", so loopback is used/,
          ),
        ],
      },
      devices: [],
      left: "0",
    });
  });

  test("gets another name, or loses IPv6, while its addresses stay in use", () => {
    const both = `10.107.0.0/16 and ${six}::/64`;
    expect(scene("renamed")).toEqual({
      told: [
        `${both} on ngrokd0; ngrokd0; 10.107.3.4`,
        `${both} on ngrokd1; ngrokd0 ngrokd1; 10.107.3.4`,
        `${both} on ngrokd1; ngrokd1; 10.107.3.4`,
        "10.107.0.0/16 on ngrokd1; ngrokd1; 10.107.3.4",
      ],
      routes: "0",
    });
  });

  test("leaves no link, address or route behind after 20 kills, also with a child", () => {
    expect(scene("killed")).toEqual({ changed: [] });
  }, 120_000);

  test.each([
    ["without /dev/net/tun", "mount -t tmpfs tmpfs /dev/net && exec", "no /dev/net/tun"],
    [
      "without the right",
      "exec setpriv --bounding-set -net_admin",
      "needs the right CAP_NET_ADMIN",
    ],
  ])("is loopback with the reason, %s", (_, before, reason) => {
    const { ground, remarks, devices } = scene("refused", before);
    expect({ ground, devices }).toEqual({ ground: "127.0.0.0/8", devices: [] });
    expect(remarks).toEqual([
      expect.stringMatching(
        new RegExp(`^Cannot make the interface "ngrokd0": .*${reason}.*; names get loopback`),
      ),
    ]);
  });

  test("leaves an interface of another program alone, and says so", () => {
    expect(scene("named")).toEqual({
      ground: "127.0.0.0/8",
      remarks: [
        'Cannot make the interface "ngrokd0": another program has one of this name; ' +
          "names get loopback addresses instead",
      ],
      devices: [],
    });
  });

  test("gives IPv4 addresses only on a system without IPv6, and says so if it was asked", () => {
    expect(scene("without6")).toEqual({
      ground: "10.107.0.0/16 on ngrokd0",
      remarks: ["Names get no IPv6 addresses: IPv6 is off on this machine"],
      answer: "10.107.3.4",
    });
  });
});

// biome-ignore lint/suspicious/noExplicitAny: each scene has facts of its own.
function scene(name: string, before = "exec"): any {
  const child = join(import.meta.dir, "linux.child.ts");
  const { stdout, stderr } = spawnSync(
    "unshare",
    ["-nm", "sh", "-c", `ip link set lo up && ${before} "$@"`, "sh", process.execPath, child, name],
    { encoding: "utf8" },
  );
  try {
    return JSON.parse(stdout.trim().split("\n").at(-1) ?? "");
  } catch {
    throw new Error(`the scene "${name}" failed: ${stdout}${stderr}`);
  }
}
