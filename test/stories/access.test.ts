import { beforeAll, expect, test } from "bun:test";
import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { unitText } from "../../src/service/unit.ts";
import { type Cloud, configFor, registered } from "../support/cloud.ts";
import { type Daemon, defaultConfig, examine, ngrokd, run } from "../support/ngrokd.ts";
import { carries, echoes, talking } from "../support/round-trip.ts";
import { sandboxed, unitFacts } from "../support/sandbox.ts";
import { atEnd, stories, until } from "../support/story.ts";
import { echo } from "../support/tcp.ts";
import { page } from "../support/web.ts";

const users = { alice: 5001, bob: 5002 } as const;
type User = keyof typeof users;

/** Gives this machine two users, and a group without members. */
function addUsers(): void {
  for (const [name, uid] of Object.entries(users))
    appendFileSync("/etc/passwd", `${name}:x:${uid}:${uid}::/:/bin/sh\n`);
  appendFileSync("/etc/group", "alice:x:5001:\nbob:x:5002:\ndba:x:5050:\n");
}

const asUser = (user: User, script: string): string[] => [
  "setpriv",
  `--reuid=${users[user]}`,
  `--regid=${users[user]}`,
  "--clear-groups",
  "bash",
  "-c",
  script,
];
const sayHello = (host: string, port: number): string =>
  `exec 3<>/dev/tcp/${host}/${port} && echo hello >&3 && timeout 60 head -c 5 <&3`;

/** Whether a connection of this user to an echo carries bytes. */
async function carriesFor(user: User, host: string, port = 7000): Promise<boolean> {
  const { out } = await run(asUser(user, `${sayHello(host, port)} 2>/dev/null`));
  return out === "hello";
}

type Rules = readonly { endpoint: string; users?: string[]; groups?: string[]; from?: string[] }[];

/** The configuration of a cloud with rules, a rule on each line. */
function writeRules(cloud: Cloud, rules: Rules, more: object = {}): void {
  const { access: _, ...config } = configFor(cloud, { ...more }) as Record<string, unknown>;
  const lines = rules.map((rule) => `    - ${JSON.stringify(rule)}\n`).join("");
  const text = Object.entries(config)
    .map(([name, value]) => `${name}: ${JSON.stringify(value)}\n`)
    .join("");
  writeFileSync(defaultConfig, `access:\n  rules:\n${lines}${text}`, { mode: 0o600 });
}

const forAlice: Rules = [{ endpoint: "db.demo:7000", users: ["alice"] }];

/** A cloud with an echo behind db.demo and open.demo, and a daemon. */
async function serving(
  options: Parameters<typeof registered>[0] = {},
): Promise<{ cloud: Cloud; daemon: Daemon }> {
  const { cloud, daemon } = await registered({ args: "--json", ...options });
  const { address } = await echo();
  await cloud.add("tcp://db.demo:7000", address);
  await cloud.add("tcp://open.demo:7000", address);
  await daemon.becomes("db.demo", "listening");
  await daemon.becomes("open.demo", "listening");
  return { cloud, daemon };
}

const linesAbout = (daemon: Daemon, text: string) =>
  daemon.lines().filter(({ message }) => message.includes(text));

