import { describe, expect, test } from "bun:test";
import { isNgrokdError } from "../../src/model/error.ts";
import { type Family, gauge } from "../../src/observe/exposition.ts";
import { type HealthSource, startHealthServer } from "../../src/observe/health-server.ts";
import { bytes, net, read } from "../support/conns.ts";

const fine: HealthSource = {
  live: () => ({ ok: true, reason: "" }),
  ready: () => ({ ok: true, reason: "" }),
  status: () => ['{"healthy":true}'],
  metrics: async () => [],
  hosts: () => ["monitored.example"],
};
const host = "127.88.0.1";

describe("the health server", () => {
  test.each([
    ["/health", 200, "ok\n"],
    ["/healthz", 200, "ok\n"],
    ["/ready", 200, "ready\n"],
    ["/readyz", 200, "ready\n"],
    ["/", 404, "not found; try /healthz, /readyz, /status or /metrics\n"],
    ["/healthz/../../etc/passwd", 404, "not found; try /healthz, /readyz, /status or /metrics\n"],
  ])("answers %s with %d", async (path, status, text) => {
    using server = await started(fine);
    const response = await fetch(new URL(path, server.url));
    expect({ status: response.status, text: await response.text() }).toEqual({ status, text });
  });

  test.each([
    ["HTTP/1.0, as haproxy's httpchk sends it", "GET /healthz HTTP/1.0\r\n\r\n"],
    ["an empty Host", "GET /healthz HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n"],
    ["a query", "GET /healthz?x=/y HTTP/1.0\r\n\r\n"],
    ["a whole URL", "GET http://any/healthz HTTP/1.0\r\n\r\n"],
  ])("answers a request without a usable host: %s", async (_name, request) => {
    using server = await started(fine);
    const answer = await spoken(new URL(server.url).port, request);
    expect({ status: answer.split("\r\n")[0], body: answer.split("\r\n\r\n")[1] }).toEqual({
      status: "HTTP/1.1 200 OK",
      body: "ok\n",
    });
  });

  test.each([
    "127.88.0.1:8081",
    "10.1.2.3",
    "[::1]:8081",
    "[fe80::1]",
    "localhost",
    "LOCALHOST:1",
    "localhost.",
    "monitored.example:9090",
    "Monitored.Example.",
  ])("answers a request to an address, localhost or a configured name: %s", async (name) => {
    using server = await started(fine);
    expect(await answerTo(server.url, name)).toBe("HTTP/1.1 200 OK");
  });

  test.each([
    "evil.example",
    "evil.example:8081",
    "127.88.0.1.evil.example",
    "sub.monitored.example",
    "localhost.evil.example",
    "localhost@evil.example",
    "127.1",
    "a b",
    "[::1",
  ])("refuses another host, as of a web page that DNS rebinding leads here: %s", async (name) => {
    using server = await started(fine);
    for (const path of ["/healthz", "/status", "/metrics", "/"])
      expect({ path, answer: await answerTo(server.url, name, path) }).toEqual({
        path,
        answer: "HTTP/1.1 403 Forbidden",
      });
  });

  test("sends 503 with the reason, for liveness and readiness apart", async () => {
    using server = await started({
      ...fine,
      ready: () => ({ ok: false, reason: "waiting for an API key" }),
    });
    const [live, ready] = await Promise.all(
      ["healthz", "readyz"].map((path) => fetch(new URL(path, server.url))),
    );
    expect({ live: live?.status, ready: ready?.status, reason: await ready?.text() }).toEqual({
      live: 200,
      ready: 503,
      reason: "waiting for an API key\n",
    });
    using dead = await started({ ...fine, live: () => ({ ok: false, reason: "stuck" }) });
    expect((await fetch(new URL("health", dead.url))).status).toBe(503);
  });

  test("asks again for every request, and gives the status as JSON", async () => {
    let asked = 0;
    using server = await started({
      ...fine,
      status: () => [`{"asked":${++asked},`, '"endpoints":{}}'],
    });
    const status = async (): Promise<Response> => await fetch(new URL("status", server.url));
    expect((await status()).headers.get("content-type")).toStartWith("application/json");
    expect(await (await status()).json()).toEqual({ asked: 2, endpoints: {} });
  });

  test("does other work between the pieces of a status", async () => {
    let turns = 0;
    let spin: () => void = () =>
      setImmediate(() => {
        turns += 1;
        spin();
      });
    const turnsAtPieces: number[] = [];
    using server = await started({
      ...fine,
      *status() {
        for (let i = 0; i < 50; i += 1) {
          turnsAtPieces.push(turns);
          yield `${i === 0 ? "[" : ","}${i}`;
        }
        yield "]";
      },
    });
    spin();
    expect(await (await fetch(new URL("status", server.url))).json()).toHaveLength(50);
    spin = () => undefined;
    expect(new Set(turnsAtPieces).size).toBe(50);
  });

  test("gives the metrics in Prometheus's format, whole however many there are", async () => {
    const samples = () =>
      Array.from({ length: 20_000 }, (_, i) => ({ labels: { endpoint: `host-${i}` }, value: i }));
    const many: Family = { name: "many", type: "gauge", help: "Many.", samples };
    using server = await started({
      ...fine,
      metrics: async () => [gauge("ngrokd_up", "Up.", 1), many],
    });
    const response = await fetch(new URL("metrics", server.url));
    expect(response.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
    const lines = (await response.text()).split("\n");
    expect({ count: lines.length, first: lines[2], last: lines.at(-2), end: lines.at(-1) }).toEqual(
      { count: 20_006, first: "ngrokd_up 1", last: 'many{endpoint="host-19999"} 19999', end: "" },
    );
    expect((await fetch(new URL("metrics", server.url), { method: "HEAD" })).status).toBe(200);
  });

  test("writes metrics no faster than they are read, and stops with the reader", async () => {
    let made = 0;
    const endless: Family = {
      name: "endless",
      type: "gauge",
      help: "Without end.",
      *samples() {
        for (;;) yield { labels: { n: String(made++) }, value: 1 };
      },
    };
    using server = await started({ ...fine, metrics: async () => [endless] });
    const gone = new AbortController();
    const response = await fetch(new URL("metrics", server.url), { signal: gone.signal });
    const reader = response.body?.getReader();
    await reader?.read();
    gone.abort();
    let before = -1;
    for (let i = 0; i < 200 && made !== before; i += 1) {
      before = made;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    expect(made).toBe(before);
  });

  test("only reads: other methods find nothing", async () => {
    using server = await started(fine);
    const statuses = await Promise.all(
      ["POST", "PUT", "DELETE"].map(
        async (method) => (await fetch(new URL("status", server.url), { method })).status,
      ),
    );
    expect(statuses).toEqual([404, 404, 404]);
    expect((await fetch(new URL("healthz", server.url), { method: "HEAD" })).status).toBe(200);
  });

  test("rejects if its port is taken, and frees the port when it ends", async () => {
    const first = await started(fine);
    const port = Number(new URL(first.url).port);
    const error: unknown = await startHealthServer(net, { host, port }, fine).catch(
      (error: unknown) => error,
    );
    expect(isNgrokdError(error) && error.message).toStartWith(
      `Cannot listen on "${host}:${port}" for health checks: `,
    );
    await first.close();
    const second = await startHealthServer(net, { host, port }, fine);
    expect(await (await fetch(new URL("healthz", second.url))).text()).toBe("ok\n");
    await second.close();
  });
});

/** The server's reply to these bytes, until it closes the connection. */
async function spoken(port: string, request: string): Promise<string> {
  const conn = await net.dial({ host, port: Number(port) });
  await conn.write(bytes(request));
  const answer = await read(conn);
  conn.close();
  return answer;
}

/** The status line for a request with this Host. */
async function answerTo(url: string, name: string, path = "/healthz"): Promise<string | undefined> {
  const request = `GET ${path} HTTP/1.1\r\nHost: ${name}\r\nConnection: close\r\n\r\n`;
  return (await spoken(new URL(url).port, request)).split("\r\n")[0];
}

async function started(source: HealthSource) {
  const server = await startHealthServer(net, { host, port: 0 }, source);
  return { ...server, [Symbol.dispose]: () => server.close() };
}
