import { afterEach, beforeAll, expect, test } from "bun:test";
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { type Cloud, configFor, startCloud } from "../support/cloud.ts";
import { type Daemon, examine, ngrokd, run, serve, start, writeConfig } from "../support/ngrokd.ts";
import { atEnd, endAll, foreignHosts, freshMachine, stories, until } from "../support/story.ts";
import { page } from "../support/web.ts";

/** Another name server, which knows no name. */
const foreign = "nameserver 127.0.0.99\noptions timeout:30 attempts:1\n";
const resolvConf = (): string => readFileSync("/etc/resolv.conf", "utf8");

/** The resolver's answer as glibc's programs see it. */
async function getent(name: string): Promise<string> {
  const { out } = await run(["getent", "ahostsv4", name]);
  return /^\S+/.exec(out)?.[0] ?? "";
}

async function begin(
  config: object,
  before = foreign,
  copyOfGo = false,
): Promise<{ cloud: Cloud; daemon: Daemon }> {
  freshMachine();
  writeFileSync("/etc/resolv.conf", before);
  if (copyOfGo) {
    mkdirSync("/etc/ngrokd", { recursive: true });
    writeFileSync("/etc/ngrokd/resolv.conf.bak", foreign);
  }
  atEnd(() => writeFileSync("/etc/resolv.conf", "nameserver 127.0.0.1\n"));
  // Programs ask for IPv4 addresses only if the machine has one besides 127.
  await run(["ip", "address", "replace", "192.0.2.50/32", "dev", "lo"]);
  const cloud = await startCloud();
  await cloud.add("http://*.team.internal", page("wild").address);
  await cloud.add("http://exact.team.internal", page("exact").address);
  writeConfig(configFor(cloud, { ...config }));
  const daemon = await serve();
  await daemon.becomes("exact.team.internal", "listening");
  return { cloud, daemon };
}

