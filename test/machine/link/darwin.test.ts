import { describe, expect, test } from "bun:test";
import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import type { NetworkInterfaceInfo } from "node:os";
import { join } from "node:path";
import type { VirtualGround } from "../../../src/exposure/ground.ts";
import { readJournal, recordChange } from "../../../src/journal/journal.ts";
import { darwinLinks } from "../../../src/machine/link/darwin.ts";
import { planUndo, undo } from "../../../src/machine/undo.ts";
import { type AnyIp, parsePrefix6 } from "../../../src/model/ip.ts";
import { ip, ip6, subnet, temporaryFolder } from "../support.ts";

const prefix = parsePrefix6("fd11:2233:4455:6677::/64");
const ground: VirtualGround = {
  kind: "virtual",
  range: subnet("10.107.0.0/16"),
  range6: prefix.ok ? prefix.value : undefined,
  device: "ngrokd0",
};
describe("aliases on lo0", () => {
  test("are made one by one, recorded before, put back, and taken back at the end", async () => {
    await using place = await macAt();
    const { links, mac } = place;
    await links.hold([ground]);
    await links.carry([ip("10.107.0.2"), ip6("fd11:2233:4455:6677::2")]);
    await links.carry([ip("10.107.0.2"), ip("10.107.0.3")]);
    expect(mac.told()).toEqual([
      "lo0 alias 10.107.0.1 255.255.255.255",
      "lo0 inet6 fd11:2233:4455:6677::1 prefixlen 128 alias",
      "lo0 alias 10.107.0.2 255.255.255.255",
      "lo0 inet6 fd11:2233:4455:6677::2 prefixlen 128 alias",
      "lo0 alias 10.107.0.3 255.255.255.255",
    ]);
    expect(mac.recorded.at(-1)).toHaveLength(5);
    expect(await links.changed()).toBe(false);
    mac.addresses.splice(mac.addresses.indexOf("10.107.0.2"), 1);
    expect(await links.changed()).toBe(true);
    expect(await links.hold([ground])).toEqual({ mended: ["alias"], withoutIp6: undefined });
    expect(mac.told().at(-1)).toBe("lo0 alias 10.107.0.2 255.255.255.255");
    await links.close();
    expect(mac.addresses).toEqual(["127.0.0.1"]);
    expect(mac.recorded.at(-1)).toEqual([]);
  });

  test("leave the aliases of others alone, and count as no networks of theirs", async () => {
    await using place = await macAt();
    const { links, mac } = place;
    mac.addresses.push("10.200.0.1");
    await links.hold([ground]);
    const devices = (await links.routes("ngrokd0")).map(
      ({ to, device }) => `${device} ${to?.bits}`,
    );
    expect(devices).toEqual(["lo0 8", "lo0 32"]);
    await links.close();
    expect(mac.addresses).toEqual(["127.0.0.1", "10.200.0.1"]);
  });

  test("give way to a VPN whose route no interface shows", async () => {
    const header = "Destination        Gateway            Flags               Netif Expire\n";
    await using place = await macAt("", `${header}10.107/16   10.8.0.3   UGSc   utun6\n`);
    const others = (await place.links.routes("ngrokd0")).map(
      ({ to, device }) => `${device} ${to?.bits}`,
    );
    expect(others).toEqual(["lo0 8", "utun6 16"]);
  });

  test("that cannot be made say which command failed, and why", async () => {
    await using place = await macAt(
      "echo 'ifconfig: ioctl (SIOCAIFADDR): permission denied' >&2; exit 1",
    );
    const failed = await place.links.hold([ground]).catch((error: unknown) => error);
    expect(failed).toMatchObject({ code: "permission", hint: "run the daemon as root" });
    expect(String(failed)).toContain("lo0 alias 10.107.0.1 255.255.255.255");
  });

  test("that a crash has left are no networks of others, and are taken back", async () => {
    await using place = await macAt();
    const { links, mac, crash } = place;
    mac.addresses.push("10.107.0.7", "10.207.0.1", "10.200.0.1");
    crash([ip("10.107.0.7"), ip("10.207.0.1"), ip("10.107.0.8")]);
    const others = (await links.routes("ngrokd0")).map(({ to, device }) => `${device} ${to?.bits}`);
    expect({ others }).toEqual({ others: ["lo0 8", "lo0 32"] });
    expect(await links.hold([ground])).toEqual({ mended: [], withoutIp6: undefined });
    expect(mac.recorded.at(-1)).toContain(ip("10.107.0.7"));
    expect(mac.addresses).not.toContain("10.207.0.1");
    await links.close();
    expect(mac.addresses).toEqual(["127.0.0.1", "10.200.0.1"]);
    expect(mac.recorded.at(-1)).toEqual([]);
  });

  test("stay while a command only looks", async () => {
    await using place = await macAt();
    place.mac.addresses.push("10.107.0.7");
    place.crash([ip("10.107.0.7")]);
    await place.links.routes("ngrokd0");
    await place.links.close();
    expect(place.mac.addresses).toEqual(["127.0.0.1", "10.107.0.7"]);
  });

  test("are all taken back, also if another program has removed one", async () => {
    await using place = await macAt();
    const { links, mac } = place;
    await links.hold([ground]);
    await links.carry([ip("10.107.0.2")]);
    mac.addresses.splice(mac.addresses.indexOf("10.107.0.1"), 1);
    await links.close();
    expect(mac.told().filter((words) => words.includes("-alias"))).toEqual([
      "lo0 inet6 fd11:2233:4455:6677::1 -alias",
      "lo0 -alias 10.107.0.2",
    ]);
    expect(mac.recorded.at(-1)).toEqual([]);
  });

  test("that a crash has left are taken back by undo, and no other address", async () => {
    await using place = await macAt();
    const { folder, mac, deps } = place;
    const left = [ip("10.107.0.1"), ip("10.107.0.2")];
    mac.addresses.push("10.107.0.2", "10.107.0.9");
    await recordChange(folder, { kind: "aliases", path: "/sbin/ifconfig", addresses: left });
    const hosts = join(folder, "hosts");
    writeFileSync(hosts, "127.0.0.1 localhost\n");
    const owners = { isAlive: async () => false };
    const steps = await planUndo(folder, hosts, owners, deps);
    expect(steps.map(({ change, action }) => [change.kind, action])).toEqual([
      ["aliases", "take back"],
    ]);
    await undo(folder, steps, { owners, aliases: deps });
    expect(mac.addresses).toEqual(["127.0.0.1", "10.107.0.9"]);
    expect(await readJournal(folder)).toEqual([]);
  });
});

