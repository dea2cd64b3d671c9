import { beforeAll, expect, test } from "bun:test";
import { existsSync, readFileSync, statSync } from "node:fs";
import { type Cloud, configFor, startCloud } from "../support/cloud.ts";
import {
  type Daemon,
  defaultConfig,
  defaultSocket,
  ngrokd,
  run,
  serve,
  writeConfig,
} from "../support/ngrokd.ts";
import { foreignHosts, freshMachine, stories, until } from "../support/story.ts";
import { dial, echo, resolve } from "../support/tcp.ts";
import { page } from "../support/web.ts";

stories("from nothing to a working connection", () => {
  let cloud: Cloud;
  let daemon: Daemon;
  let hello: { address: string };
  const noKey = "waiting for an API key: run `ngrokd set-api-key`";

  beforeAll(async () => {
    cloud = await startCloud();
    hello = page("hello from behind ngrok\n");
    await cloud.add("http://hello.demo", hello.address);
    await cloud.add("tcp://echo.demo:7000", (await echo()).address);
    writeConfig(configFor(cloud, { api: { key: "" } }));
    daemon = await serve();
  });

  test("without a key the daemon runs and waits", async () => {
    await until("it has looked around", async () => (await daemon.status()).phase === "degraded");
    expect(await daemon.status()).toMatchObject({
      registered: false,
      registration: "waiting-for-key",
      endpoint_count: 0,
    });
    expect(await cloud.operators()).toEqual([]);
  });

  test("status, list and health say that the key is missing, and how to give it", async () => {
    const [status, list, health] = [
      await ngrokd("status"),
      await ngrokd("list"),
      await ngrokd("health"),
    ];
    expect(status.out).toContain("waiting for an API key");
    expect(status.out).toContain("run `ngrokd set-api-key`");
    expect(list.out).toContain(
      "No endpoints. The daemon is not serving: there is no API key\nhint: run `ngrokd set-api-key`",
    );
    expect(health.out).toContain(`Ready:          no: ${noKey}`);
    expect({ status: status.code, list: list.code, health: health.code }).toEqual({
      status: 0,
      list: 0,
      health: 1,
    });
  });

  test("`ngrokd refresh` says the same, and fails", async () => {
    const { code, err } = await ngrokd("refresh");
    expect({ code, err }).toEqual({
      code: 1,
      err: "error: The poll failed: there is no API key\nhint:  run `ngrokd set-api-key`\n",
    });
  });

  test("the health server says alive and not ready", async () => {
    const live = await fetch("http://127.0.0.1:8081/healthz");
    const ready = await fetch("http://127.0.0.1:8081/readyz");
    expect({ status: live.status, text: await live.text() }).toEqual({ status: 200, text: "ok\n" });
    expect({ status: ready.status, text: await ready.text() }).toEqual({
      status: 503,
      text: `${noKey}\n`,
    });
  });

  test("a wrong key is refused with ngrok's words and changes nothing", async () => {
    const before = readFileSync(defaultConfig, "utf8");
    const refused = await ngrokd("set-api-key -", { stdin: "a-wrong-key\n" });
    expect(refused.code).toBe(1);
    expect(refused.err).toContain("ngrok refused this API key, and nothing was changed");
    expect(refused.err).toContain("ERR_NGROK_203");
    expect(readFileSync(defaultConfig, "utf8")).toBe(before);
    expect((await daemon.status()).registration).toBe("waiting-for-key");
    expect(await cloud.operators()).toEqual([]);
  });

  test("a text that cannot be a key is not sent to ngrok", async () => {
    for (const stdin of ["", "two words", "line\nline", "x".repeat(70_000)]) {
      expect((await ngrokd("set-api-key -", { stdin })).code).toBe(2);
    }
  });

  test("the right key registers this machine", async () => {
    const given = await ngrokd("set-api-key -", { stdin: `${cloud.apiKey}\n` });
    expect(given.err).toBe("");
    const [operator] = await cloud.operators();
    expect(given.out).toBe(
      `ngrok accepted the key; it is saved in ${defaultConfig}. This machine is registered as ${operator?.id}.\n`,
    );
    expect(given.code).toBe(0);
    expect(await daemon.status()).toMatchObject({
      registered: true,
      operator_id: operator?.id,
      ingress_endpoint: cloud.ingress,
    });
  });

  test("key, certificate and configuration are kept with the right modes", () => {
    const mode = (path: string) => (statSync(path).mode & 0o777).toString(8);
    expect({
      key: mode("/etc/ngrokd/tls.key"),
      certificate: mode("/etc/ngrokd/tls.crt"),
      operator: mode("/etc/ngrokd/operator_id"),
      config: mode(defaultConfig),
    }).toEqual({ key: "600", certificate: "644", operator: "600", config: "600" });
    expect(readFileSync(defaultConfig, "utf8")).toContain(cloud.apiKey);
  });

  test("the endpoints are listed, each name with an address of its own", async () => {
    await until("both listen", async () => (await daemon.list()).length === 2);
    const { out, code } = await ngrokd("list");
    expect(out).toBe(
      [
        "URL                   ADDRESS         STATE      CONNECTIONS",
        "http://hello.demo     127.0.0.3:80    listening  0 open, 0 total",
        "tcp://echo.demo:7000  127.0.0.2:7000  listening  0 open, 0 total",
        "",
      ].join("\n"),
    );
    expect(code).toBe(0);
  });

  test("`curl http://hello.demo/` works by name, through the hosts file", async () => {
    expect(await resolve("hello.demo")).toBe("127.0.0.3");
    const { out, code } = await run(["curl", "-sS", "http://hello.demo/"]);
    expect({ out, code }).toEqual({ out: "hello from behind ngrok\n", code: 0 });
  });

  test("a TCP connection is carried to its end, and counted", async () => {
    const client = await dial("echo.demo", 7000);
    await client.write("one, two, three");
    client.end();
    expect(await client.rest()).toBe("one, two, three");
    await until(
      "the connection is counted as closed",
      async () => (await daemon.endpoint("echo.demo"))?.connections.active === 0,
    );
    expect(await daemon.endpoint("echo.demo")).toMatchObject({
      connections: { active: 0, total: 1, errors: 0, refused: 0 },
      bytes: { up: 15, down: 15 },
    });
  });

  test("`ngrokd refresh` makes a new endpoint work at once", async () => {
    await cloud.add("http://fresh.demo:8080", hello.address);
    const { out, code } = await ngrokd("refresh");
    expect(out).toMatch(/^Polled ngrok in \d+ ms: 3 endpoints\.\n$/);
    expect(code).toBe(0);
    expect((await run(["curl", "-sS", "http://fresh.demo:8080/"])).out).toBe(
      "hello from behind ngrok\n",
    );
  });

  test("health is green in every way", async () => {
    const { out, code } = await ngrokd("health");
    expect({ out, code }).toEqual({
      out: "Healthy:        yes\nReady:          yes\nHealth server:  http://127.0.0.1:8081/\n",
      code: 0,
    });
    expect((await fetch("http://127.0.0.1:8081/readyz")).status).toBe(200);
  });

  test("the key is in no log line", () => {
    expect(daemon.log()).not.toContain(cloud.apiKey);
  });

  test("SIGTERM takes all back: exit code 0, same hosts file, no socket, no listeners", async () => {
    expect(await daemon.stop()).toBe(0);
    expect(readFileSync("/etc/hosts", "latin1")).toBe(foreignHosts);
    expect(existsSync(defaultSocket)).toBe(false);
    await expect(dial("127.0.0.3", 80)).rejects.toThrow();
    expect(daemon.lines().at(-1)?.message).toBe("Stopped");
  });

  test("the next start is the same machine to ngrok, with the same addresses", async () => {
    daemon = await serve();
    await daemon.becomes("hello.demo", "listening");
    expect(await resolve("hello.demo")).toBe("127.0.0.3");
    expect(await cloud.operators()).toHaveLength(1);
  });
});