stories("two users of one machine", () => {
  let cloud: Cloud;
  let daemon: Daemon;

  beforeAll(async () => {
    addUsers();
    ({ cloud, daemon } = await serving());
  });

  test("both get every endpoint that has no rule", async () => {
    expect(await carriesFor("alice", "db.demo")).toBe(true);
    expect(await carriesFor("bob", "db.demo")).toBe(true);
  });

  test("by a rule with one of them, the other is reset before anything is dialled", async () => {
    writeRules(cloud, forAlice);
    expect((await daemon.reload()).ok).toBe(true);
    const { misses, hits } = (await daemon.status()).pool;
    expect(await carriesFor("bob", "db.demo")).toBe(false);
    expect(await carries("db.demo", 7000)).toBe(false);
    const after = (await daemon.status()).pool;
    expect({ misses: after.misses, hits: after.hits }).toEqual({ misses, hits });
    expect(await carriesFor("alice", "db.demo")).toBe(true);
    expect(await carriesFor("bob", "open.demo")).toBe(true);
  });

  test("the refusals are counted, and explained with the line of the configuration", async () => {
    expect(await carriesFor("bob", "db.demo")).toBe(false);
    const rule = `access.rules[1] (${defaultConfig}:3)`;
    const reason = `the user "bob" (5002) may not connect, since ${rule} does not name it`;
    const item = await daemon.endpoint("db.demo");
    expect(item).toMatchObject({
      connections: { last_error: `reset at once: ${reason}` },
      errors_by_kind: { access: 3 },
    });
    expect((await ngrokd("status")).out).toContain("3 access");
    const metrics = await (await fetch("http://127.0.0.1:8081/metrics")).text();
    expect(metrics).toContain(
      'ngrokd_connection_errors_total{endpoint="db.demo:7000",kind="access"} 3\n',
    );
    expect(linesAbout(daemon, "bob")).toMatchObject([
      {
        level: "warn",
        message: `db.demo:7000: reset at once: ${reason}`,
        hint: 'add "bob" to the rule\'s `users`, or one of its groups to `groups`',
      },
    ]);
    const why = await examine("why db.demo:7000", { env: { SUDO_UID: "5002" } });
    expect(why.out.replaceAll(/\s+/g, " ")).toContain(reason);
    await until("the doctor tells of it", async () =>
      (await ngrokd("doctor")).out
        .replaceAll(/\s+/g, " ")
        .includes("db.demo:7000 has reset 3 clients who may not connect"),
    );
  });

  test("a program that has closed its socket by now is not taken for root", async () => {
    writeRules(cloud, [{ endpoint: "*", users: ["root"] }]);
    await daemon.reload();
    for (let n = 0; n < 20; n += 1)
      await run(asUser("bob", "exec 3<>/dev/tcp/db.demo/7000 && echo hello >&3 && exec 3>&-"));
    const { bytes } = await until("all are counted", async () => {
      const item = await daemon.endpoint("db.demo");
      return item?.errors_by_kind.access === 23 && item;
    });
    expect(await carries("db.demo", 7000)).toBe(true);
    const { bytes: more } = (await daemon.endpoint("db.demo")) ?? {};
    expect((more?.up ?? 0) - (bytes?.up ?? 0)).toBe(5);
  });

  test("groups count, and a new member gets in without a reload", async () => {
    writeRules(cloud, [{ endpoint: "*.demo", groups: ["dba"] }]);
    await daemon.reload();
    expect(await carriesFor("alice", "db.demo")).toBe(false);
    const group = readFileSync("/etc/group", "utf8");
    writeFileSync("/etc/group", group.replace("dba:x:5050:\n", "dba:x:5050:alice\n"));
    await until("alice gets in", () => carriesFor("alice", "db.demo"));
    expect(await carriesFor("bob", "db.demo")).toBe(false);
  });

  test("a reload leaves open connections alone, and counts for the next one", async () => {
    writeRules(cloud, []);
    writeFileSync(defaultConfig, readFileSync(defaultConfig, "utf8").replace("  rules:\n", ""));
    await daemon.reload();
    const open = await talking("db.demo", 7000);
    writeRules(cloud, forAlice);
    await daemon.reload();
    expect(await echoes(open, "still here")).toBe(true);
    expect(await carries("db.demo", 7000)).toBe(false);
    expect(await echoes(open, "and still")).toBe(true);
    open.reset();
  });

  test("a rule that cannot be used changes nothing, and names its mistake", async () => {
    writeRules(cloud, [{ endpoint: "*", user: ["bob"] } as Rules[number]]);
    const report = await daemon.reload();
    expect(report.ok).toBe(false);
    expect(report.problems[0]).toMatchObject({
      line: 3,
      message: expect.stringContaining("access.rules[1].user is no field of a rule"),
    });
    expect(await carriesFor("bob", "db.demo")).toBe(false);
    expect(await carriesFor("alice", "db.demo")).toBe(true);
  });

  test("a user whom the machine does not have is reported, and gets nobody in", async () => {
    writeRules(cloud, [{ endpoint: "*", users: ["mallory"] }]);
    expect((await daemon.reload()).ok).toBe(true);
    const text = 'access.rules[1] names the user "mallory", which is not in /etc/passwd';
    expect((await daemon.status()).warnings).toEqual([expect.stringContaining(text)]);
    expect(linesAbout(daemon, text)).toHaveLength(1);
    expect(await carriesFor("alice", "db.demo")).toBe(false);
    expect(await daemon.stop()).toBe(0);
  });
});

