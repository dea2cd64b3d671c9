import { beforeAll, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { type Cloud, configFor, startCloud } from "../support/cloud.ts";
import { type Daemon, run, serve, writeConfig } from "../support/ngrokd.ts";
import { atEnd, stories, until } from "../support/story.ts";
import { page } from "../support/web.ts";

/** Another name server, which knows no name. */
const foreign = "nameserver 127.0.0.99\noptions timeout:1 attempts:1\n";
const resolvConf = (): string => readFileSync("/etc/resolv.conf", "utf8");

/** The resolver's answer as glibc's programs see it. */
async function getent(name: string): Promise<string> {
  const { out } = await run(["getent", "ahostsv4", name]);
  return /^\S+/.exec(out)?.[0] ?? "";
}

async function begin(config: object): Promise<{ cloud: Cloud; daemon: Daemon }> {
  writeFileSync("/etc/resolv.conf", foreign);
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
    await buildAskers();
    ({ cloud, daemon } = await begin({ dns: { enabled: true, manage_resolv_conf: true } }));
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
    expect(items.find(({ state }) => state === "wildcard")).toMatchObject({ hostname: "", ip: "" });
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

  test("other names are refused, and another program's name server is asked", async () => {
    const { out } = await run(["dig", "@127.0.0.1", "+time=2", "+tries=1", "example.com"]);
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

  test("a resolv.conf that another program writes anew gets the section again", async () => {
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
