import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { type Cloud, configFor, startCloud } from "../support/cloud.ts";
import { startLoad, undisturbed } from "../support/load.ts";
import { type Daemon, ngrokd, run, serve, writeConfig } from "../support/ngrokd.ts";
import { carries, echoes, talking } from "../support/round-trip.ts";
import { startServiceManager } from "../support/service-manager.ts";
import { stories, until } from "../support/story.ts";
import { echo } from "../support/tcp.ts";
import { page } from "../support/web.ts";

const names = ["one.demo", "two.demo", "three.demo"];

let cloud: Cloud;
let daemon: Daemon;

/** A cloud with the endpoints, and a daemon with two workers. */
async function begin(
  forward: object = {},
  more: object = {},
  env: Record<string, string> = {},
): Promise<void> {
  cloud = await startCloud();
  writeConfig(configFor(cloud, { ...more, forward: { workers: 2, open_timeout: 60, ...forward } }));
  const service = await echo();
  for (const name of names) await cloud.add(`tcp://${name}:7000`, service.address);
  daemon = await serve({ args: "--json", env });
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

const workers = async () => (await daemon.status()).workers ?? [];

/** The processes that this one has started. */
const childrenOf = (pid: number): number[] =>
  readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((child) => parentOf(child) === pid);

function parentOf(pid: number): number | undefined {
  try {
    return Number(/^.*\) \S (\d+)/s.exec(readFileSync(`/proc/${pid}/stat`, "utf8"))?.[1]);
  } catch {
    return undefined;
  }
}

const isAlive = (pid: number): boolean => {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
};

/** Two connections of each worker, which stay open. */
async function ofEach() {
  const peers = [];
  for (let i = 0; i < 200; i += 1) {
    peers.push(await talking("one.demo", 7000));
    if ((await workers()).every(({ open }) => open >= 2)) return peers;
  }
  throw new Error(`one worker gets all: ${JSON.stringify(await workers())}`);
}