stories("rules about users", () => {
  const unit = unitText(unitFacts);

  beforeAll(addUsers);

  test.each([
    ["in the sandbox of the service", { inside: true, deno: false }],
    ["under Deno, by the kernel's tables", { inside: false, deno: "all rights" as const }],
  ])("work %s", async (_where, { inside, deno }) => {
    const { cloud, daemon } = await serving(inside ? { inside: sandboxed(unit) } : { deno });
    // Deno dials slowly, and here forty times at once.
    writeRules(cloud, forAlice, { forward: { open_timeout: 60 } });
    await daemon.reload();
    expect(await carriesFor("bob", "db.demo")).toBe(false);
    expect(await carriesFor("alice", "db.demo")).toBe(true);
    expect(await daemon.endpoint("db.demo")).toMatchObject({ errors_by_kind: { access: 1 } });
    const all = await Promise.all(
      Array.from({ length: 40 }, (_, n) => carriesFor(n % 2 === 0 ? "alice" : "bob", "db.demo")),
    );
    expect(all).toEqual(all.map((_, n) => n % 2 === 0));
    expect(await daemon.stop()).toBe(0);
  });
});

/** A bridge, and another machine behind it with two addresses. */
async function bridge(): Promise<void> {
  atEnd(() => run(["ip", "netns", "del", "stranger"]));
  atEnd(() => run(["ip", "link", "del", "br0"]));
  atEnd(() => run(["ip", "link", "del", "port0"]));
  const { err } = await run([
    "sh",
    "-ec",
    `mkdir -p /run/netns && ip netns add stranger
ip link add br0 type bridge && ip link set br0 up && ip addr add 172.30.0.1/24 dev br0
ip link add port0 type veth peer name eth0 netns stranger && ip link set port0 master br0 up
ip -n stranger addr add 172.30.0.2/24 dev eth0 && ip -n stranger link set eth0 up
ip -n stranger addr add 172.30.0.3/24 dev eth0
ip -n stranger route add default via 172.30.0.1`,
  ]);
  expect(err).toBe("");
}

/** Whether a connection from the other machine to an echo carries bytes. */
async function carriesThere(ip = "", port = 7000): Promise<boolean> {
  const { out } = await run([
    ...["ip", "netns", "exec", "stranger", "bash", "-c"],
    `${sayHello(ip, port)} 2>/dev/null`,
  ]);
  return out === "hello";
}
stories("another machine on a bridge", () => {
  let cloud: Cloud;
  let daemon: Daemon;
  const virtual = { net: { subnet: "10.107.0.0/16" } };

  const ipOf = async (host: string): Promise<string | undefined> =>
    (await daemon.endpoint(host))?.ip;

  beforeAll(async () => {
    ({ cloud, daemon } = await serving({ config: virtual }));
    await bridge();
  });

  test("is refused by default, and this machine is not", async () => {
    expect(await carriesThere(await ipOf("db.demo"))).toBe(false);
    expect(await daemon.endpoint("db.demo")).toMatchObject({
      connections: {
        last_error: expect.stringMatching(/another machine may not.*\(172\.30\.0\.2\)/),
      },
      errors_by_kind: { access: 1 },
    });
    expect(await carries("db.demo", 7000)).toBe(true);
  });

  test("gets what a rule with its address names, and nothing else", async () => {
    writeRules(cloud, [{ endpoint: "db.demo", from: ["172.30.0.2/32"] }], virtual);
    await daemon.reload();
    expect(await carriesThere(await ipOf("db.demo"))).toBe(true);
    expect(await carriesThere(await ipOf("open.demo"))).toBe(false);
    expect(await carries("db.demo", 7000)).toBe(true);
    writeRules(cloud, [{ endpoint: "db.demo", from: ["172.30.0.3", "fd00::/8"] }], virtual);
    await daemon.reload();
    expect(await carriesThere(await ipOf("db.demo"))).toBe(false);
  });

  test("is no user of this machine, whatever the number of its user", async () => {
    writeRules(cloud, [{ endpoint: "*", users: ["root"] }], virtual);
    await daemon.reload();
    expect(await carriesThere(await ipOf("db.demo"))).toBe(false);
    expect(await carries("db.demo", 7000)).toBe(true);
    expect(await daemon.stop()).toBe(0);
  });
});