stories("names below a wildcard, by DNS", () => {
  let cloud: Cloud;
  let daemon: Daemon;
  beforeAll(async () => {
    ({ cloud, daemon } = await begin({ dns: { enabled: true, manage_resolv_conf: true } }));
    await buildAskers();
    const others = "--no-daemon --no-resolv --no-hosts --bind-interfaces --user=root";
    start("another name server", [
      "dnsmasq",
      ...others.split(" "),
      "--listen-address=127.0.0.99",
      "--local=/other.example/",
      "--host-record=other.example,192.0.2.9",
    ]);
  });
  const text = async (url: string): Promise<string> => (await run(["curl", "-sS", url])).out;

  test("the resolver asks ngrokd first, and the rest of resolv.conf stays", async () => {
    await until("resolv.conf names the server", () => resolvConf().includes("127.0.0.1"));
    expect(resolvConf()).toBe(
      `# BEGIN ngrokd managed section\nnameserver 127.0.0.1\n# END ngrokd managed section\n${foreign}`,
    );
    const { warnings } = await daemon.status();
    expect(warnings).toEqual([]);
  });

  test("a name gets an address of its own at the first question, and reaches ngrok", async () => {
    const [a, b] = [await getent("a.team.internal"), await getent("B.deep.team.internal")];
    expect({ own: a !== b, a, b }).toMatchObject({
      own: true,
      a: expect.stringMatching(/^127\./),
      b: expect.stringMatching(/^127\./),
    });
    expect(await getent("a.team.internal")).toBe(a);
    expect(await text("http://a.team.internal/")).toBe("wild");
    expect(await text("http://exact.team.internal/")).toBe("exact");
    const items = await daemon.list();
    expect(items.find(({ hostname }) => hostname === "a.team.internal")).toMatchObject({
      state: "listening",
      ip: a,
      url: "http://*.team.internal",
    });
    expect(items.find(({ state }) => state === "wildcard")).toMatchObject({
      hostname: "*.team.internal",
      ip: "",
      wildcard: true,
    });
  });

  test("the hosts file has the exact name alone", () => {
    expect(readFileSync("/etc/hosts", "utf8").match(/\S+\.team\.internal/g)).toEqual([
      "exact.team.internal",
    ]);
  });

  test("programs with another resolver than glibc's find the names too", async () => {
    expect((await run(["/run/tmp/musl", "m.team.internal"])).out).toMatch(/^127\./);
    expect((await run(["/run/tmp/go", "g.team.internal"])).out).toMatch(/^127\./);
    expect((await run(["busybox", "nslookup", "n.team.internal"])).out).toMatch(
      /n\.team\.internal\s+Address: 127\./,
    );
  });

  test("status, doctor and why know of it, and why follows a name that is new", async () => {
    expect((await daemon.status()).dns).toEqual({
      listening: "127.0.0.1:53",
      way: "/etc/resolv.conf",
      zones: ["team.internal"],
      trouble: "",
    });
    expect((await ngrokd("status")).out).toContain("127.0.0.1:53, for *.team.internal");
    expect((await examine("doctor")).out.replaceAll(/\s+/g, " ")).toContain(
      "it listens on 127.0.0.1:53, and is asked for *.team.internal (/etc/resolv.conf)",
    );
    const why = await examine("why http://fresh.team.internal/");
    expect(why.out).toMatch(/"fresh\.team\.internal" leads to 127\.\S+, by the DNS/);
    expect(why.code).toBe(0);
    expect((await examine("why a.team.internal")).code).toBe(0);
  });

  test("names of others come from the next name server, by every resolver", async () => {
    const other = "other.example";
    expect(await getent(other)).toBe("192.0.2.9");
    for (const program of ["/run/tmp/musl", "/run/tmp/go"])
      expect((await run([program, other])).out).toBe("192.0.2.9\n");
  });

  test("other names are refused, and another program's name server is asked", async () => {
    const { out } = await run(["dig", "@127.0.0.1", "+time=30", "+tries=1", "example.com"]);
    expect(out).toContain("status: REFUSED");
  });

  test("the name keeps its address after a kill, and resolv.conf is put right", async () => {
    const before = await getent("a.team.internal");
    await until("the address is saved", () =>
      readFileSync("/etc/ngrokd/ip_mappings.json", "utf8").includes("wildcard:a.team.internal"),
    );
    await daemon.stop("SIGKILL");
    daemon = await serve();
    await daemon.becomes("a.team.internal", "listening");
    await until("it resolves again", async () => (await getent("a.team.internal")) === before);
  });

  test("a kill or an upgrade writes no resolv.conf, so that names resolve meanwhile", async () => {
    const before = statSync("/etc/resolv.conf").ino;
    const told = (): number =>
      daemon.lines().filter(({ message }) => message.startsWith("This machine asks 127.0.0.1:53"))
        .length;
    await daemon.stop("SIGKILL");
    daemon = await serve();
    await until("the new daemon tells how it is asked", () => told() === 1);
    expect(statSync("/etc/resolv.conf").ino).toBe(before);
    expect((await ngrokd("upgrade")).err).toBe("");
    await until("the next program tells it as well", () => told() === 2);
    expect(await getent("a.team.internal")).toMatch(/^127\./);
    expect(statSync("/etc/resolv.conf").ino).toBe(before);
  });

  test("a resolv.conf that another program replaces gets the section again", async () => {
    writeFileSync("/etc/resolv.conf", `${foreign}# newer\n`);
    await until("the section is back", () => resolvConf().includes("nameserver 127.0.0.1\n"));
    expect(resolvConf().endsWith(`${foreign}# newer\n`)).toBe(true);
  });

  test("without the wildcard its names are gone", async () => {
    const [wild] = (await daemon.list()).filter(({ state }) => state === "wildcard");
    await cloud.remove(wild?.id ?? "");
    await daemon.refresh();
    await until("the name is gone", async () => (await getent("a.team.internal")) === "");
    await until("resolv.conf is as before", () => resolvConf() === `${foreign}# newer\n`);
  });

  test("after a stop no byte of resolv.conf is different", async () => {
    await cloud.add("http://*.team.internal", page("wild").address);
    await daemon.refresh();
    await until("the section is there", () => resolvConf().includes("127.0.0.1"));
    expect(await daemon.stop()).toBe(0);
    expect(resolvConf()).toBe(`${foreign}# newer\n`);
  });
});

/** Small programs, each with the resolver of its language. */
async function buildAskers(): Promise<void> {
  writeFileSync("/run/tmp/ask.c", askInC);
  writeFileSync("/run/tmp/ask.go", askInGo);
  const env = {
    HOME: "/run/tmp",
    GOCACHE: "/run/tmp/go-cache",
    CGO_ENABLED: "0",
    GO111MODULE: "off",
  };
  const built = [
    await run(["musl-gcc", "-static", "-o", "/run/tmp/musl", "/run/tmp/ask.c"]),
    await run(["go", "build", "-o", "/run/tmp/go", "/run/tmp/ask.go"], { env }),
  ];
  expect(built.map(({ code, err }) => `${code} ${err}`)).toEqual(["0 ", "0 "]);
}

