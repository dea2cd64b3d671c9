import { describe, expect, test } from "bun:test";
import { bridgedBy, containerNetwork } from "../../src/containers/bridges.ts";
import {
  type ContainerFacts,
  containerWay,
  type ServedEndpoint,
} from "../../src/containers/containers.ts";
import { formatted } from "../../src/containers/formats.ts";
import { advised, settingsFor } from "../../src/containers/settings.ts";

const docker = { kind: "bridge", subnets: ["172.17.0.0/16"], gateway: "172.17.0.1" } as const;
const host = { kind: "host" } as const;
const open = { endpoint: "*", from: ["172.17.0.0/16"] };

describe("the addresses of names in a container", () => {
  test("are those of the virtual interface, if a rule lets the network in", () => {
    const way = containerWay(facts([web("b"), web("a", { port: 443 }), web("a")], [open]));
    expect(way).toEqual({
      hosts: [
        { host: "a.demo", at: "10.107.0.2" } as never,
        { host: "b.demo", at: "10.107.0.2" } as never,
      ],
      dns: undefined,
      moved: [],
      lacks: [],
    });
  });

  test("are none on a bridge if they are of loopback, and all in this machine's network", () => {
    const local = web("a", { ip: "127.0.0.2" });
    const bridged = containerWay(facts([local], [open]));
    expect(bridged.hosts).toEqual([]);
    expect(bridged.lacks).toEqual([{ kind: "loopback", endpoints: ["a.demo:80"] }]);
    expect(containerWay(facts([local], [], { network: host }))).toMatchObject({
      hosts: [{ host: "a.demo", at: "127.0.0.2" }],
      lacks: [],
    });
  });

  test("need a rule, and the rule that decides has to have the network", () => {
    const rules = [
      { endpoint: "b.demo", users: ["alice"] },
      { endpoint: "c.*", from: ["10.0.0.1"] },
    ];
    expect(containerWay(facts([web("a"), web("b"), web("c"), web("d")], rules)).lacks).toEqual([
      { kind: "no-rule", endpoints: ["a.demo:80", "d.demo:80"] },
      { kind: "rule", endpoints: ["b.demo:80"], rule: 1 },
      { kind: "rule", endpoints: ["c.demo:80"], rule: 2 },
    ]);
  });

  test.each(["172.17.0.9/32", "172.17.0.9", "172.16.0.0/12", "0.0.0.0/0"])(
    "are open to a rule with a part of the network, or with more: %s",
    (range) => {
      const { lacks } = containerWay(facts([web("a")], [{ endpoint: "*", from: [range] }]));
      expect(lacks).toEqual([]);
    },
  );

  test("have to be open to every network of containers", () => {
    const network = { ...docker, subnets: ["172.17.0.0/16", "172.18.0.0/16"] };
    const { lacks } = containerWay(facts([web("a")], [open], { network }));
    expect(lacks).toMatchObject([{ kind: "rule", rule: 1 }]);
  });

  test("are those for other machines if the own ones do not work, with their ports", () => {
    const shared = { ip: "127.0.0.2", listen_interface: "0.0.0.0", network_port: 80 };
    const db = web("db", { ...shared, port: 5432, network_port: 9081 });
    const way = containerWay(facts([web("a", shared), db], []));
    expect(way).toMatchObject({
      hosts: [
        { host: "a.demo", at: "172.17.0.1" },
        { host: "db.demo", at: "172.17.0.1" },
      ],
      moved: [{ endpoint: "db.demo:5432", port: 9081 }],
      lacks: [],
    });
    const one = { ...shared, listen_interface: "192.0.2.7" };
    expect(containerWay(facts([web("a", one)], [])).hosts).toMatchObject([{ at: "192.0.2.7" }]);
    const loopback = { ...shared, listen_interface: "127.0.0.1" };
    expect(containerWay(facts([web("a", loopback)], [])).hosts).toEqual([]);
    expect(containerWay(facts([web("a", shared)], [{ endpoint: "*" }])).lacks).toMatchObject([
      { kind: "rule", rule: 1 },
    ]);
  });

  test("are for aliases too, and for no name that is none", () => {
    const odd = web("a", { aliases: ["a", "x; rm -rf /"] });
    expect(containerWay(facts([odd], [open])).hosts.map((line): string => line.host)).toEqual([
      "a",
      "a.demo",
    ]);
  });
});