stories("another machine in network mode", () => {
  let cloud: Cloud;
  let daemon: Daemon;
  const network = { net: { listen_interface: "0.0.0.0" } };
  const here = "172.30.0.1";
  const warned = async (): Promise<boolean> =>
    (await daemon.status()).warnings.some((text) => text.includes("every machine"));

  beforeAll(async () => {
    await bridge();
    ({ cloud, daemon } = await serving({ config: network }));
    for (const name of ["one", "two"]) await cloud.add(`http://${name}.demo`, page(name).address);
    await daemon.becomes("two.demo", "listening");
  });

  const asked = async (name: string): Promise<string> =>
    (
      await run([
        ...["ip", "netns", "exec", "stranger", "curl", "--silent", "--max-time", "60"],
        ...["--resolve", `${name}:80:${here}`, `http://${name}/`],
      ])
    ).out;

  test("on a shared port gets the endpoint that a rule lets it use, and no other", async () => {
    expect(await asked("one.demo")).toBe("one");
    writeRules(
      cloud,
      [{ endpoint: "one.demo", from: ["172.30.0.0/24"] }, { endpoint: "*" }],
      network,
    );
    await daemon.reload();
    expect(await asked("one.demo")).toBe("one");
    expect(await asked("two.demo")).toBe("");
    expect(await daemon.endpoint("two.demo")).toMatchObject({ errors_by_kind: { access: 1 } });
    writeRules(cloud, [{ endpoint: "*" }], network);
    await daemon.reload();
    expect(await asked("one.demo")).toBe("");
    const metrics = await (await fetch("http://127.0.0.1:8081/metrics")).text();
    expect(metrics).toContain('ngrokd_unknown_host_errors_total{kind="access"} 1\n');
    expect((await run(["curl", "--silent", "http://one.demo/"])).out).toBe("one");
    writeRules(cloud, [{ endpoint: "none.demo" }], network);
    await daemon.reload();
  });

  test("gets every endpoint without a rule, and status says so", async () => {
    const port = (await daemon.endpoint("db.demo"))?.network_port;
    expect(await carriesThere(here, port)).toBe(true);
    expect(await warned()).toBe(true);
  });

  test("gets only what a rule with its address names, from the next connection on", async () => {
    const port = (await daemon.endpoint("db.demo"))?.network_port;
    writeRules(cloud, [{ endpoint: "*", from: ["172.30.0.3/32"] }], network);
    expect((await daemon.reload()).ok).toBe(true);
    expect(await carriesThere(here, port)).toBe(false);
    expect(await daemon.endpoint("db.demo")).toMatchObject({
      connections: { last_error: expect.stringMatching(/another machine may not.*172\.30\.0\.2/) },
    });
    expect(await warned()).toBe(false);
    expect(await carries("db.demo", 7000)).toBe(true);
    writeRules(cloud, [{ endpoint: "*", from: ["172.30.0.0/24"] }], network);
    await daemon.reload();
    expect(await carriesThere(here, port)).toBe(true);
    expect(await daemon.stop()).toBe(0);
  });
});
