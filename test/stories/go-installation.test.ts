import { beforeAll, expect, test } from "bun:test";
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { bridge, type Neighbour, neighbour } from "../support/bridge.ts";
import { type Cloud, startCloud } from "../support/cloud.ts";
import { goFiles, goFolder, goInstallation } from "../support/go-installation.ts";
import {
  askSocket,
  binary,
  defaultConfig,
  defaultSocket,
  type Running,
  run,
  start,
} from "../support/ngrokd.ts";
import { atEnd, foreignHosts, stories, until } from "../support/story.ts";
import { echo } from "../support/tcp.ts";
import { page } from "../support/web.ts";

const [here, there] = ["10.9.3.1", "10.9.3.2"];

/** The fields that the Go program has, of all endpoints. */
interface GoItem {
  readonly hostname: string;
  readonly ip: string;
  readonly port: number;
  readonly url: string;
  readonly local_listener: boolean;
  readonly network_port: number;
  readonly listen_interface: string;
}

/** The list that a client of the Go program reads. */
async function listed(): Promise<Record<string, GoItem>> {
  const { data } = (await askSocket(defaultSocket, { command: "list" })) as { data: GoItem[] };
  const fields = ["ip", "port", "local_listener", "network_port", "listen_interface"];
  return Object.fromEntries(
    data.map((item) => [
      item.url,
      Object.fromEntries(Object.entries(item).filter(([name]) => fields.includes(name))) as never,
    ]),
  );
}

/** Starts the daemon with the command line of the Go program. */
async function begin(): Promise<Running> {
  const daemon = start("the daemon", [binary(), "--config", defaultConfig]);
  await until("it has registered", async () => {
    const { data } = (await askSocket(defaultSocket, { command: "status" })) as {
      data: { registered: boolean; endpoint_count: number };
    };
    return data.registered && data.endpoint_count > 0;
  });
  return daemon;
}

const jsonIn = (name: string): unknown => JSON.parse(readFileSync(`${goFolder}/${name}`, "utf8"));

stories("an installation of the Go program in network mode", () => {
  let cloud: Cloud;
  let daemon: Running;
  let operator: string;
  let other: Neighbour;
  let left: Record<string, string>;
  const addresses = { "one.demo": "10.107.0.2", "db.demo": "10.107.0.3", "two.demo": "10.107.0.4" };
  const ports = { "one.demo:80": 9080, "db.demo:5432": 9081, "two.demo:80": 9083 };

  beforeAll(async () => {
    await bridge("br0", here);
    other = await neighbour("neighbour", { on: "br0", there });
    cloud = await startCloud();
    const echoes = await echo();
    await cloud.add("http://one.demo", page("one").address);
    await cloud.add("http://two.demo", page("two").address);
    await cloud.add("tcp://db.demo:5432", echoes.address);
    operator = await goInstallation(cloud, {
      settings: `net:
  interface_name: ngrokd0
  subnet: 10.107.0.0/16
  listen_interface: "0.0.0.0"  # Network accessible
  start_port: 9080
  overrides:
    two.demo: br0
`,
      addresses,
      ports,
    });
    left = goFiles();
    daemon = await begin();
  });

  test("is taken over: operator, key, configuration, addresses and ports stay", async () => {
    const status = await askSocket(defaultSocket, { command: "status" });
    expect(status).toMatchObject({ success: true, data: { operator_id: operator } });
    expect(await cloud.operators()).toHaveLength(1);
    expect(goFiles()).toEqual(left);
    expect(jsonIn("network_ports.json")).toEqual(ports);
    expect(jsonIn("ip_mappings.json")).toEqual(addresses);
    for (const [host, ip] of Object.entries(addresses))
      expect(readFileSync("/etc/hosts", "utf8")).toContain(`${ip}\t${host}\n`);
    expect(daemon.lines().filter(({ level }) => level === "error")).toEqual([]);
  });

  test("tells clients of its socket ports and addresses that are true", async () => {
    const at = { local_listener: true, listen_interface: "0.0.0.0" };
    expect(await listed()).toEqual({
      "http://one.demo": { ip: "10.107.0.2", port: 80, network_port: 9080, ...at } as never,
      "tcp://db.demo:5432": { ip: "10.107.0.3", port: 5432, network_port: 9081, ...at } as never,
      // The Go program tells the address of the interface.
      "http://two.demo": {
        ip: "10.107.0.4",
        port: 80,
        network_port: 9083,
        local_listener: true,
        listen_interface: here,
      } as never,
    });
    for (const [port, text] of [
      [9080, "one"],
      [9083, "two"],
    ]) {
      const { out } = await other.run("curl", "-sS", "--max-time", "60", `http://${here}:${port}/`);
      expect({ port, out }).toEqual({ port, out: `${text}` });
    }
    const script = `const { connect } = require("node:net");
      connect(9081, "${here}").on("data", (it) => { console.log(String(it)); process.exit(); })
        .write("hello");`;
    expect((await other.run(process.execPath, "-e", script)).out).toBe("hello\n");
    expect((await run(["curl", "-sS", "http://one.demo/"])).out).toBe("one");
  });

  test("its client shows the endpoints as before", async () => {
    mkdirSync("/run/go-user", { recursive: true });
    symlinkSync(binary(), "/run/go-user/ngrokctl");
    const { out } = await run(["/run/go-user/ngrokctl", "list"]);
    expect(out).toMatch(/^ {2}http:\/\/one\.demo +10\.107\.0\.2:80 +0\.0\.0\.0 +✓$/m);
    expect(out).toMatch(/^ {2}http:\/\/two\.demo +10\.107\.0\.4:80 +10\.9\.3\.1 +✓$/m);
  });

  test("keeps all of it over a restart, and leaves the hosts file as it was before", async () => {
    const before = await listed();
    expect(await daemon.stop()).toBe(0);
    expect(readFileSync("/etc/hosts", "utf8")).toBe(`${foreignHosts}\n`);
    expect(goFiles()).toEqual(left);
    daemon = await begin();
    expect(await listed()).toEqual(before);
    expect(await daemon.stop()).toBe(0);
  });
});

