import { describe, expect, test } from "bun:test";
import { allocate } from "../../src/exposure/allocate.ts";
import { expose } from "../../src/exposure/expose.ts";
import {
  decideGround,
  type GroundFacts,
  groundHas,
  groundText,
  groundWish,
  ip6Of,
  type MachineRoute,
  needsDevice,
  networkFacts,
  type VirtualGround,
} from "../../src/exposure/ground.ts";
import { ipv6Bytes, type Prefix6, parsePrefix6 } from "../../src/model/ip.ts";
import { endpoint } from "../daemon/support.ts";
import { host, ip, ip6, mapping, subnet } from "../machine/support.ts";

const own = prefix("fd11:2233:4455:6677::/64");
const virtual: VirtualGround = {
  kind: "virtual",
  range: subnet("10.107.0.0/16"),
  range6: own,
  device: "ngrokd0",
};

describe("the ground of a wish", () => {
  test("is loopback, and needs no device, for a loopback subnet of any size", () => {
    for (const text of ["127.0.0.0/8", "127.7.0.0/16"]) {
      const wish = groundWish({ subnet: text, subnet6: "auto", interface_name: "ngrokd0" });
      expect(needsDevice(wish)).toBe(false);
      expect(decideGround(wish, facts([route("127.0.0.0/8", "lo")]))).toEqual({
        ground: { kind: "loopback", range: subnet(text) },
        remarks: [],
      });
    }
  });

  test("is an interface with a prefix of this machine for any other subnet", () => {
    expect(
      decided("10.107.0.0/16", [route("0.0.0.0/0", "eth0"), route("192.168.1.0/24", "eth0")]),
    ).toEqual(["10.107.0.0/16 and fd11:2233:4455:6677::/64 on ngrokd0"]);
  });

  test.each([
    ["10.107.0.0/16", "docker0"],
    ["10.107.5.0/24", "wg0"],
    ["10.107.0.9/32", "eth0"],
  ])("is loopback if the subnet contains the network %s of %s, which is named", (to, device) => {
    expect(decided("10.107.0.0/16", [route("10.0.0.0/8", "tun9"), route(to, device)])).toEqual([
      "127.0.0.0/8",
      `net.subnet 10.107.0.0/16 overlaps the network ${to} of the interface "${device}", ` +
        "so loopback is used; net.subnet: auto takes a free one",
    ]);
  });

  test("is used if it is a part of a wider network, and the network is named", () => {
    expect(decided("10.107.0.0/16", [route("10.0.0.0/8", "tun0")])).toEqual([
      "10.107.0.0/16 and fd11:2233:4455:6677::/64 on ngrokd0",
      'net.subnet 10.107.0.0/16 overlaps the network 10.0.0.0/8 of the interface "tun0": ' +
        "this machine cannot reach that part of it; net.subnet: auto takes a free one",
    ]);
  });

  test("takes a VPN's default route in two halves for no network", () => {
    const halves = [route("0.0.0.0/1", "tun0"), route("128.0.0.0/1", "tun0")];
    expect(decided("10.107.0.0/16", halves)).toHaveLength(1);
  });
});

describe("net.subnet: auto", () => {
  test("takes the first subnet that touches no network, wider or narrower", () => {
    expect(decided("auto", [])[0]).toStartWith("10.107.0.0/16");
    expect(decided("auto", [route("10.107.3.0/24", "wg0")])[0]).toStartWith("10.207.0.0/16");
    expect(decided("auto", [route("10.0.0.0/8", "wg0")])[0]).toStartWith("172.16.0.0/16");
    const all = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"].map((to) => route(to, "wg0"));
    expect(decided("auto", all)[0]).toStartWith("198.18.0.0/16");
  });

  test("keeps to the subnet of the saved addresses if it is still free", () => {
    const saved = ip("172.16.0.9");
    expect(decided("auto", [], saved)[0]).toStartWith("172.16.0.0/16");
    const taken = [route("172.16.0.0/24", "docker0")];
    expect(decided("auto", taken, saved)[0]).toStartWith("10.107.0.0/16");
    expect(decided("auto", [], ip("127.0.0.9"))[0]).toStartWith("10.107.0.0/16");
  });

  test("is loopback if all are taken, and names each network", () => {
    const all = ["10.0.0.0/8", "172.16.0.0/12", "198.18.0.0/15"].map((to) => route(to, "wg0"));
    const [ground, remark = "", ...more] = decided("auto", all);
    expect({ ground, more }).toEqual({ ground: "127.0.0.0/8", more: [] });
    expect(remark).toContain(
      '172.16.0.0/16 overlaps the network 172.16.0.0/12 of the interface "wg0"',
    );
  });
});

describe("net.subnet6", () => {
  test("off gives no IPv6 addresses, and a prefix is taken as it is", () => {
    const of = (subnet6: string) =>
      groundText(decideGround(wished("10.107.0.0/16", subnet6), facts([])).ground);
    expect(of("off")).toBe("10.107.0.0/16 on ngrokd0");
    expect(of("fd00:0:0:1::/64")).toBe("10.107.0.0/16 and fd00:0:0:1::/64 on ngrokd0");
  });

  test.each([
    ["fd11:2233:4455:6677::/64", true],
    ["fd11:2233:4455:6677::9/128", true],
    ["fd11:2233:4455::/48", true],
    ["fd11:2233:4455:6678::/64", false],
    ["fe80::/64", false],
    ["fc00::/7", false],
    ["::/0", false],
  ])("gives none if the prefix overlaps a network: %s is one: %j", (to, isOverlap) => {
    const [address = "", bits = ""] = to.split("/");
    const six = {
      to: undefined,
      to6: { bytes: ipv6Bytes(address), bits: Number(bits) },
      device: "wg0",
    };
    expect(decided("10.107.0.0/16", [six])).toEqual(
      isOverlap
        ? [
            "10.107.0.0/16 on ngrokd0",
            "net.subnet6 fd11:2233:4455:6677::/64 overlaps a network of the interface " +
              '"wg0", so names get no IPv6 addresses',
          ]
        : ["10.107.0.0/16 and fd11:2233:4455:6677::/64 on ngrokd0"],
    );
  });
});