/** A stand-in for ifconfig that keeps its words, and the addresses of lo0. */
async function macAt(script = "", routes = "") {
  const folder = await temporaryFolder();
  const words = join(folder.path, "words");
  const ifconfig = join(folder.path, "ifconfig");
  writeFileSync(ifconfig, `#!/bin/sh\necho "$@" >>${words}\n${script}\n`);
  chmodSync(ifconfig, 0o755);
  const addresses = ["127.0.0.1"];
  const recorded: AnyIp[][] = [];
  let left: readonly AnyIp[] = [];
  let seen = 0;
  const told = (): string[] =>
    existsSync(words) ? readFileSync(words, "utf8").trim().split("\n") : [];
  /** What the commands so far have done. */
  const interfaces = () => {
    const all = told();
    for (const line of all.slice(seen)) {
      const [address = ""] = /[\d.]{7,}|fd[\da-f:]+/.exec(line) ?? [];
      if (line.includes("-alias")) addresses.splice(addresses.indexOf(address), 1);
      else addresses.push(address);
    }
    seen = all.length;
    const lo0 = addresses.map((address) => {
      const bits = address.includes(":") ? 128 : address === "127.0.0.1" ? 8 : 32;
      return { address, cidr: `${address}/${bits}` } as NetworkInterfaceInfo;
    });
    return { lo0 };
  };
  const netstat = join(folder.path, "netstat");
  writeFileSync(netstat, `#!/bin/sh\n[ "$*" = -rn ] && cat "$(dirname "$0")/routes"\n`);
  chmodSync(netstat, 0o755);
  writeFileSync(join(folder.path, "routes"), routes);
  const deps = { ifconfig, interfaces, netstat };
  const links = darwinLinks({
    ...deps,
    journal: async (list) => void recorded.push([...list]),
    recorded: async () => recorded.at(-1) ?? left,
  });
  const mac = {
    recorded,
    told,
    get addresses() {
      interfaces();
      return addresses;
    },
  };
  return {
    links,
    mac,
    deps,
    crash: (addresses: readonly AnyIp[]) => {
      left = addresses;
    },
    folder: folder.path,
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}