stories("two workers", () => {
  test("carry connections with every byte in its place, and both get some", async () => {
    await begin();
    const running = startLoad({ rate: 100, long: 50, least: 101 }, await targets());
    await Bun.sleep(3000);
    await until("both get some", async () => {
      const each = await workers();
      expect(each).toHaveLength(2);
      return each.every(({ accepted }) => accepted > 10);
    });
    const report = await running.end();
    expect(report).toMatchObject(undisturbed);
    expect(report.complete).toBeGreaterThan(100);
  });

  test("are summed in list, status, connections and metrics", async () => {
    await until("no connection is open", async () =>
      (await workers()).every(({ open }) => open === 0),
    );
    const before = await daemon.endpoint("one.demo");
    const peers = await ofEach();
    await until("the daemon knows all of them", async () => {
      const item = await daemon.endpoint("one.demo");
      return (
        item?.connections.active === peers.length &&
        item.bytes.up === (before?.bytes.up ?? 0) + 5 * peers.length
      );
    });
    const { connections } = await daemon.status();
    expect(connections.active).toBe(peers.length);
    const shown = await ngrokd("connections --json --limit 1000");
    const open = shown.json.connections.filter(({ state }: { state: string }) => state === "open");
    expect(open).toHaveLength(peers.length);
    const metrics = await (await fetch("http://127.0.0.1:8081/metrics")).text();
    expect(metrics).toContain(`ngrokd_connections_active{`);
    expect(metrics).toMatch(/^ngrokd_worker_connections_total\{worker="2"\} \d+$/m);
    expect((await ngrokd("status")).out).toContain("2 processes");
    for (const peer of peers) peer.end();
    for (const peer of peers) expect(await peer.rest()).toBe("");
    await until("all ends are counted", async () => {
      const item = await daemon.endpoint("one.demo");
      return item?.connections.active === 0;
    });
  });

  test("are not refused after kill -9 of one: only its own connections are reset", async () => {
    const peers = await ofEach();
    const running = startLoad({ rate: 100, long: 0, least: 0 }, await targets());
    await Bun.sleep(1000);
    const [victim, other] = await workers();
    if (victim === undefined || other === undefined) throw new Error("there are no two workers");
    const own = (await workers()).map(({ open }) => open);
    process.kill(victim.pid, "SIGKILL");
    await until("the next worker is there", async () => {
      const [one] = await workers();
      return one?.restarts === 1 && one.pid !== 0 && one.accepted > victim.accepted;
    });
    await Bun.sleep(1000);
    const report = await running.end();
    expect({ refused: report.refused, wrong: report.wrong }).toEqual({ refused: 0, wrong: 0 });
    expect(own.every((open) => open > 0)).toBe(true);
    const fates = await Promise.all(peers.map((peer) => echoes(peer, "more").catch(() => false)));
    expect(fates.filter((lives) => !lives).length).toBeGreaterThan(1);
    expect(fates.filter((lives) => lives).length).toBeGreaterThan(1);
    const { out } = await ngrokd("connections");
    expect(out).toContain("one.demo");
    for (const peer of peers) peer.reset();
    await until("the counts are right again", async () => {
      const items = await daemon.list();
      return items.every(({ connections }) => connections.active === 0);
    });
    expect(daemon.log()).toContain("Worker 1 has ended by SIGKILL");
  });

  test("follow endpoints that come, change and go, and a pause", async () => {
    const other = await echo();
    const id = await cloud.add("tcp://four.demo:7000", other.address);
    await daemon.becomes("four.demo", "listening");
    const peer = await talking("four.demo", 7000);
    await until("the daemon knows it", async () => {
      return (await daemon.endpoint("four.demo"))?.connections.active === 1;
    });
    await cloud.remove(id);
    await daemon.becomes("four.demo", "draining");
    expect(await echoes(peer, "still here")).toBe(true);
    peer.end();
    expect(await peer.rest()).toBe("");
    await daemon.becomes("four.demo", "gone");
    expect((await ngrokd("pause two.demo")).code).toBe(0);
    await daemon.becomes("two.demo", "paused");
    expect(await carries((await targets())[1]?.ip ?? "", 7000)).toBe(false);
    expect((await ngrokd("resume two.demo")).code).toBe(0);
    await daemon.becomes("two.demo", "listening");
    await until("it carries again", () => carries("two.demo", 7000));
  });

  test("take over a reload: limits count the connections of both", async () => {
    const forward = { workers: 2, max_connections_per_endpoint: 4, drain_timeout: 1 };
    writeConfig(configFor(cloud, { forward }));
    await daemon.reload();
    const peers = [];
    for (let i = 0; i < 4; i += 1) {
      peers.push(await talking("one.demo", 7000));
      await until("the workers know it", async () => {
        const item = await daemon.endpoint("one.demo");
        return item?.connections.active === i + 1;
      });
    }
    await until("each worker knows the other's, and none takes more", async () => {
      for (let i = 0; i < 20; i += 1) if (await carries("one.demo", 7000)) return false;
      return true;
    });
    expect(await carries("two.demo", 7000)).toBe(true);
    for (const peer of peers) peer.reset();
    await until("there is room again", () => carries("one.demo", 7000));
    writeConfig(configFor(cloud, { forward: { workers: 2 } }));
    await daemon.reload();
  });

  test("drain at a stop, and no process is left", async () => {
    const peers = await ofEach();
    const { pid } = await daemon.status();
    const children = childrenOf(pid);
    expect(children).toHaveLength(2);
    const stopped = daemon.stop();
    await Bun.sleep(300);
    for (const peer of peers) {
      expect(await echoes(peer, "bye")).toBe(true);
      peer.end();
    }
    expect(await stopped).toBe(0);
    await until("all processes are gone", () => !children.some(isAlive));
  });
});

