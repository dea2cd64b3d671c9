import { beforeAll, expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { unitText } from "../../src/service/unit.ts";
import { type Cloud, configFor, registered } from "../support/cloud.ts";
import { type Daemon, examine, ngrokd, run, serve, writeConfig } from "../support/ngrokd.ts";
import { repairedInTime } from "../support/repairs.ts";
import { carries, echoes, talking } from "../support/round-trip.ts";
import { sandboxed, unitFacts } from "../support/sandbox.ts";
import { atEnd, foreignHosts, stories, until } from "../support/story.ts";
import { echo, type Peer } from "../support/tcp.ts";

const hosts = (): string => readFileSync("/etc/hosts", "latin1");
const sh = async (command: string): Promise<string> => {
  const { code, out, err } = await run(["sh", "-c", command]);
  if (code !== 0) throw new Error(`${command}: ${err}`);
  return out.trim();
};
/** Everything that an interface could leave behind. */
const world = (): Promise<string> =>
  sh("ip -o link; ip -o addr; ip route show table all; ip -6 route show table all");
const addressesOf = async (name: string): Promise<string[]> => {
  const { out } = await run(["getent", "ahosts", name]);
  return [...new Set(out.split("\n").map((line) => line.split(" ")[0] ?? ""))].filter(Boolean);
};
const six = (text: string): RegExp => new RegExp(`^fd[\\da-f:]+::${text}$`);

const virtual = { net: { subnet: "10.107.0.0/16" } };
const auto = { net: { subnet: "auto" } };

/** A cloud with an echo behind a.demo:7000, and a daemon with this network. */
async function serving(config: object, args = "--json"): Promise<{ cloud: Cloud; daemon: Daemon }> {
  const { cloud, daemon } = await registered({ config: { ...config }, args });
  await cloud.add("tcp://a.demo:7000", (await echo()).address);
  await daemon.becomes("a.demo", "listening");
  return { cloud, daemon };
}

stories("names on a virtual interface", () => {
  let cloud: Cloud;
  let daemon: Daemon;

  beforeAll(async () => {
    ({ cloud, daemon } = await serving(virtual));
  });

  test("have an address of each family with one host part, and both carry", async () => {
    const [v4 = "", v6 = "", ...more] = (await addressesOf("a.demo")).sort();
    expect({ v4, more }).toEqual({ v4: "10.107.0.2", more: [] });
    expect(v6).toMatch(six("2"));
    expect(await carries(v4, 7000)).toBe(true);
    expect(await carries(v6, 7000)).toBe(true);
    expect(hosts()).toContain(`10.107.0.2\ta.demo\n${v6}\ta.demo\n`);
  });

  test("are shown by status, list, plan, doctor and why", async () => {
    const { network, warnings } = await daemon.status();
    expect({ network, warnings }).toEqual({
      network: {
        kind: "virtual",
        interface: "ngrokd0",
        subnet: "10.107.0.0/16",
        subnet6: expect.stringMatching(/^fd[\da-f:]+::\/64$/),
      },
      warnings: [],
    });
    const item = await daemon.endpoint("a.demo");
    expect(item).toMatchObject({ ip: "10.107.0.2", ip6: expect.stringMatching(six("2")) });
    expect((await ngrokd("status")).out).toContain("Network:        ngrokd0, 10.107.0.0/16, fd");
    expect((await ngrokd("plan")).out).toBe("Nothing would change; endpoints served: 1.\n");
    expect((await examine("doctor")).out).toContain(
      "Network          names get addresses of 10.107.0.0/16 and",
    );
    const why = (await examine("why a.demo:7000")).out.replaceAll(/\s+/g, " ");
    expect(why).toMatch(/"a\.demo" leads to (?:10\.107\.0\.2 and fd|fd\S+ and 10\.107\.0\.2)/);
  });

  test("are put back within five seconds if another program removes the interface", async () => {
    const peer = await talking("10.107.0.2", 7000);
    const before = await sh("ip -o -4 addr show dev ngrokd0");
    await repairedInTime(
      daemon.pid,
      () => sh("ip link del ngrokd0"),
      () => carries("10.107.0.2", 7000),
    );
    expect((await sh("ip -o -4 addr show dev ngrokd0")).replace(/^\d+/, "")).toBe(
      before.replace(/^\d+/, ""),
    );
    expect(await echoes(peer, "still here")).toBe(true);
    peer.reset();
    await until("the log says so", () => daemon.log().includes("was removed by another program"));
    expect(daemon.log()).not.toContain("The network has changed");
  });

  test("are refused to another machine that has a route to this one, which is counted", async () => {
    await strangerAt("172.30.0");
    const says = (host: string): Promise<string> =>
      sh(
        `ip netns exec stranger timeout 60 bash -c 'exec 3<>/dev/tcp/${host}/7000 && echo hi >&3 && head -c 2 <&3' 2>&1 || true`,
      );
    expect(await says("10.107.0.2")).not.toBe("hi");
    const item = await daemon.endpoint("a.demo");
    expect(item?.connections.last_error).toBe(
      "reset at once: another machine may not connect, since no rule of access.rules names it (172.30.0.2)",
    );
    expect(await carries("10.107.0.2", 7000)).toBe(true);
  });

  test("leave nothing behind at a stop", async () => {
    expect(await daemon.stop()).toBe(0);
    expect(await sh("ip -o link; ip route show table all; ip -6 route show table all")).not.toMatch(
      // Only at the beginning: a MAC with fd makes fe80::…:fdff:fe….
      /ngrokd|10\.107|(?<![\da-f:])fd[\da-f]{2}:/,
    );
    expect(hosts()).toBe(foreignHosts);
    expect(cloud.pid).toBeGreaterThan(0);
  });
});

stories("a reload from loopback to a virtual interface and back", () => {
  test("moves the names and keeps their host parts; open connections go on", async () => {
    const { cloud, daemon } = await serving({});
    await cloud.add("tcp://b.demo:7001", (await echo()).address);
    await daemon.becomes("b.demo", "listening");
    const before = await addressesOf("b.demo");
    expect(before).toEqual(["127.0.0.3"]);
    const first = await talking("b.demo", 7001);

    writeConfig(configFor(cloud, virtual));
    expect((await daemon.reload()).ok).toBe(true);
    await until("b.demo has moved", async () =>
      (await addressesOf("b.demo")).includes("10.107.0.3"),
    );
    const second = await talking("10.107.0.3", 7001);
    expect(await echoes(first, "from loopback")).toBe(true);

    writeConfig(configFor(cloud, {}));
    expect((await daemon.reload()).ok).toBe(true);
    await until("b.demo is back", async () => (await addressesOf("b.demo"))[0] === "127.0.0.3");
    expect(await echoes(second, "from the interface")).toBe(true);
    expect(await carries("b.demo", 7001)).toBe(true);
    expect(await echoes(first, "from loopback")).toBe(true);
    expect(await sh("ip -o link show dev ngrokd0")).toContain("ngrokd0");

    for (const peer of [first, second]) peer.end();
    expect(await Promise.all([first, second].map((peer: Peer) => peer.left))).toEqual([
      "end",
      "end",
    ]);
    await until("the interface is gone", async () => !(await world()).includes("ngrokd0"));
    expect(await daemon.stop()).toBe(0);
  });
});

stories("a daemon with a virtual interface that is killed", () => {
  test("ten times leaves no link, address or route, and serves the same addresses", async () => {
    const before = await world();
    const { daemon: first } = await serving(virtual);
    let daemon = first;
    for (let n = 0; n < 10; n += 1) {
      expect((await daemon.endpoint("a.demo"))?.ip).toBe("10.107.0.2");
      await daemon.stop("SIGKILL");
      expect(await world()).toBe(before);
      daemon = await serve({ args: "--json" });
      await daemon.becomes("a.demo", "listening");
    }
    expect(await carries("10.107.0.2", 7000)).toBe(true);
    await daemon.stop("SIGKILL");
    expect((await ngrokd("plan")).out).toMatch(
      /^Interface:\n {2}\+ ngrokd0 {2}10\.107\.0\.0\/16, fd[\da-f:]+::\/64\nListeners:\n/,
    );
    const { out } = await ngrokd("undo --yes");
    expect(out).toContain("removed  ngrokd's section of /etc/hosts");
    expect({ hosts: hosts(), world: await world() }).toEqual({
      hosts: foreignHosts,
      world: before,
    });
  });
});

stories("the addresses of the Go program", () => {
  test("stay with their names on its subnet, and keep their host parts on loopback", async () => {
    mkdirSync("/etc/ngrokd", { recursive: true });
    writeFileSync("/etc/ngrokd/ip_mappings.json", '{"a.demo": "10.107.0.9"}');
    const { cloud, daemon } = await serving(virtual);
    expect((await daemon.endpoint("a.demo"))?.ip).toBe("10.107.0.9");
    expect(await carries("10.107.0.9", 7000)).toBe(true);
    writeConfig(configFor(cloud, {}));
    await daemon.reload();
    await until("a.demo has moved", async () => (await addressesOf("a.demo"))[0] === "127.0.0.9");
    expect(await carries("a.demo", 7000)).toBe(true);
    expect(await daemon.stop()).toBe(0);
  });
});

stories("a network of another program in the subnet", () => {
  test("is named at the start, and auto takes the next subnet", async () => {
    await vpn("10.107.5.1/24");
    const { cloud, daemon } = await serving(virtual);
    const { network, warnings } = await daemon.status();
    expect(network).toMatchObject({ kind: "loopback", subnet: "127.0.0.0/8" });
    expect(warnings).toEqual([
      expect.stringMatching(
        /^net\.subnet 10\.107\.0\.0\/16 overlaps the network 10\.107\.5\.\S+ of the interface "vpn0", so loopback is used/,
      ),
    ]);
    expect(await carries("a.demo", 7000)).toBe(true);
    writeConfig(configFor(cloud, auto));
    await daemon.reload();
    await until("a.demo has moved", async () =>
      (await addressesOf("a.demo")).includes("10.207.0.2"),
    );
    expect(await carries("10.207.0.2", 7000)).toBe(true);
    expect(await daemon.stop()).toBe(0);
  });

  test("that comes while it runs moves the names, which keep their host part", async () => {
    await sh("ip link del vpn0 2>/dev/null || true");
    const { daemon } = await serving(auto);
    const [at = ""] = (await addressesOf("a.demo")).filter((ip) => ip.startsWith("10."));
    expect(at).toMatch(/^10\.[12]07\.0\.2$/);
    const open = await talking(at, 7000);
    await vpn(at.replace(".0.2", ".9.1/24"));
    const next = at.startsWith("10.107") ? "10.207.0.2" : "10.107.0.2";
    await until("a.demo has moved", async () => (await addressesOf("a.demo")).includes(next));
    expect(await carries(next, 7000)).toBe(true);
    expect(await echoes(open, "still here")).toBe(true);
    open.reset();
    expect(await daemon.stop()).toBe(0);
  });
});

stories("a daemon that cannot make an interface", () => {
  test.each([
    [
      "without /dev/net/tun",
      "mount -t tmpfs tmpfs /dev/net && exec",
      "this system has no /dev/net/tun",
    ],
    [
      "without the right",
      "exec setpriv --bounding-set=-net_admin",
      "this needs the right CAP_NET_ADMIN",
    ],
  ])("%s serves loopback addresses, and says why", async (_, before, reason) => {
    const inside = ["unshare", "-m", "sh", "-c", `${before} "$@"`, "sh", "/run/bin/ngrokd"];
    const { cloud, daemon } = await registered({ config: virtual, args: "--json", inside });
    await cloud.add("tcp://a.demo:7000", (await echo()).address);
    await daemon.becomes("a.demo", "listening");
    const { network, warnings, phase } = await daemon.status();
    expect({ network: network.kind, phase }).toEqual({ network: "loopback", phase: "serving" });
    expect(warnings).toEqual([
      `Cannot make the interface "ngrokd0": ${reason} (if ngrokd is a service, run ` +
        "`sudo ngrokd service install` again); names get loopback addresses instead",
    ]);
    expect(await carries("a.demo", 7000)).toBe(true);
    expect(await daemon.stop()).toBe(0);
  });
});

stories("the service's unit with a virtual interface", () => {
  test.each([
    [true, "virtual", "10.107.0.2"],
    [false, "loopback", "127.0.0.2"],
  ] as const)("lets the daemon make it only if it was installed so: %p", async (...row) => {
    const [makesInterface, kind, ip] = row;
    const inside = sandboxed(unitText({ ...unitFacts, makesInterface }));
    const { cloud, daemon } = await registered({ config: virtual, args: "--json", inside });
    await cloud.add("tcp://a.demo:7000", (await echo()).address);
    const item = await daemon.becomes("a.demo", "listening");
    expect({ ip: item.ip as string, kind: (await daemon.status()).network.kind }).toEqual({
      ip,
      kind,
    });
    expect(await carries(ip, 7000)).toBe(true);
    expect(await daemon.stop()).toBe(0);
    await until("the interface is gone", async () => !(await world()).includes("ngrokd0"));
  });
});

stories("another runtime", () => {
  test("cannot make the interface, says so, and serves loopback addresses", async () => {
    const { cloud, daemon } = await registered({ config: virtual, args: "--json", deno: true });
    await cloud.add("tcp://a.demo:7000", (await echo()).address);
    await daemon.becomes("a.demo", "listening");
    expect((await daemon.status()).warnings).toEqual([
      "Cannot make an interface: this runtime cannot ask for one (ngrokd's own program for Linux " +
        "can); names get loopback addresses instead",
    ]);
    expect(await carries("a.demo", 7000)).toBe(true);
    expect(await daemon.stop()).toBe(0);
  });
});

/** Another machine, which has its default route through this one. */
async function strangerAt(net: string): Promise<void> {
  atEnd(() => run(["ip", "netns", "del", "stranger"]));
  atEnd(() => run(["ip", "link", "del", "br0"]));
  await sh(`mkdir -p /run/netns && ip netns add stranger
ip link add br0 type veth peer name eth0 netns stranger
ip addr add ${net}.1/24 dev br0 && ip link set br0 up
ip -n stranger addr add ${net}.2/24 dev eth0 && ip -n stranger link set eth0 up
ip -n stranger route add default via ${net}.1`);
}

/** An interface of another program, such as a VPN. */
async function vpn(address: string): Promise<void> {
  atEnd(() => run(["ip", "link", "del", "vpn0"]));
  await sh(`ip link add vpn0 type veth peer name vpn1 && ip link set vpn1 up && ip link set vpn0 up
ip addr add ${address} dev vpn0`);
}
