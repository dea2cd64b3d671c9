import { expect, test } from "bun:test";
import { copyFileSync, linkSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { type Cloud, configFor, startCloud } from "../support/cloud.ts";
import { loadText, startLoad, undisturbed } from "../support/load.ts";
import {
  binary,
  type Daemon,
  defaultConfig,
  ngrokd,
  run,
  serve,
  writeConfig,
} from "../support/ngrokd.ts";
import { carries } from "../support/round-trip.ts";
import { type ServiceManager, startServiceManager } from "../support/service-manager.ts";
import { stories, until } from "../support/story.ts";
import { dial, echo, resolve } from "../support/tcp.ts";
import { page } from "../support/web.ts";

const names = ["one.demo", "two.demo", "three.demo"];
/**
 * New connections a second by the clock, and long ones. `make soak` has more of
 * both, and more rounds; then the log says which rate this machine has reached.
 */
const load = {
  rate: Number(process.env.HANDOVER_RATE ?? 60),
  long: Number(process.env.HANDOVER_LONG ?? 50),
};
const rounds = Number(process.env.HANDOVER_ROUNDS ?? 3);
const ofRounds = 60_000 + rounds * 12_000;

const deaf = { data: () => undefined };

let cloud: Cloud;
let daemon: Daemon;
let manager: ServiceManager;

/** A cloud with the endpoints, and a daemon; by default under the manager. */
async function begin(env?: Record<string, string>): Promise<void> {
  cloud = await startCloud();
  // A machine that is busy with other tests must not count as a silent ingress.
  writeConfig(configFor(cloud, { forward: { open_timeout: 60 } }));
  manager = startServiceManager();
  const service = await echo();
  for (const name of names) await cloud.add(`tcp://${name}:7000`, service.address);
  daemon = await serve({ env: env ?? manager.env, args: "--json" });
  for (const name of names) await daemon.becomes(name, "listening");
}

async function targets(): Promise<{ name: string; ip: string; port: number }[]> {
  const items = await daemon.list();
  return names.map((name) => {
    const item = items.find(({ hostname }) => hostname === name);
    if (item === undefined) throw new Error(`no endpoint ${name}`);
    return { name, ip: item.ip, port: item.port };
  });
}

/** A connection that has carried bytes and stays open. */
async function talk(): Promise<Awaited<ReturnType<typeof dial>>> {
  const client = await dial("one.demo", 7000);
  await client.write("hello");
  expect(await client.read(5)).toBe("hello");
  return client;
}

stories("a handover to another program", () => {
  test(
    "leaves no client refused and no byte lost, several times in a row",
    async () => {
      await begin();
      const running = startLoad({ ...load, least: 151 }, await targets());
      await Bun.sleep(1500);
      const pids = new Set([(await daemon.status()).pid]);
      for (let round = 1; round <= rounds; round += 1) {
        const ran = await ngrokd("upgrade --json");
        expect(ran.err).toBe("");
        expect(ran.json).toMatchObject({ way: "beside" });
        const { pid, phase } = await daemon.status();
        expect({ pid, phase }).toEqual({ pid: ran.json.pid, phase: "serving" });
        await until("systemd knows the process", () => manager.mainPid() === pid);
        pids.add(pid);
        await Bun.sleep(700);
      }
      expect(pids.size).toBe(rounds + 1);
      const report = await running.end();
      console.log("upgrades:", loadText(report));
      expect(report).toMatchObject({ ...undisturbed, complete: report.begun });
      expect(report.begun).toBeGreaterThan(150);
      expect(report.longBytes).toBeGreaterThan(500_000);
    },
    ofRounds,
  );

  test("keeps what the daemon has counted, and shows the old process until it ends", async () => {
    await until(
      "the earlier processes have told all",
      async () => (await daemon.status()).predecessor === undefined,
    );
    const before = await daemon.endpoint("one.demo");
    const client = await talk();
    const old = (await daemon.status()).pid;
    copyFileSync(binary(), "/run/bin/ngrokd-copy");
    const { json, err } = await ngrokd("upgrade --json --to /run/bin/ngrokd-copy");
    expect({ json, err }).toMatchObject({ json: { program: "/run/bin/ngrokd-copy" }, err: "" });
    await until("the new process shows the old one", async () => {
      const { predecessor } = await daemon.status();
      return predecessor?.pid === old && predecessor.connections === 1;
    });
    expect((await ngrokd("status")).out).toContain(`pid ${old}, whose 1 connection continues`);
    const during = await daemon.endpoint("one.demo");
    expect(during?.connections).toMatchObject({
      active: 1,
      total: (before?.connections.total ?? 0) + 1,
    });
    await client.write(" and goodbye");
    expect(await client.read(12)).toBe(" and goodbye");
    client.end();
    expect(await client.rest()).toBe("");
    await until("the old process has ended", async () => {
      return (await daemon.status()).predecessor === undefined;
    });
    const after = await daemon.endpoint("one.demo");
    expect(after?.connections.active).toBe(0);
    expect(after?.bytes.up).toBe((before?.bytes.up ?? 0) + 17);
  });

  test("keeps the last connections and the traffic, also of those that end later", async () => {
    const history = async () => {
      const [{ json: traffic }, { json: list }] = await Promise.all([
        ngrokd("traffic one.demo --json"),
        ngrokd("connections one.demo --json"),
      ]);
      const sum = (values: number[]): number => values.reduce((all, n) => all + n, 0);
      const { up, down, opened, ended } = traffic.total;
      const [newest] = list.connections;
      return {
        total: { up: sum(up), down: sum(down), opened: sum(opened), ended: sum(ended) },
        ended: list.ended,
        newest: { ...newest, id: 0 },
      };
    };
    const first = await talk();
    first.end();
    expect(await first.rest()).toBe("");
    const client = await talk();
    // Traffic is told of full seconds, and a timer of one second notes it. A
    // daemon that stood still has noted it when it answers.
    await Bun.sleep(1000);
    await history();
    await Bun.sleep(1100);
    const before = await history();
    expect(before.newest).toMatchObject({ state: "open" });
    const [past] = (await ngrokd("connections one.demo --json")).json.connections.slice(1);
    expect((await ngrokd("upgrade --json")).err).toBe("");
    const after = await history();
    expect(after).toEqual({
      ...before,
      // No more are passed on.
      ended: Math.min(before.ended, 1000),
      newest: { ...past, id: 0, timeline_ms: expect.any(Object) },
    });
    expect(after.newest.timeline_ms.ended).toBeCloseTo(past.timeline_ms.ended, 1);
    client.end();
    expect(await client.rest()).toBe("");
    const later = await until("the old process has told of its last connection", async () => {
      const now = await history();
      return now.total.ended === before.total.ended + 1 && now;
    });
    expect(later.newest).toMatchObject({ state: "ended", bytes: { up: 5, down: 5 } });
    const { out } = await ngrokd("events one.demo --kinds connection.ended --json");
    expect(out).toContain('"kind":"connection.ended"');
  });

  test.each([
    ["that ends at once", "#!/bin/sh\nexit 3\n", "it ended with exit code 3"],
    [
      "of another protocol",
      `#!/bin/sh\nNGROKD_HANDOVER="9\${NGROKD_HANDOVER#?}" exec /run/bin/ngrokd "$@"\n`,
      "it ended with exit code",
    ],
    ["that is no program", "nonsense", "it is no program for this machine"],
  ])("a program %s leaves the old one in charge", async (_what, text, why) => {
    writeFileSync("/run/bin/other", text, { mode: 0o755 });
    const { pid } = await daemon.status();
    const client = await talk();
    const ran = await ngrokd("upgrade --to /run/bin/other");
    expect(ran.code).not.toBe(0);
    expect(ran.err).toContain('Cannot hand over to "/run/bin/other"');
    expect(ran.err).toContain(why);
    expect(await daemon.status()).toMatchObject({ pid, phase: "serving" });
    await cloud.add("tcp://late.demo:7000", "127.0.0.1:9").then((id) => cloud.remove(id));
    await daemon.refresh();
    client.end();
    expect(await client.rest()).toBe("");
    expect(await resolve("one.demo")).toBeDefined();
  });

  test("a wrong configuration leaves the old one in charge, with the reason", async () => {
    const config = readFileSync(defaultConfig, "utf8");
    const { pid } = await daemon.status();
    writeFileSync(defaultConfig, config.replace('"poll_interval":1', '"poll_interval":"often"'));
    const ran = await ngrokd("upgrade");
    writeFileSync(defaultConfig, config);
    expect(ran.code).not.toBe(0);
    expect(ran.err).toContain("poll_interval");
    expect(await daemon.status()).toMatchObject({ pid });
    (await talk()).end();
  });

  test("a file that others could change, or that is none, is not started", async () => {
    writeFileSync("/run/bin/loose", "#!/bin/sh\ntouch /run/started\n", { mode: 0o755 });
    await Bun.$`chmod 0777 /run/bin/loose`;
    const loose = await ngrokd("upgrade --to /run/bin/loose");
    expect(loose.err).toContain("other users could change it");
    const missing = await ngrokd("upgrade --to /run/bin/missing");
    expect(missing.err).toContain("the daemon sees no such file");
    const other = await ngrokd("upgrade --to /run/bin/ngrokd", { as: "nobody" });
    expect(other.code).not.toBe(0);
    expect(await Bun.file("/run/started").exists()).toBe(false);
  });

  test("only the program that the daemon has started may take over", async () => {
    const { askSocket } = await import("../support/ngrokd.ts");
    for (const command of ["handover", "handover-descriptors"]) {
      const request = { command, args: ["1", "0".repeat(64)] };
      const reply = await askSocket(daemon.socket, request).catch(() => "closed");
      if (reply !== "closed") expect(reply).toMatchObject({ success: false, code: "permission" });
    }
    expect((await daemon.status()).phase).toBe("serving");
  });

  test("a stop ends the old process as well, and takes the names back", async () => {
    const client = await talk();
    expect((await ngrokd("upgrade")).err).toBe("");
    const { pid } = await daemon.status();
    process.kill(pid, "SIGTERM");
    await until("the names are gone", async () => (await resolve("one.demo")) === undefined);
    client.end();
    expect(await client.rest()).toBe("");
    expect(await daemon.exited).toBe(0);
    await until("the new process has ended", () => !isAlive(pid));
  });
});

const isAlive = (pid: number): boolean => {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
};

stories("a handover in the same process, as without systemd", () => {
  test(
    "keeps the process and the sockets: clients wait, and nothing is refused",
    async () => {
      await begin({});
      const running = startLoad({ rate: load.rate, long: 0, least: 101 }, await targets());
      const { pid } = daemon;
      for (let round = 1; round <= rounds; round += 1) {
        await Bun.sleep(800);
        const ran = await ngrokd("upgrade --json");
        expect(ran.err).toBe("");
        expect(ran.json).toMatchObject({ way: "in place", pid });
        await until(
          "the next program serves",
          () => daemon.log().split("ngrokd is up").length === round + 2,
        );
        expect((await daemon.status()).pid).toBe(pid);
      }
      const report = await running.end();
      console.log("upgrades in place:", loadText(report));
      expect(report).toMatchObject({ ...undisturbed, complete: report.begun });
      expect(report.begun).toBeGreaterThan(100);
      expect(await daemon.stop()).toBe(0);
      expect(await resolve("one.demo")).toBeUndefined();
    },
    ofRounds,
  );
});

stories("the sockets of a daemon that is killed", () => {
  test(
    "are kept by systemd: clients wait, names stay, and nothing is refused",
    async () => {
      await begin();
      const places = await targets();
      await until("systemd keeps the doors", () =>
        places.every(({ ip, port }) => manager.kept().includes(`ngrokd tcp ${ip}|${port}`)),
      );
      const running = startLoad({ rate: load.rate, long: 0, least: 101 }, places);
      for (let round = 1; round <= rounds; round += 1) {
        await Bun.sleep(1000);
        await daemon.stop("SIGKILL");
        const { words, fds } = manager.passing();
        await Bun.sleep(100);
        daemon = await serve({
          env: manager.env,
          args: "--json",
          inside: [...words, binary()],
          fds,
        });
        for (const name of names) await daemon.becomes(name, "listening");
      }
      const report = await running.end();
      console.log("kill -9:", loadText(report));
      const { refused, wrong, missingNames, complete } = report;
      expect({ refused, wrong, missingNames }).toEqual({ refused: 0, wrong: 0, missingNames: [] });
      // Those that were open at a kill are cut: the kernel ends them.
      expect(complete).toBeGreaterThan(100);
    },
    ofRounds,
  );

  test("carry connections at once after the last start", async () => {
    const client = await talk();
    client.end();
    expect(await client.rest()).toBe("");
  });

  test("are given up when their endpoint is gone", async () => {
    const [first] = await cloud.api("GET", "/endpoints").then(({ endpoints }) => endpoints);
    const { hostname } = new URL(first.public_url ?? first.url);
    const item = await daemon.endpoint(hostname);
    await cloud.remove(first.id);
    await daemon.becomes(hostname, "gone");
    await until(
      "systemd has forgotten it",
      () => !manager.kept().includes(`ngrokd tcp ${item?.ip}|${item?.port}`),
    );
  });
});

stories("a handover of a virtual interface, IPv6, network mode and the DNS server", () => {
  const ifindex = async (): Promise<string> =>
    (await run(["ip", "-o", "link", "show", "ngrokd0"])).out.split(":")[0] ?? "";
  let v6 = "";

  /** Everything answers: both families, the shared door, UDP and TCP of DNS. */
  const answers = async (): Promise<Record<string, boolean>> => {
    const wild = await fetch("http://10.99.0.1:7080/", {
      headers: { host: "page.demo:7080", connection: "close" },
    });
    const digs = await Promise.all(
      ["+notcp", "+tcp"].map((how) => run(["dig", how, "+short", "@127.0.0.55", "one.demo"])),
    );
    return {
      ip: await carries("10.107.0.2", 7000),
      ip6: await carries(v6, 7000),
      shared: (await wild.text()) === "page",
      udp: digs[0]?.out.trim() === "10.107.0.2",
      tcp: digs[1]?.out.trim() === "10.107.0.2",
    };
  };
  const all = { ip: true, ip6: true, shared: true, udp: true, tcp: true };

  test("leaves all of them as they are", async () => {
    await run(["ip", "address", "replace", "10.99.0.1/32", "dev", "lo"]);
    cloud = await startCloud();
    writeConfig(
      configFor(cloud, {
        net: { subnet: "10.107.0.0/16", listen_interface: "10.99.0.1" },
        dns: { enabled: true, listen: "127.0.0.55:53" },
      }),
    );
    manager = startServiceManager();
    await cloud.add("tcp://one.demo:7000", (await echo()).address);
    await cloud.add("http://page.demo:7080", page("page").address);
    await cloud.add("http://*.wild.demo", page("wild").address);
    daemon = await serve({ env: manager.env, args: "--json" });
    await daemon.becomes("one.demo", "listening");
    await daemon.becomes("page.demo", "listening");
    v6 = (await daemon.endpoint("one.demo"))?.ip6 ?? "";
    expect(v6).toMatch(/^fd/);
    await until("all answer", async () => Bun.deepEquals(await answers(), all));
    const before = { index: await ifindex(), hosts: readFileSync("/etc/hosts", "utf8") };
    const { network } = await daemon.status();
    expect(network.subnet).toBe("10.107.0.0/16");
    for (let round = 1; round <= 3; round += 1) {
      const old = (await daemon.status()).pid;
      expect((await ngrokd("upgrade")).err).toBe("");
      expect(await answers()).toEqual(all);
      await until("the old process has ended", () => !isAlive(old));
      expect({ index: await ifindex(), hosts: readFileSync("/etc/hosts", "utf8") }).toEqual(before);
      expect(await answers()).toEqual(all);
      expect((await daemon.status()).network).toEqual(network);
    }
  });

  test("and so does a kill with systemd's store", async () => {
    const before = { index: await ifindex(), hosts: readFileSync("/etc/hosts", "utf8") };
    const { pid } = await daemon.status();
    process.kill(pid, "SIGKILL");
    await until("it is gone", () => !isAlive(pid));
    expect(await ifindex()).toBe(before.index);
    const { words, fds } = manager.passing();
    daemon = await serve({
      env: manager.env,
      args: "--json",
      inside: [...words, binary()],
      fds,
    });
    await daemon.becomes("one.demo", "listening");
    await until("all answer", async () => Bun.deepEquals(await answers(), all));
    expect({ index: await ifindex(), hosts: readFileSync("/etc/hosts", "utf8") }).toEqual(before);
  });
});

stories("sockets that systemd has opened", () => {
  test("are the control socket and the health server, and their path stays", async () => {
    cloud = await startCloud();
    writeConfig(configFor(cloud));
    manager = startServiceManager();
    const opened = {
      "ngrokd.socket": Bun.listen({ unix: "/var/run/opened.sock", socket: deaf }),
      health: Bun.listen({ hostname: "127.0.0.1", port: 8081, socket: deaf }),
    };
    // A second name: the first goes with the listener of this process.
    linkSync("/var/run/opened.sock", "/var/run/ngrokd.sock");
    for (const [name, listener] of Object.entries(opened)) {
      manager.keep(name, (listener as unknown as { fd: number }).fd);
      listener.stop();
    }
    const { ino } = statSync("/var/run/ngrokd.sock");
    const { words, fds } = manager.passing();
    daemon = await serve({ env: manager.env, args: "--json", inside: [...words, binary()], fds });
    expect((await daemon.status()).warnings).toEqual([]);
    await until("it is healthy", async () => {
      return (await fetch("http://127.0.0.1:8081/healthz", { keepalive: false })).ok;
    });
    expect((await ngrokd("upgrade")).err).toBe("");
    const { pid } = await daemon.status();
    process.kill(pid, "SIGTERM");
    await until("it has ended", () => !isAlive(pid));
    expect(statSync("/var/run/ngrokd.sock").ino).toBe(ino);
    expect(daemon.log()).not.toContain("no health server");
  });
});