describe("the name server for containers", () => {
  const dns = { listening: "10.107.0.1:53", clients: ["172.16.0.0/12"], hasUpstream: true };
  const dnsFor = (more: Partial<ContainerFacts>): string | undefined =>
    containerWay(facts([web("a")], [open], { dns, ...more })).dns;

  test("is ngrokd's if containers may ask it, and if it knows all other names", () => {
    expect(dnsFor({})).toBe("10.107.0.1");
    expect(dnsFor({ dns: { ...dns, listening: "0.0.0.0:53" } })).toBe("172.17.0.1");
    expect(dnsFor({ dns: { ...dns, listening: "127.0.0.1:53" } })).toBeUndefined();
    expect(dnsFor({ dns: { ...dns, listening: "10.107.0.1:5353" } })).toBeUndefined();
    expect(dnsFor({ dns: { ...dns, clients: [] } })).toBeUndefined();
    expect(dnsFor({ dns: { ...dns, hasUpstream: false } })).toBeUndefined();
    expect(dnsFor({ network: host })).toBeUndefined();
  });

  test("is not, if names lead to another address in a container", () => {
    const shared = web("a", { ip: "127.0.0.2", listen_interface: "::", network_port: 80 });
    expect(containerWay(facts([shared], [], { dns })).dns).toBeUndefined();
  });

  test("is missing for names below a wildcard", () => {
    const zones = ["team.internal"];
    const lack = { kind: "dns", endpoints: ["*.team.internal"] } as const;
    expect(containerWay(facts([web("a")], [open], { zones })).lacks).toEqual([lack]);
    expect(containerWay(facts([web("a")], [open], { zones, dns })).lacks).toEqual([]);
    expect(containerWay(facts([web("a")], [], { zones, network: host })).lacks).toEqual([]);
  });
});

describe("the lines", () => {
  const way = containerWay(facts([web("a"), web("b", { ip: "10.107.0.3" })], [open]));

  test("are flags for Docker and Podman", () => {
    expect(formatted("docker", way, "bridge")).toBe(
      "docker run \\\n  --add-host=a.demo:10.107.0.2 \\\n  --add-host=b.demo:10.107.0.3 \\\n  IMAGE",
    );
    expect(formatted("podman", way, "host")).toStartWith(
      "podman run \\\n  --network=host \\\n  --add-host=a.demo:10.107.0.2 \\\n",
    );
    expect(formatted("docker", { ...way, dns: "10.107.0.1" }, "bridge")).toBe(
      "docker run \\\n  --dns=10.107.0.1 \\\n  IMAGE",
    );
  });

  test("are YAML for Compose, JSON for a dev container, and a hosts file for WSL", () => {
    expect(Bun.YAML.parse(formatted("compose", way, "host"))).toEqual({
      services: {
        app: {
          network_mode: "host",
          extra_hosts: ["a.demo:10.107.0.2", "b.demo:10.107.0.3"],
        },
      },
    });
    expect(Bun.YAML.parse(formatted("compose", { ...way, dns: "10.107.0.1" }, "bridge"))).toEqual({
      services: { app: { dns: ["10.107.0.1"] } },
    });
    expect(JSON.parse(formatted("devcontainer", way, "bridge"))).toEqual({
      runArgs: ["--add-host=a.demo:10.107.0.2", "--add-host=b.demo:10.107.0.3"],
    });
    expect(formatted("wsl", way, "host")).toBe("10.107.0.2\ta.demo\n10.107.0.3\tb.demo");
  });
});