const askInC = `
#include <netdb.h>
#include <stdio.h>
#include <arpa/inet.h>
int main(int argc, char **argv) {
  struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM }, *found;
  char text[64];
  if (argc < 2 || getaddrinfo(argv[1], "80", &hints, &found) != 0) return 1;
  inet_ntop(AF_INET, &((struct sockaddr_in *)found->ai_addr)->sin_addr, text, sizeof text);
  puts(text);
  return 0;
}
`;

const askInGo = `package main

import ("fmt"; "net"; "os")

func main() {
	found, err := net.LookupHost(os.Args[1])
	if err != nil { fmt.Println(err); os.Exit(1) }
	fmt.Println(found[0])
}
`;

stories("the DNS server beside other programs", () => {
  afterEach(endAll);

  test("a port that is taken ends nothing, and the program that has it is named", async () => {
    const other = start("another name server", ["python3", "-c", otherServer]);
    await until("it listens", () => other.out().includes("ready"));
    const { daemon } = await begin({ dns: { enabled: true, manage_resolv_conf: true } });
    const [warning = ""] = await until("status tells it", async () => {
      const { warnings } = await daemon.status();
      return warnings.length > 0 && warnings;
    });
    expect(warning).toMatch(
      /^The DNS server cannot listen on 127\.0\.0\.1:53: python3\S* \(pid \d+\) has this port/,
    );
    expect((await daemon.status()).phase).toBe("serving");
    expect(resolvConf()).toBe(foreign);
    await other.stop("SIGKILL");
    await daemon.refresh();
    await until("the server listens now", () => resolvConf().includes("127.0.0.1"));
    await until("all is well", async () => (await daemon.status()).warnings.length === 0);
    expect(await daemon.stop()).toBe(0);
    expect(resolvConf()).toBe(foreign);
  });

  test("a reload turns it on and off while a connection runs", async () => {
    const { cloud, daemon } = await begin({});
    const [wild] = (await daemon.list()).filter(({ url }) => url.includes("*"));
    expect(wild).toMatchObject({
      state: "unsupported",
      reason: "a wildcard needs dns.enabled: true, or its names in names.expand",
    });
    const on = { dns: { enabled: true, manage_resolv_conf: true } };
    // Of a file that the daemon does not watch.
    writeConfig(configFor(cloud, on), "/run/next.yml");
    expect((await ngrokd("plan --config /run/next.yml")).out).toContain(
      "Resolver (/etc/resolv.conf):\n  + *.team.internal",
    );
    writeConfig(configFor(cloud, on));
    await daemon.reload();
    const address = await until(
      "a name resolves",
      async () => (await getent("a.team.internal")) || false,
    );
    const goOn = "/run/tmp/go-on";
    const [slow] = [
      run([
        "sh",
        "-c",
        `(printf 'GET / HTTP/1.0\\r\\n'; until [ -e ${goOn} ]; do sleep 0.1; done; printf '\\r\\n') | nc ${address} 80`,
      ]),
    ];
    await until("it is connected", async () =>
      (await daemon.list()).some(
        ({ hostname, connections }) => hostname === "a.team.internal" && connections.active === 1,
      ),
    );
    writeConfig(configFor(cloud));
    await daemon.reload();
    await until("resolv.conf is as before", () => resolvConf() === foreign);
    expect(await getent("a.team.internal")).toBe("");
    writeFileSync(goOn, "");
    expect((await slow).out).toContain("wild");
    expect(await daemon.stop()).toBe(0);
  });

  test("another machine is refused, unless dns.clients has its network", async () => {
    for (const command of [
      "ip netns add far",
      "ip link add near type veth peer name far netns far",
      "ip address add 198.51.100.1/24 dev near",
      "ip link set near up",
      "ip -n far address add 198.51.100.2/24 dev far",
      "ip -n far link set far up",
    ])
      expect(await run(command.split(" "))).toMatchObject({ code: 0, err: "" });
    atEnd(() => run(["ip", "netns", "delete", "far"]));
    atEnd(() => run(["ip", "link", "delete", "near"]));
    const dns = { enabled: true, listen: "0.0.0.0:53", upstream: ["127.0.0.1:5399"] };
    const { cloud, daemon } = await begin({ dns });
    await until("it listens", async () => (await daemon.status()).dns?.listening === dns.listen);
    const far = async (name: string): Promise<string> =>
      (await run(`ip netns exec far dig @198.51.100.1 +tries=1 +time=30 ${name}`.split(" "))).out;
    expect(await far("exact.team.internal")).toContain("status: REFUSED");
    expect(await far("example.com")).toContain("status: REFUSED");
    writeConfig(configFor(cloud, { dns: { ...dns, clients: ["198.51.100.0/24"] } }));
    await daemon.reload();
    expect(await far("exact.team.internal")).toContain("status: NOERROR");
    expect(await daemon.stop()).toBe(0);
  });

  test("names in names.expand are in the hosts file, without any DNS", async () => {
    const { daemon } = await begin({ names: { expand: { "*.team.internal": ["a", "b.c"] } } });
    await daemon.becomes("b.c.team.internal", "listening");
    expect(await getent("a.team.internal")).toMatch(/^127\./);
    expect((await run(["curl", "-sS", "http://b.c.team.internal/"])).out).toBe("wild");
    expect(
      readFileSync("/etc/hosts", "utf8")
        .match(/\S+\.team\.internal/g)
        ?.sort(),
    ).toEqual(["a.team.internal", "b.c.team.internal", "exact.team.internal"]);
    expect(await daemon.stop()).toBe(0);
    expect(readFileSync("/etc/hosts", "utf8")).toBe(foreignHosts);
  });

  test("`undo` takes resolv.conf back after a kill, and no newer lines", async () => {
    const { daemon } = await begin({ dns: { enabled: true, manage_resolv_conf: true } });
    await until("the section is there", () => resolvConf().includes("127.0.0.1"));
    await daemon.stop("SIGKILL");
    appendFileSync("/etc/resolv.conf", "# newer\n");
    const dry = (await ngrokd("undo --dry-run")).out;
    expect(dry).toContain("ngrokd's section of /etc/resolv.conf");
    expect((await ngrokd("undo --yes")).code).toBe(0);
    expect(resolvConf()).toBe(`${foreign}# newer\n`);
  });

  test("a daemon that may make no file in /etc edits resolv.conf in place", async () => {
    const { daemon: first } = await begin({ dns: { enabled: true, manage_resolv_conf: true } });
    expect(await first.stop()).toBe(0);
    const before = statSync("/etc/resolv.conf").ino;
    const daemon = await serve({ env: { NGROKD_CREATE_IN: "/etc/ngrokd:/run:/var/run" } });
    await until("the section is there", () => resolvConf().includes("127.0.0.1"));
    expect(statSync("/etc/resolv.conf").ino).toBe(before);
    expect(await daemon.stop()).toBe(0);
    expect(resolvConf()).toBe(foreign);
  });

  test("a copy that the Go program left is given back at the next start", async () => {
    const { daemon } = await begin(
      {},
      `# ngrokd managed - do not edit this line\nnameserver 127.0.0.1\n${foreign}`,
      true,
    );
    await until("the file is as it was", () => resolvConf() === foreign);
    await until("the copy is gone", () => !existsSync("/etc/ngrokd/resolv.conf.bak"));
    expect(await daemon.stop()).toBe(0);
  });

  test("a resolver that does not ask ngrokd is told, with the reason", async () => {
    const { daemon } = await begin({ dns: { enabled: true } });
    const text = await until("status tells it", async () => {
      const { warnings } = await daemon.status();
      return warnings.find((one) => one.startsWith("Programs do not find")) ?? false;
    });
    expect(text).toContain("the machine's resolver did not ask 127.0.0.1:53");
    expect(text).toContain('ut "nameserver 127.0.0.1" first into /etc/resolv.conf');
    expect(resolvConf()).toBe(foreign);
    // Done by hand, it is right.
    writeFileSync("/etc/resolv.conf", `nameserver 127.0.0.1\n${foreign}`);
    await daemon.refresh();
    await until("the warning is gone", async () => (await daemon.status()).warnings.length === 0);
    expect(await daemon.stop()).toBe(0);
  });
});

const otherServer = `
import socket, time
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("127.0.0.1", 53))
print("ready", flush=True)
time.sleep(600)
`;
