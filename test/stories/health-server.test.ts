import { beforeAll, expect, test } from "bun:test";
import { createServer } from "node:net";
import { type Cloud, configFor, registered } from "../support/cloud.ts";
import { type Daemon, ngrokd, serve, writeConfig } from "../support/ngrokd.ts";
import { atEnd, stories, until } from "../support/story.ts";
import { dial, echo } from "../support/tcp.ts";

const get = async (path: string): Promise<{ status: number; body: string }> => {
  const response = await fetch(`http://127.0.0.1:8081${path}`);
  return { status: response.status, body: await response.text() };
};

stories("the health server", () => {
  let cloud: Cloud;
  let daemon: Daemon;

  beforeAll(async () => {
    ({ cloud, daemon } = await registered());
  });

  test("a daemon without endpoints is healthy and ready", async () => {
    for (const path of ["/health", "/healthz"])
      expect(await get(path)).toEqual({ status: 200, body: "ok\n" });
    for (const path of ["/ready", "/readyz"])
      expect(await get(path)).toEqual({ status: 200, body: "ready\n" });
  });

  test("/status counts each endpoint's connections, in the Go program's words", async () => {
    const id = await cloud.add("tcp://echo.demo:7000", (await echo()).address);
    const { ip } = await daemon.becomes("echo.demo", "listening");
    const client = await dial("echo.demo", 7000);
    await client.write("x");
    await client.read(1);
    const status = JSON.parse((await get("/status")).body);
    expect(status).toMatchObject({ healthy: true, ready: true });
    expect(new Date(status.start_time).getTime()).toBeLessThan(Date.now());
    expect(status.endpoints[id]).toMatchObject({
      name: id,
      local_address: `${ip}:7000`,
      target_uri: "tcp://echo.demo:7000",
      active: true,
      connections: 1,
      total_connections: 1,
      errors: 0,
    });
    client.end();
    await until(
      "it is counted as closed",
      async () => JSON.parse((await get("/status")).body).endpoints[id].connections === 0,
    );
  });

  test("/metrics counts the same, and every line is one that Prometheus can read", async () => {
    const response = await fetch("http://127.0.0.1:8081/metrics");
    expect(response.headers.get("content-type")).toStartWith("text/plain; version=0.0.4");
    const lines = (await response.text()).split("\n");
    const sample =
      /^[a-z_]+(?:\{[a-z]+="[^"\\]*"(?:,[a-z]+="[^"\\]*")*\})? (?:\d+(?:\.\d+)?(?:e[+-]\d+)?|\+Inf)$/;
    expect(
      lines.filter(
        (line) =>
          !sample.test(line) &&
          !/^# (?:HELP [a-z_]+ .+|TYPE [a-z_]+ (?:counter|gauge|histogram))$/.test(line),
      ),
    ).toEqual([""]);
    for (const line of [
      "ngrokd_up 1",
      "ngrokd_ready 1",
      'ngrokd_endpoints{state="listening"} 1',
      'ngrokd_connections_total{endpoint="echo.demo:7000"} 1',
      'ngrokd_bytes_total{endpoint="echo.demo:7000",direction="up"} 1',
      'ngrokd_upgrade_seconds_count{endpoint="echo.demo:7000"} 1',
      'ngrokd_first_byte_seconds_count{endpoint="echo.demo:7000"} 1',
    ])
      expect(lines).toContain(line);
    expect(lines.find((line) => line.startsWith("process_open_fds "))).toMatch(/ \d+$/);
  });

  test("a failed poll makes it alive and not ready, with the reason", async () => {
    await cloud.break("500");
    const { body: text } = await until("it is not ready", async () => {
      const answer = await get("/readyz");
      return answer.status === 503 && answer;
    });
    expect(text).toStartWith("the last poll failed: ");
    expect(await get("/healthz")).toEqual({ status: 200, body: "ok\n" });
    const { reason, ...report } = (await ngrokd("health --json")).json;
    expect(report).toMatchObject({ healthy: true, ready: false });
    // Another poll may have failed meanwhile, and each of ngrok's answers has
    // its own operation ID.
    const plain = (words: string): string => words.trim().replace(/operation \w+/, "operation");
    expect(plain(reason)).toBe(plain(text));
    await cloud.mend();
    await until("it is ready again", async () => (await get("/readyz")).status === 200);
  });

  test("an unknown path is a 404 that names the known ones", async () => {
    expect(await get("/metrics-of-my-dreams")).toEqual({
      status: 404,
      body: "not found; try /healthz, /readyz, /status or /metrics\n",
    });
  });

  test("an unconfigured name is refused, until a reload adds it", async () => {
    const asked = async (host: string): Promise<number> =>
      (await fetch("http://127.0.0.1:8081/status", { headers: { host } })).status;
    expect({
      evil: await asked("evil.example:8081"),
      name: await asked("monitored.example:8081"),
      localhost: await asked("localhost:8081"),
    }).toEqual({ evil: 403, name: 403, localhost: 200 });
    writeConfig(configFor(cloud, { server: { health_hosts: ["Monitored.example"] } }));
    await daemon.reload();
    expect({
      evil: await asked("evil.example:8081"),
      name: await asked("monitored.example:8081"),
    }).toEqual({ evil: 403, name: 200 });
  });

  test("a port that is in use is reported, and the daemon serves all the same", async () => {
    await daemon.stop();
    const occupant = createServer();
    await new Promise<void>((listening) => occupant.listen(8081, "127.0.0.1", listening));
    atEnd(() => occupant.close());
    daemon = await serve();
    await daemon.becomes("echo.demo", "listening");
    const [warning] = (await daemon.status()).warnings;
    expect(warning).toContain('There is no health server: Cannot listen on "127.0.0.1:8081"');
    expect((await ngrokd("status")).out).toContain("warning: There is no health server");
    expect((await ngrokd("health")).out).toContain("Health server:  not listening");
    const told = await until("the log tells of it", () =>
      daemon.lines().find(({ message }) => message.startsWith("There is no health server")),
    );
    expect(told.hint).toContain("server.health_port");
  });
});
