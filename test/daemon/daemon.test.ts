import { afterEach, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspectConfig, loadConfig } from "../../src/config/load.ts";
import { askDaemon } from "../../src/control/client.ts";
import { type Daemon, startDaemon } from "../../src/daemon/daemon.ts";
import { type LocalCloud, startLocalCloud } from "../../src/local-cloud/cloud.ts";
import { isNgrokdError } from "../../src/model/error.ts";
import type { Net } from "../../src/net/types.ts";
import { bytes, net, read } from "../support/conns.ts";
import { memoryLog } from "../support/memory-log.ts";

const running: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const stop of running.splice(0).reverse()) await stop();
});

describe("a daemon", () => {
  test("takes the names back before it stops to listen, and both at the end", async () => {
    const { hosts, start } = await machine();
    const closing: string[] = [];
    const watching: Net = {
      ...net,
      async listen(address, onConn, options) {
        const listener = await net.listen(address, onConn, options);
        const close = (): void => {
          const isDoor = "host" in address && address.host.startsWith("127.83.");
          if (isDoor) closing.push(hosts().includes("one.demo") ? "named" : "nameless");
          listener.close();
        };
        return { ...listener, close };
      },
    };
    const { daemon } = await start(watching);
    await daemon.refresh();
    expect(hosts()).toBe(
      `127.0.0.1\tlocalhost\n# BEGIN ngrokd managed section\n127.83.0.1\tone.demo\n# END ngrokd managed section\n`,
    );
    expect(await answer()).toBe("hello");
    // The first one was the probe.
    closing.length = 0;
    expect(await daemon.stop(new AbortController().signal)).toEqual({ cut: 0 });
    expect(closing).toEqual(["nameless"]);
    expect(hosts()).toBe("127.0.0.1\tlocalhost\n");
    await expect(answer()).rejects.toMatchObject({ code: "network" });
  });

  test("logs each unusable CA file once, not at every poll", async () => {
    const { folder, start } = await machine();
    const spoil = (name: string): void =>
      writeFileSync(join(folder, "cas", name), "no certificate\n");
    spoil("a.pem");
    const { daemon, log } = await start();
    const told = (): string[] =>
      log.lines
        .filter((line) => line.includes("CA file"))
        .map((line) => line.replace(/.*\/(.\.pem)".*/, "$1"));
    await daemon.refresh();
    await daemon.refresh();
    expect(told()).toEqual(["a.pem"]);
    spoil("b.pem");
    await daemon.refresh();
    await daemon.refresh();
    expect(told()).toEqual(["a.pem", "b.pem"]);
  });

  test("keeps a configured CA that is gone for one more poll, and no longer", async () => {
    const { folder, start } = await machine();
    const { daemon, log } = await start();
    await daemon.refresh();
    rmSync(join(folder, "cas"), { recursive: true });
    const told = (text: string): number => log.lines.filter((line) => line.includes(text)).length;
    await daemon.refresh();
    expect(told("Keeping the trusted CAs")).toBe(1);
    expect(await answer()).toBe("hello");
    await daemon.refresh();
    await daemon.refresh();
    expect(told("The configured CA is no longer trusted, since it is gone")).toBe(1);
    await expect(answer()).rejects.toThrow();
  });

  test("logs each failure of a pass once", async () => {
    const { folder, state, start } = await machine();
    const { daemon, log } = await start();
    await daemon.refresh();
    rmSync(join(folder, "hosts"));
    mkdirSync(join(folder, "hosts"));
    rmSync(join(state, "ip_mappings.json"));
    mkdirSync(join(state, "ip_mappings.json"));
    await daemon.refresh();
    await daemon.refresh();
    const problems = [
      `Cannot read "${join(state, "ip_mappings.json")}": it is a folder`,
      `Cannot edit "${join(folder, "hosts")}": it is not a regular file`,
    ];
    expect(daemon.state()).toMatchObject({ phase: "degraded", reason: problems.join("; ") });
    for (const problem of problems)
      expect(log.lines.filter((line) => line.startsWith(`warn ${problem}`))).toHaveLength(1);
    expect(await answer()).toBe("hello");
  });

  test("asks for the ingress address of an identity without one until ngrok replies", async () => {
    const { cloud, state, start } = await machine();
    const first = await start();
    await first.daemon.refresh();
    await first.daemon.stop(AbortSignal.abort());
    rmSync(join(state, "ingress_endpoint"));
    cloud.faults.set({ name: "status", value: 500 });
    const { daemon } = await start();
    await daemon.refresh();
    expect(daemon.state().ingress).toBe("kubernetes-binding-ingress.ngrok.io:443");
    cloud.faults.clear();
    await daemon.refresh();
    expect(daemon.state().ingress).toBe(cloud.ingressAddress);
    expect(readFileSync(join(state, "ingress_endpoint"), "utf8").trim()).toBe(cloud.ingressAddress);
    expect(await answer()).toBe("hello");
  });

  test("replies to a refresh from before the loop runs with the first poll", async () => {
    const { folder, start } = await machine();
    const starting = start();
    const ask = async (): Promise<unknown> =>
      await askDaemon(net, join(folder, "sock"), { command: "refresh" });
    // Asks as soon as the listener is up, which is before the rest of the
    // start.
    const answered = (async () => {
      for (;;) {
        const answer = await ask().catch((error: unknown) => error);
        if (!isNgrokdError(answer, "not-running")) return answer;
        await Bun.sleep(0);
      }
    })();
    expect(await answered).toMatchObject({ ok: true, reason: "", endpoint_count: 1 });
    await starting;
  });

  test("redacts an API key as it will be used, and no word that cannot be a key", async () => {
    const { folder, start } = await machine();
    const { secrets } = await start();
    const set = (key: string): Promise<unknown> =>
      askDaemon(net, join(folder, "sock"), { command: "set-api-key", args: [key] });
    await expect(set("warn")).rejects.toMatchObject({ code: "usage" });
    expect(secrets).toEqual([]);
    await expect(set(" a-wrong-key-of-somebody \n")).rejects.toMatchObject({
      code: "unauthorized",
    });
    expect(secrets).toEqual(["a-wrong-key-of-somebody"]);
  });
});

const port = 18201;

/** The greeting of the only endpoint. */
async function answer(): Promise<string> {
  const conn = await net.dial(
    { host: "127.83.0.1", port },
    { signal: AbortSignal.timeout(15_000) },
  );
  const text = await read(conn);
  conn.close();
  return text;
}

/**
 * A local cloud with one endpoint that sends first, and a folder in place of a
 * machine.
 */
async function machine() {
  const folder = mkdtempSync(join(tmpdir(), "ngrokd-daemon-"));
  running.push(async () => rmSync(folder, { recursive: true, force: true }));
  const service = await net.listen({ host: "127.0.0.1", port: 0 }, async (conn) => {
    await conn.write(bytes("hello"));
    conn.close();
  });
  running.push(async () => service.close());
  const upstream = `127.0.0.1:${"port" in service.address ? service.address.port : 0}`;
  const any = { host: "127.0.0.1", port: 0 };
  const cloud: LocalCloud = await startLocalCloud({
    net,
    api: any,
    ingress: any,
    endpoints: [{ url: `tcp://one.demo:${port}`, upstream }],
  });
  running.push(cloud.close);
  const state = join(folder, "state");
  mkdirSync(join(folder, "cas"));
  writeFileSync(join(folder, "cas", "cloud.crt"), cloud.caPem);
  writeFileSync(join(folder, "hosts"), "127.0.0.1\tlocalhost\n");
  const config = {
    api: { url: cloud.apiUrl, key: cloud.apiKey },
    server: {
      socket_path: join(folder, "sock"),
      client_cert: join(state, "tls.crt"),
      client_key: join(state, "tls.key"),
      health_port: "any",
      ingress_ca: join(folder, "cas"),
    },
    net: { subnet: "127.83.0.0/24" },
  };
  writeFileSync(join(folder, "config.yml"), JSON.stringify(config), { mode: 0o600 });

  return {
    folder,
    state,
    cloud,
    hosts: () => readFileSync(join(folder, "hosts"), "utf8"),
    async start(through: Net = net) {
      const source = {
        file: join(folder, "config.yml"),
        env: { NGROKD_HOSTS_PATH: join(folder, "hosts") },
      };
      const loaded = await loadConfig(source);
      const log = memoryLog();
      const secrets: string[] = [];
      const daemon: Daemon = await startDaemon({
        net: through,
        loaded,
        read: () => inspectConfig(source),
        log: {
          ...log,
          setLevel: () => undefined,
          setFormat: () => undefined,
          flush: () => undefined,
        },
        keepSecret: (secret) => void secrets.push(secret),
      });
      running.push(() => daemon.stop(AbortSignal.abort()));
      return { daemon, log, secrets };
    },
  };
}