stories("other ways to begin", () => {
  test("with nothing at all: defaults; a key that cannot be tried is not saved", async () => {
    const daemon = await serve();
    await until("it has looked around", async () => (await daemon.status()).phase === "degraded");
    expect(await daemon.status()).toMatchObject({
      registration: "waiting-for-key",
      config_path: defaultConfig,
      hosts_path: "/etc/hosts",
    });
    const { code, err } = await ngrokd("set-api-key -", { stdin: "a-key-that-looks-right" });
    expect(code).toBe(1);
    expect(err).toStartWith("error: The key could not be checked, and nothing was changed: ");
    expect(existsSync(defaultConfig)).toBe(false);
    expect(await daemon.stop()).toBe(0);
    expect(readFileSync("/etc/hosts", "latin1")).toBe(foreignHosts);
  });

  test("with a key set before the daemon runs: it is tried, kept, and used at the start", async () => {
    const cloud = await startCloud();
    writeConfig(configFor(cloud, { api: { key: "" } }));
    const { out, code } = await ngrokd("set-api-key -", { stdin: cloud.apiKey });
    expect({ out, code }).toEqual({
      out: `ngrok accepted the key; it is saved in ${defaultConfig}. No daemon is running yet: \`sudo ngrokd service install\` or \`sudo ngrokd serve\` starts one.\n`,
      code: 0,
    });
    const daemon = await serve();
    await until("it has registered", async () => (await daemon.status()).registered);
    await daemon.stop();
  });

  test("with NGROK_API_KEY of the environment: used, and never written", async () => {
    freshMachine();
    const cloud = await startCloud();
    writeConfig(configFor(cloud, { api: { key: "" } }));
    const daemon = await serve({ env: { NGROK_API_KEY: cloud.apiKey } });
    await until("it has registered", async () => (await daemon.status()).registered);
    expect(readFileSync(defaultConfig, "utf8")).not.toContain(cloud.apiKey);
    expect((await ngrokd("set-api-key -", { stdin: cloud.apiKey })).out).toContain(
      "NGROK_API_KEY in the environment overrides it",
    );
    await daemon.stop();
  });

  test("with a wrong key in the file: registration fails until a right one is set", async () => {
    freshMachine();
    const cloud = await startCloud();
    writeConfig(configFor(cloud, { api: { key: "a-wrong-key" } }));
    const daemon = await serve();
    await until("the poll in which registration has failed is over", async () => {
      const { registration, phase } = await daemon.status();
      return registration === "failed" && phase === "degraded";
    });
    expect((await ngrokd("status")).out).toContain("ERR_NGROK_203");
    expect((await ngrokd("health")).code).toBe(1);
    expect((await ngrokd("set-api-key -", { stdin: cloud.apiKey })).code).toBe(0);
    expect((await daemon.status()).registered).toBe(true);
    expect(daemon.log()).not.toContain("a-wrong-key");
    await daemon.stop();
  });
});