describe("a virtual ground", () => {
  test("gives each name an address of each family with the same host part", () => {
    const second = (text: string): string | undefined => ip6Of(virtual, ip(text));
    expect(second("10.107.3.4")).toBe("fd11:2233:4455:6677::304");
    expect(second("10.107.255.254")).toBe("fd11:2233:4455:6677::fffe");
    expect(second("127.0.0.2")).toBeUndefined();
    expect(ip6Of({ ...virtual, range6: undefined }, ip("10.107.3.4"))).toBeUndefined();
    expect(
      ip6Of({ kind: "loopback", range: subnet("127.0.0.0/8") }, ip("127.0.0.2")),
    ).toBeUndefined();
  });

  test("has both its ranges, and no other address", () => {
    const all = ["10.107.9.9", "fd11:2233:4455:6677::9", "10.108.0.1", "fd11::1", "", "x"];
    expect(all.filter((text) => groundHas(virtual, text))).toEqual(all.slice(0, 2));
  });

  test("is told as plain texts", () => {
    expect(networkFacts(virtual)).toEqual({
      kind: "virtual",
      interface: "ngrokd0",
      subnet: "10.107.0.0/16",
      subnet6: "fd11:2233:4455:6677::/64",
    });
  });

  test("gives each binding a door on both addresses, the second ones last", () => {
    const { exposure } = expose({
      accounts: [
        {
          account: "default",
          listed: [endpoint("ep_1", "http://a.demo"), endpoint("ep_2", "http://b.demo")],
        },
      ],
      assignment: mapping({}),
      policy: { forbidden: () => undefined },
      machine: { ground: virtual, taken: new Set() },
    });
    expect(exposure.doors.map(({ id }) => id)).toEqual([
      "10.107.0.2:80",
      "10.107.0.3:80",
      "[fd11:2233:4455:6677::2]:80",
      "[fd11:2233:4455:6677::3]:80",
    ]);
    expect(new Set(exposure.routes.map(({ target }) => target)).size).toBe(2);
    expect(exposure.names[0]).toEqual({
      host: host("a.demo"),
      ip: ip("10.107.0.2"),
      ip6: ip6("fd11:2233:4455:6677::2"),
    });
    expect(exposure.addresses).toHaveLength(4);
  });
});

describe("a change of the subnet", () => {
  const wanted = ["a.demo", "b.demo", "c.demo"].map((name) => endpoint("", `http://${name}`));
  const moved = (saved: Record<string, string>, to: string, taken: string[] = []) =>
    Object.fromEntries(
      allocate({
        wanted: wanted.map(({ url }) => url.slice(7)) as never,
        saved: mapping(saved),
        range: subnet(to),
        avoid: new Set(taken.map(ip)),
      }).assignment,
    ) as Record<string, string>;

  test("keeps the host part of every name, also of absent ones, there and back", () => {
    const before = {
      "gone.demo": "127.0.9.9",
      "a.demo": "127.0.0.2",
      "b.demo": "127.0.3.4",
      "c.demo": "127.0.0.7",
    };
    const there = moved(before, "10.107.0.0/16");
    expect(there).toEqual({
      "gone.demo": "10.107.9.9",
      "a.demo": "10.107.0.2",
      "b.demo": "10.107.3.4",
      "c.demo": "10.107.0.7",
    });
    expect(moved(moved(there, "10.207.0.0/16"), "127.0.0.0/8")).toEqual(before);
  });

  test("gives another address if that one is reserved, held, or of another program", () => {
    const before = { "a.demo": "127.0.0.1", "b.demo": "127.7.0.9", "c.demo": "10.107.0.9" };
    expect(moved(before, "10.107.0.0/16")).toMatchObject({
      // .1 is the interface itself.
      "a.demo": "10.107.0.2",
      "b.demo": "10.107.0.3",
      "c.demo": "10.107.0.9",
    });
    expect(moved({ "a.demo": "127.0.0.7" }, "10.107.0.0/16", ["10.107.0.7"])).toMatchObject({
      "a.demo": "10.107.0.2",
    });
  });
});

function decided(
  subnetText: string,
  routes: readonly MachineRoute[],
  saved?: GroundFacts["saved"],
) {
  const { ground, remarks } = decideGround(wished(subnetText), { ...facts(routes), saved });
  return [groundText(ground), ...remarks];
}

function wished(subnetText: string, subnet6 = "auto") {
  return groundWish({ subnet: subnetText, subnet6, interface_name: "ngrokd0" });
}

function facts(routes: readonly MachineRoute[]): GroundFacts {
  return { routes, prefix: own, saved: undefined };
}

function route(to: string, device: string): MachineRoute {
  return { to: subnet(to), to6: undefined, device };
}

function prefix(text: string): Prefix6 {
  const read = parsePrefix6(text);
  if (!read.ok) throw new Error(read.reason);
  return read.value;
}