stories("an installation of the Go program in DNS mode, after a crash", () => {
  let cloud: Cloud;
  let daemon: Running;
  let left: Record<string, string>;
  const addresses = { "exact.team.internal": "10.107.0.2", "wildcard:team.internal": "10.107.0.3" };
  const original = "# by the administrator\nnameserver 127.0.0.99\noptions timeout:5 attempts:2\n";
  const getent = async (name: string): Promise<string | undefined> =>
    /^\S+/.exec((await run(["getent", "ahostsv4", name])).out)?.[0];

  beforeAll(async () => {
    cloud = await startCloud();
    await cloud.add("http://*.team.internal", page("wild").address);
    await cloud.add("http://exact.team.internal", page("exact").address);
    await goInstallation(cloud, {
      settings: `net:
  interface_name: ngrokd0
  subnet: 10.107.0.0/16
  listen_interface: virtual
  start_port: 9080

dns:
  enabled: true
  listen: "127.0.0.1:53"
  manage_resolv_conf: true
  upstream: ["127.0.0.99:53"]
`,
      addresses,
    });
    const others = "--no-daemon --no-resolv --no-hosts --bind-interfaces --user=root";
    start("the name server of before", [
      "dnsmasq",
      ...others.split(" "),
      "--listen-address=127.0.0.99",
      "--host-record=other.example,192.0.2.9",
    ]);
    const marker = "# ngrokd managed - do not edit this line\nnameserver 127.0.0.1\n";
    writeFileSync(`${goFolder}/resolv.conf.bak`, original);
    writeFileSync("/etc/resolv.conf", marker + original);
    atEnd(() => writeFileSync("/etc/resolv.conf", "nameserver 127.0.0.1\n"));
    left = goFiles();
    daemon = await begin();
  });

  test("is taken over: names keep their addresses, and names below a wildcard get some", async () => {
    const exact = await until("a name is served", async () => await getent("exact.team.internal"));
    expect(exact).toBe("10.107.0.2");
    const wild = await until("DNS leads to us", async () => await getent("a.team.internal"));
    expect(wild).toStartWith("10.107.0.");
    expect(wild).not.toBe("10.107.0.2");
    for (const [name, text] of [
      ["exact.team.internal", "exact"],
      ["a.team.internal", "wild"],
    ])
      expect(await run(["curl", "-sS", `http://${name}/`])).toMatchObject({ err: "", out: text });
    expect(await getent("other.example")).toBe("192.0.2.9");
    expect(goFiles()).toEqual(left);
    expect(jsonIn("ip_mappings.json")).toMatchObject({ "exact.team.internal": "10.107.0.2" });
  });

  test("tells clients of its socket the wildcard in the Go program's fields", async () => {
    const { data } = (await askSocket(defaultSocket, { command: "list" })) as { data: object[] };
    expect(data).toContainEqual(
      expect.objectContaining({
        hostname: "*.team.internal",
        wildcard: true,
        wildcard_suffix: "team.internal",
        network_port: 0,
        listen_interface: "virtual",
      }),
    );
  });

  test("gives resolv.conf and the hosts file back at the stop, byte for byte", async () => {
    expect(await daemon.stop()).toBe(0);
    expect(readFileSync("/etc/resolv.conf", "utf8")).toBe(original);
    expect(readFileSync("/etc/hosts", "utf8")).toBe(`${foreignHosts}\n`);
  });
});
