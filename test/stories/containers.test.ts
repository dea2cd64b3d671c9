import { beforeAll, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { bridge, ip, type Neighbour, neighbour } from "../support/bridge.ts";
import { type Cloud, configFor, startCloud } from "../support/cloud.ts";
import {
  type Daemon,
  ngrokd,
  type Ran,
  run,
  serve,
  start,
  writeConfig,
} from "../support/ngrokd.ts";
import { atEnd, stories, until } from "../support/story.ts";
import { echo } from "../support/tcp.ts";
import { page } from "../support/web.ts";

/** The bridge of containers, and that of a stranger who routes through us. */
const [here, inside] = ["172.17.0.1", "172.17.0.2"];
const subnet = "172.17.0.0/24";
const [outside, away] = ["10.9.4.1", "10.9.4.2"];

let cloud: Cloud;
let daemon: Daemon;
let box: Neighbour;
let stranger: Neighbour;

/** What a container gets of the flags of `docker run`, as Docker does it. */
interface Given {
  readonly hosts: string;
  readonly resolvConf: string;
}

function givenBy(flags: readonly string[]): Given {
  const values = (name: string): string[] =>
    flags.flatMap((flag) => (flag.startsWith(`--${name}=`) ? [flag.split("=")[1] ?? ""] : []));
  const lines = values("add-host").map((pair) => {
    const [host = "", ...at] = pair.split(":");
    return `${at.join(":")}\t${host}\n`;
  });
  return {
    hosts: `127.0.0.1\tlocalhost\n${lines.join("")}`,
    resolvConf: values("dns")
      .map((at) => `nameserver ${at}\n`)
      .join(""),
  };
}

/** The flags in a text such as `docker run \ --add-host=… IMAGE`. */
const flagsIn = (text: string): string[] => text.split(/[\s\\]+/).filter((it) => /^--/.test(it));

/** Runs a program with the files of the container, which are its own. */
async function inContainer(given: Given, command: string, where = box): Promise<Ran> {
  mkdirSync("/run/box", { recursive: true });
  writeFileSync("/run/box/hosts", given.hosts);
  writeFileSync("/run/box/resolv.conf", given.resolvConf);
  const mounts = ["hosts", "resolv.conf"].map((it) => `mount --bind /run/box/${it} /etc/${it}`);
  const script = [...mounts, command].join(" && ");
  return await where.run("unshare", "--mount", "sh", "-c", script);
}

const curl = (url: string): string => `curl -sS --max-time 10 ${url}`;

/** Runs a program in a container of this machine's own network. */
const onHost: Neighbour = { run: async (...command) => await run(command) };

async function configure(more: Parameters<typeof configFor>[1]): Promise<void> {
  writeConfig(configFor(cloud, more));
  await daemon.reload();
  await daemon.refresh();
}

stories("names in a container", () => {
  beforeAll(async () => {
    await ip("address replace 192.0.2.50/32 dev lo");
    atEnd(() => ip("address del 192.0.2.50/32 dev lo"));
    await bridge("docker0", here);
    box = await neighbour("box", { on: "docker0", there: inside, gateway: here });
    await bridge("br9", outside);
    stranger = await neighbour("stranger", { on: "br9", there: away, gateway: outside });
    cloud = await startCloud();
    writeConfig(configFor(cloud));
    daemon = await serve();
    await cloud.add("http://one.demo", page("one").address);
    await cloud.add("http://two.demo", page("two").address);
    await cloud.add("tcp://db.demo:5432", (await echo()).address);
    await daemon.refresh();
    await daemon.becomes("two.demo", "listening");
  });

  test("do not work with loopback addresses, and the settings that would are printed", async () => {
    const { code, out, err } = await ngrokd("containers");
    expect({ code, out }).toEqual({ code: 1, out: "" });
    expect(err).toContain("a container has a loopback of its own");
    expect(err).toContain(`  net:\n    subnet: auto\n  access:\n    rules:\n`);
    expect(err).toContain(`from: [${subnet}]`);
    expect((await ngrokd("containers --json")).json).toMatchObject({ works: false, hosts: {} });
  });

  test("work in one with this machine's network", async () => {
    const { code, out } = await ngrokd("containers --network host");
    expect({ code, flags: flagsIn(out) }).toMatchObject({
      code: 0,
      flags: ["--network=host", ...Array(3).fill(expect.stringMatching(/^--add-host=.*:127\./))],
    });
    expect(
      await inContainer(givenBy(flagsIn(out)), curl("http://one.demo/"), onHost),
    ).toMatchObject({ code: 0, out: "one" });
  });

  test("work on a bridge with the printed settings and lines, in every format", async () => {
    const { settings } = (await ngrokd("containers --json")).json;
    await configure(Bun.YAML.parse(settings) as Parameters<typeof configFor>[1]);
    await until("the names have moved", async () => {
      const { ip } = (await daemon.endpoint("one.demo")) ?? {};
      return ip?.startsWith("10.107.") === true;
    });
    const { code, out, err } = await ngrokd("containers");
    expect({ code, err }).toEqual({ code: 0, err: "" });
    const given = givenBy(flagsIn(out));
    for (const name of ["one", "two"])
      expect(await inContainer(given, curl(`http://${name}.demo/`))).toMatchObject({ out: name });
    const hello = "exec 3<>/dev/tcp/db.demo/5432; echo hello >&3; head -1 <&3";
    expect(await inContainer(given, `bash -c '${hello}'`)).toMatchObject({ out: "hello\n" });
    const pairs = flagsIn(out).map((flag) => flag.replace("--add-host=", ""));
    const compose = Bun.YAML.parse((await ngrokd("containers --format compose")).out);
    expect(compose).toEqual({ services: { app: { extra_hosts: pairs } } });
    expect((await ngrokd("containers --format devcontainer")).json).toEqual({
      runArgs: flagsIn(out),
    });
    expect(flagsIn((await ngrokd("containers --format podman")).out)).toEqual(flagsIn(out));
  });

  test("are refused to a stranger who routes to them through this machine", async () => {
    const given = givenBy(flagsIn((await ngrokd("containers")).out));
    const { code, out } = await inContainer(given, curl("http://one.demo/"), stranger);
    expect({ refused: code !== 0, out }).toEqual({ refused: true, out: "" });
    const { connections } = (await daemon.endpoint("one.demo")) ?? {};
    expect(connections?.last_error).toContain(away);
  });

  test("are named with the rule that does not let the container in", async () => {
    const rules = [{ endpoint: "db.demo" }, { endpoint: "*", from: [subnet] }];
    await configure({ net: { subnet: "auto" }, access: { rules } });
    const { code, out, err } = await ngrokd("containers");
    expect({ code, flags: flagsIn(out).length }).toEqual({ code: 0, flags: 2 });
    expect(err).toContain(`db.demo:5432: rule 1 of access.rules does not let ${subnet} in`);
    expect(await inContainer(givenBy(flagsIn(out)), curl("http://one.demo/"))).toMatchObject({
      out: "one",
    });
  });

  test("work by ngrokd's name server, names below wildcards and others too", async () => {
    await cloud.add("http://*.team.internal", page("wild").address);
    const rules = [{ endpoint: "*", from: [subnet] }];
    const others = "--no-daemon --no-resolv --no-hosts --bind-interfaces --user=root";
    start("another name server", [
      "dnsmasq",
      ...others.split(" "),
      "--listen-address=127.0.0.99",
      "--host-record=other.example,192.0.2.9",
    ]);
    await configure({ net: { subnet: "auto" }, access: { rules } });
    const { settings, lacks } = (await ngrokd("containers --json")).json;
    expect(lacks).toMatchObject([{ endpoints: ["*.team.internal"] }]);
    const { dns } = Bun.YAML.parse(settings) as { dns: object };
    await configure({
      net: { subnet: "auto" },
      access: { rules },
      dns: { ...dns, upstream: ["127.0.0.99"] },
    });
    const { out, err } = await until("the name server is printed", async () => {
      const printed = await ngrokd("containers");
      return printed.out.includes("--dns=10.107.0.1") && printed;
    });
    expect({ err, flags: flagsIn(out) }).toEqual({ err: "", flags: ["--dns=10.107.0.1"] });
    const given = givenBy(flagsIn(out));
    for (const [name, text] of [
      ["one.demo", "one"],
      ["a.team.internal", "wild"],
    ])
      expect(await inContainer(given, curl(`http://${name}/`))).toMatchObject({ out: text });
    const asked = await inContainer(given, "getent ahostsv4 other.example");
    expect(asked.out).toStartWith("192.0.2.9");
    const refused = await inContainer(given, "getent ahostsv4 one.demo", stranger);
    expect(refused).toMatchObject({ code: 2, out: "" });
  });

  test("work at this machine's address on the bridge in network mode", async () => {
    await configure({
      net: { listen_interface: "0.0.0.0" },
      access: { rules: [{ endpoint: "*", from: [subnet] }] },
    });
    await until("the names are on loopback again", async () => {
      const { ip } = (await daemon.endpoint("one.demo")) ?? {};
      return ip?.startsWith("127.") === true;
    });
    const { code, out } = await ngrokd("containers");
    expect(code).toBe(0);
    const given = givenBy(flagsIn(out));
    expect(given.hosts).toContain(`${here}\tone.demo\n`);
    for (const name of ["one", "two"])
      expect(await inContainer(given, curl(`http://${name}.demo/`))).toMatchObject({ out: name });
    const { out: got } = await inContainer(given, curl("http://one.demo/"), stranger);
    expect(got).toBe("");
    expect((await ngrokd("containers --network 10.9.4.0/24")).err).toContain("rule 1");
  });

  test("are asked for in a format and a network that there are", async () => {
    for (const words of ["--format lxc", "--network 172.17.0.0"]) {
      const { code, out, err } = await ngrokd(`containers ${words}`);
      expect({ words, code, out }).toEqual({ words, code: 2, out: "" });
      expect(err).toContain("hint:");
    }
    const { out } = await ngrokd("containers --format wsl");
    expect(out).toMatch(/^127\.\d+\.\d+\.\d+\tone\.demo$/m);
  });
});