stories("a handover with workers", () => {
  test("leaves no client refused and no byte lost: the old workers drain", async () => {
    const manager = startServiceManager();
    await begin({}, {}, manager.env);
    // A worker without a connection would end at the handover.
    const peers = await ofEach();
    const running = startLoad({ rate: 100, long: 40, least: 201 }, await targets());
    await until("the long ones are open", async () => {
      const open = (await workers()).map((one) => one.open);
      return open.reduce((all, n) => all + n, 0) >= 40 + peers.length;
    });
    const old = (await workers()).map(({ pid }) => pid);
    for (let round = 1; round <= 3; round += 1) {
      const ran = await ngrokd("upgrade --json");
      expect(ran.err).toBe("");
      expect(ran.json).toMatchObject({ way: "beside" });
      const { pid, phase } = await daemon.status();
      expect({ pid, phase }).toEqual({ pid: ran.json.pid, phase: "serving" });
      expect((await workers()).map((one) => parentOf(one.pid))).toEqual([pid, pid]);
      await Bun.sleep(1000);
    }
    expect(old.every(isAlive)).toBe(true);
    for (const peer of peers) {
      expect(await echoes(peer, "bye")).toBe(true);
      peer.end();
    }
    const report = await running.end();
    expect(report).toMatchObject(undisturbed);
    expect(report.complete).toBeGreaterThan(200);
    await until("the old workers have ended", () => !old.some(isAlive));
  }, 90_000);

  test("keeps the counts, and a stop ends everything", async () => {
    await until(
      "the earlier processes have told all",
      async () => (await daemon.status()).predecessor === undefined,
    );
    // A name without connections, since a worker reports its counts a moment
    // later.
    await cloud.add("tcp://kept.demo:7000", (await echo()).address);
    await daemon.becomes("kept.demo", "listening");
    const peer = await talking("kept.demo", 7000);
    expect((await ngrokd("upgrade")).err).toBe("");
    await until("the new daemon counts it", async () => {
      const item = await daemon.endpoint("kept.demo");
      return item?.connections.total === 1 && item.connections.active === 1;
    });
    expect(await echoes(peer, "still here")).toBe(true);
    const { pid } = await daemon.status();
    const pids = [pid, ...(await workers()).map((one) => one.pid)];
    process.kill(pid, "SIGTERM");
    peer.end();
    expect(await peer.rest()).toBe("");
    await until("all have ended", () => !pids.some(isAlive));
  });
});

stories("the modes of a relay, in workers", () => {
  test("shared doors, the Host, access rules, and exchanges that are read", async () => {
    await run(["ip", "address", "replace", "10.99.0.1/32", "dev", "lo"]);
    await begin(
      { rewrite_host: true, early_data: "on" },
      {
        net: { listen_interface: "10.99.0.1" },
        inspect: { endpoints: ["page.demo"] },
        access: { rules: [{ endpoint: "two.demo", users: ["nobody"] }] },
      },
    );
    await cloud.add("http://page.demo:7080", page("a page").address);
    await daemon.becomes("page.demo", "listening");
    for (let i = 0; i < 20; i += 1) {
      const headers = { host: "page.demo:7080", connection: "close" };
      const reply = await fetch("http://10.99.0.1:7080/path", { headers });
      expect(await reply.text()).toBe("a page");
    }
    await until("all exchanges are kept, of both workers", async () => {
      const { json } = await ngrokd("http --json");
      return json.length === 20 && json[0].target === "/path";
    });
    expect(await carries("two.demo", 7000)).toBe(false);
    expect(await carries("one.demo", 7000)).toBe(true);
    await until("the refusal is told", async () => {
      const { connections } = (await daemon.endpoint("two.demo")) ?? {};
      return connections?.last_error.includes("access.rules");
    });
    const { out } = await ngrokd("connections two.demo");
    expect(out).toContain("access");
  });

  test("a handover in the same process keeps the sockets", async () => {
    const running = startLoad({ rate: 50, long: 0, least: 0 }, (await targets()).slice(0, 1));
    await Bun.sleep(500);
    const ran = await ngrokd("upgrade --json");
    expect(ran.json).toMatchObject({ way: "in place", pid: daemon.pid });
    await until("it serves", () => daemon.log().split("ngrokd is up").length === 3);
    await until("its workers carry", () => carries("one.demo", 7000));
    expect(await running.end()).toMatchObject(undisturbed);
    expect(await daemon.stop()).toBe(0);
  });
});

stories("workers whose daemon is killed", () => {
  test("end at once", async () => {
    await begin({ early_data: "on" });
    const peer = await talking("one.demo", 7000);
    expect(await echoes(peer, "more")).toBe(true);
    const { pid } = await daemon.status();
    const pids = (await workers()).map((one) => one.pid);
    expect(pids.every((one) => parentOf(one) === pid)).toBe(true);
    await daemon.stop("SIGKILL");
    await until("both workers are gone", () => !pids.some(isAlive));
  });
});