describe("the settings that are missing", () => {
  const settings = (endpoints: ServedEndpoint[], rules: object[], more = {}): unknown => {
    const all = facts(endpoints, rules as never, more);
    return Bun.YAML.parse(settingsFor(containerWay(all).lacks, all));
  };
  const rule = { endpoint: "*", from: ["172.17.0.0/16"] };

  test("are a subnet for loopback, and a rule if there is none", () => {
    expect(settings([web("a", { ip: "127.0.0.2" })], [])).toEqual({
      net: { subnet: "auto" },
      access: { rules: [rule] },
    });
    expect(settings([web("a")], [{ endpoint: "b.demo" }])).toEqual({ access: { rules: [rule] } });
    expect(settings([web("a")], [open])).toBeNull();
  });

  test("are no subnet if the configuration has one, and the interface cannot be made", () => {
    const all = facts([web("a", { ip: "127.0.0.2" })], [open], { wantsInterface: true });
    const { lacks } = containerWay(all);
    expect(settingsFor(lacks, all)).toBe("");
    expect(advised(lacks, all)[0]?.reason).toEndWith("why there is no virtual interface");
  });

  test("are a name server for wildcards, with the address of the interface", () => {
    const wild = { zones: ["team.internal"], ownAddress: "10.207.0.1" };
    expect(settings([web("a")], [open], wild)).toEqual({
      dns: {
        enabled: true,
        listen: "10.207.0.1:53",
        clients: ["172.17.0.0/16"],
        upstream: ["1.1.1.1"],
      },
    });
  });

  test("are named in sentences, each with its endpoints", () => {
    const all = facts([web("a"), web("b")], [{ endpoint: "b.demo" }]);
    expect(advised(containerWay(all).lacks, all)).toEqual([
      {
        reason: "no rule of access.rules lets another machine in, and a container is one",
        endpoints: ["a.demo:80"],
      },
      {
        reason: "rule 1 of access.rules does not let 172.17.0.0/16 in; add it to the rule's `from`",
        endpoints: ["b.demo:80"],
      },
    ]);
  });
});

describe("the networks of containers", () => {
  const at = (address: string, cidr: string) => [
    { address, cidr, family: "IPv4", netmask: "", mac: "", internal: false } as never,
  ];

  test("are those of the bridges of Docker and others", () => {
    expect(
      containerNetwork({
        lo: at("127.0.0.1", "127.0.0.1/8"),
        eth0: at("192.0.2.7", "192.0.2.7/24"),
        docker0: at("172.17.0.1", "172.17.0.1/16"),
        "br-0123456789ab": at("172.18.0.1", "172.18.0.1/16"),
        "br-lan": at("192.168.1.1", "192.168.1.1/24"),
      }),
    ).toEqual({
      kind: "bridge",
      subnets: ["172.17.0.0/16", "172.18.0.0/16"],
      gateway: "172.17.0.1",
    });
  });

  test("are Docker's usual one if there is none, with a name for this machine", () => {
    expect(containerNetwork({})).toEqual(bridgedBy("172.17.0.0/16"));
    const shared = web("a", { ip: "127.0.0.2", listen_interface: "0.0.0.0", network_port: 80 });
    const way = containerWay(facts([shared], [], { network: containerNetwork({}) }));
    expect(formatted("docker", way, "bridge")).toContain("--add-host=a.demo:host-gateway");
  });
});

/** An endpoint on the virtual interface. */
function web(name: string, more: Partial<ServedEndpoint> = {}): ServedEndpoint {
  return {
    hostname: `${name}.demo`,
    ip: "10.107.0.2",
    port: 80,
    listen_interface: "virtual",
    network_port: 0,
    ...more,
  };
}

function facts(
  endpoints: readonly ServedEndpoint[],
  rules: ContainerFacts["rules"],
  more: Partial<ContainerFacts> = {},
): ContainerFacts {
  return {
    endpoints,
    zones: [],
    dns: undefined,
    rules,
    wantsInterface: false,
    ownAddress: undefined,
    network: docker,
    ...more,
  };
}
