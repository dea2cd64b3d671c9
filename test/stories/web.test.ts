import { beforeAll, describe, expect, test } from "bun:test";
import type { Event } from "../../src/desk/history-schemas.ts";
import { type Cloud, configFor, registered } from "../support/cloud.ts";
import { type Daemon, defaultSocket, ngrokd, run, serve, writeConfig } from "../support/ngrokd.ts";
import { type RawReply, rawHttp } from "../support/raw-http.ts";
import { startServiceManager } from "../support/service-manager.ts";
import { stories, until } from "../support/story.ts";
import { page } from "../support/web.ts";

const at = { host: "127.0.0.1", port: 8082 };
const host = "127.0.0.1:8082";
const origin = `http://${host}`;

let cloud: Cloud;
let daemon: Daemon;
/** The cookies of a page that may only read, and of one that may write. */
let [reader, writer] = ["", ""];

/** Opens a one-time link as a browser does, and returns its cookie. */
async function session(flags = ""): Promise<string> {
  const { url } = (await ngrokd(`dashboard --json ${flags}`)).json;
  const reply = await fetch(url);
  expect(reply.status).toBe(200);
  return reply.headers.get("set-cookie")?.split(";")[0] ?? "";
}

/** The lines of a request; each entry replaces or removes a usual one. */
function request(
  line: string,
  headers: Readonly<Record<string, string | undefined>> = {},
  body = "",
): string {
  const usual = { Host: host, Cookie: reader, Connection: "close" };
  const post = line.startsWith("POST") ? { "Content-Length": String(body.length) } : {};
  const lines = Object.entries({ ...usual, ...post, ...headers }).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}: ${value}`],
  );
  return `${[`${line} HTTP/1.1`, ...lines].join("\r\n")}\r\n\r\n${body}`;
}

const json = { "Content-Type": "application/json", Origin: origin };

stories("the API over HTTP", () => {
  beforeAll(async () => {
    ({ cloud, daemon } = await registered());
    await cloud.add("http://hello.demo", page("hello").address);
    await daemon.becomes("hello.demo", "listening");
  });

  test("is on no port without an address, and `ngrokd dashboard` names the setting", async () => {
    const { code, err } = await ngrokd("dashboard");
    expect({ code, err }).toEqual({
      code: expect.any(Number),
      err: expect.stringContaining("hint:  set `server.dashboard_address`"),
    });
    expect(code).not.toBe(0);
    expect((await rawHttp(at, request("GET /"))).status).toBe(0);
  });

  test("is on the control socket, with every operation and a description", async () => {
    const path = defaultSocket;
    const get = (target: string): Promise<Response> =>
      fetch(`http://localhost${target}`, { unix: path });
    expect(await (await get("/api/v1/list")).json()).toMatchObject([{ hostname: "hello.demo" }]);
    expect(await (await get("/api/v1/status")).json()).toMatchObject({ phase: "serving" });
    const wrong = await get("/api/v1/traffic?step=0");
    expect({ status: wrong.status, body: await wrong.json() }).toMatchObject({
      status: 400,
      body: { error: { code: "usage" } },
    });
    expect((await get("/api/v1/traffic?stp=1")).status).toBe(400);
    expect((await get("/api/v1/refresh")).status).toBe(405);
    const openapi = (await (await get("/api/openapi.json")).json()) as { paths: object };
    expect(Object.keys(openapi.paths)).toContain("/api/v1/connections");
    const paused = await fetch("http://localhost/api/v1/pause", {
      unix: path,
      method: "POST",
      body: JSON.stringify({ host: "hello.demo" }),
    });
    expect(await paused.json()).toMatchObject({ host: "hello.demo", paused: true });
    expect((await ngrokd("resume hello.demo")).code).toBe(0);
  });

  test("other users of the machine may read only what tells of nobody", async () => {
    const config = configFor(cloud, { server: { socket_read: "all" } });
    writeConfig(config);
    expect(await daemon.stop()).toBe(0);
    daemon = await serve();
    await daemon.becomes("hello.demo", "listening");
    const ask = async (...words: string[]): Promise<string> => {
      const curl = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}"];
      const unix = ["--unix-socket", defaultSocket];
      return (await run([...curl, ...unix, ...words], { as: "nobody" })).out;
    };
    const api = "http://localhost/api/v1";
    const replies = {
      list: await ask(`${api}/list`),
      traffic: await ask(`${api}/traffic`),
      connections: await ask(`${api}/connections`),
      events: await ask("--max-time", "60", `${api}/events`),
      refresh: await ask("-X", "POST", `${api}/refresh`),
      dashboard: await ask("-X", "POST", `${api}/dashboard`),
    };
    const not = { connections: "403", events: "403", refresh: "403", dashboard: "403" };
    expect(replies).toEqual({ list: "200", traffic: "200", ...not });
  });

  test("listens on a loopback port after a reload, for pages with a link", async () => {
    const server = { dashboard_address: host, socket_read: "all" };
    writeConfig(configFor(cloud, { server }));
    expect(await daemon.reload()).toMatchObject({ ok: true });
    reader = await session();
    writer = await session("--write");
    const list = await fetch(`${origin}/api/v1/list`, { headers: { cookie: reader } });
    expect(await list.json()).toMatchObject([{ hostname: "hello.demo" }]);
    const front = await fetch(`${origin}/`, { headers: { cookie: reader } });
    expect({ status: front.status, type: front.headers.get("content-type") }).toEqual({
      status: 200,
      type: "text/html; charset=utf-8",
    });
    expect(front.headers.get("content-security-policy")).toStartWith("default-src 'none'");
  });

  test("a link works once, and its cookie is for this server's pages alone", async () => {
    const { url } = (await ngrokd("dashboard --json")).json;
    const head = await fetch(url, { method: "HEAD" });
    const replies = [head, await fetch(url), await fetch(url)];
    const statuses = replies.map(({ status }) => status);
    expect(statuses).toEqual([403, 200, 403]);
    expect(replies[1]?.headers.get("set-cookie")).toMatch(
      /^ngrokd_8082=[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict$/,
    );
  });

  test("the cookie of one user is nothing in the hands of another", async () => {
    const words = ["curl", "-sS", "-H", `Cookie: ${reader}`, `${origin}/api/v1/list`];
    const [own, stolen] = [await run(words), await run(words, { as: "nobody" })];
    expect({ own: own.out.includes("hello.demo"), stolen: stolen.out }).toEqual({
      own: true,
      stolen: expect.stringContaining("open the link that `ngrokd dashboard` prints"),
    });
  });

  test("streams events, and goes on after Last-Event-ID", async () => {
    const first = await eventsAfter(undefined, async () => {
      expect((await run(["curl", "-sS", "http://hello.demo/"])).code).toBe(0);
    });
    expect(first.map(({ kind }) => kind)).toContain("connection.ended");
    const [before] = first;
    const again = await eventsAfter(before?.id, async () => undefined);
    expect(again[0]?.id).toBe(first[1]?.id ?? "");
    const cookie = { cookie: reader };
    const wrong = await fetch(`${origin}/api/v1/events?kinds=pol`, { headers: cookie });
    expect(wrong.status).toBe(400);
    const list = await fetch(`${origin}/api/v1/events?kinds=phase&limit=1`, {
      headers: { ...cookie, accept: "application/json" },
    });
    expect(await list.json()).toMatchObject({ events: [{ kind: "phase", phase: "serving" }] });
  });

  test("a page that was opened with --write may change something, and another not", async () => {
    const pause = (cookie: string): Promise<RawReply> =>
      rawHttp(at, request("POST /api/v1/refresh", { ...json, Cookie: cookie }, "{}"));
    expect(await pause(reader)).toMatchObject({ status: 403 });
    expect((await pause(reader)).body).toContain("ngrokd dashboard --write");
    expect(await pause(writer)).toMatchObject({ status: 200 });
    const link = request("POST /api/v1/dashboard", { ...json, Cookie: writer }, "{}");
    expect(await rawHttp(at, link)).toMatchObject({ status: 403 });
  });
});

stories("the dashboard's port at a handover", () => {
  test("goes to the successor without a warning, and its pages need another link", async () => {
    const manager = startServiceManager();
    const config = { server: { dashboard_address: host } };
    ({ cloud, daemon } = await registered({ config, env: manager.env, args: "--json" }));
    await cloud.add("http://hello.demo", page("hello").address);
    await daemon.becomes("hello.demo", "listening");
    const before = await session();
    const ran = await ngrokd("upgrade --json");
    expect({ err: ran.err, way: ran.json?.way }).toEqual({ err: "", way: "beside" });
    const status = (cookie: string): Promise<Response> =>
      fetch(`${origin}/api/v1/status`, { headers: { cookie } });
    // The old process accepts there too until it has left.
    await until("the successor answers there", async () => {
      const { code, json } = await ngrokd("dashboard --json");
      const cookie = code === 0 && (await fetch(json.url)).headers.get("set-cookie")?.split(";")[0];
      if (!cookie) return false;
      expect(await (await status(cookie)).json()).toMatchObject({ pid: ran.json.pid });
      return true;
    });
    await until("the old cookie is refused", async () => (await status(before)).status === 401);
    expect((await daemon.status()).warnings).toEqual([]);
    expect(daemon.log()).not.toContain("cannot listen");
    process.kill(ran.json.pid, "SIGTERM");
  });
});

/** Reads a stream until a connection has ended on it. */
async function eventsAfter(
  id: string | undefined,
  meanwhile: () => Promise<void>,
): Promise<Event[]> {
  const headers = { cookie: reader, ...(id !== undefined && { "last-event-id": id }) };
  const stream = await fetch(`${origin}/api/v1/events?kinds=connection`, { headers });
  expect(stream.headers.get("content-type")).toBe("text/event-stream");
  const decoder = new TextDecoder();
  let text = "";
  let isOpen = false;
  for await (const bytes of stream.body ?? []) {
    text += decoder.decode(bytes as Uint8Array, { stream: true });
    if (!isOpen) await meanwhile();
    isOpen = true;
    if (text.includes("connection.ended")) break;
  }
  const messages = text.split("\n\n").filter((one) => one.startsWith("id: "));
  return messages.map((one) => JSON.parse(/^data: (.*)$/m.exec(one)?.[1] ?? "") as Event);
}

/** Each would be served if one thing about it were right. */
const tries: readonly (readonly [title: string, make: () => string, status: readonly number[]])[] =
  [
    ["no cookie", () => request("GET /api/v1/list", { Cookie: undefined }), [401]],
    ["no cookie for the page", () => request("GET /", { Cookie: undefined }), [401]],
    [
      "no cookie for the description",
      () => request("GET /api/openapi.json", { Cookie: undefined }),
      [401],
    ],
    [
      "no cookie for a path that is not there",
      () => request("GET /x", { Cookie: undefined }),
      [401],
    ],
    [
      "a wrong cookie",
      () => request("GET /api/v1/list", { Cookie: `${reader.slice(0, -1)}~` }),
      [401],
    ],
    ["an empty cookie", () => request("GET /api/v1/list", { Cookie: "ngrokd_8082=" }), [401]],
    [
      "the cookie twice",
      () => request("GET /api/v1/list", { Cookie: `${reader}; ${reader}` }),
      [401],
    ],
    [
      "the cookie of another port",
      () => request("GET /api/v1/list", { Cookie: reader.replace("8082", "8083") }),
      [401],
    ],
    ["the code as cookie", () => request("GET /open", { Cookie: reader }), [403]],
    ["a wrong code", () => request("GET /open?code=AAAA", { Cookie: reader }), [403]],
    ["two codes", () => request("GET /open?code=a&code=b", { Cookie: reader }), [403]],
    [
      "a name by DNS rebinding",
      () => request("GET /api/v1/list", { Host: "evil.example:8082" }),
      [421],
    ],
    [
      "the name with another port",
      () => request("GET /api/v1/list", { Host: "127.0.0.1:80" }),
      [421],
    ],
    ["the name without the port", () => request("GET /api/v1/list", { Host: "127.0.0.1" }), [421]],
    [
      "another loopback address",
      () => request("GET /api/v1/list", { Host: "127.0.0.2:8082" }),
      [421],
    ],
    [
      "a name below localhost",
      () => request("GET /api/v1/list", { Host: "x.localhost:8082" }),
      [421],
    ],
    ["the name with a dot", () => request("GET /api/v1/list", { Host: "localhost.:8082" }), [421]],
    ["the name with a user", () => request("GET /api/v1/list", { Host: `a@${host}` }), [400, 421]],
    ["no name", () => request("GET /api/v1/list", { Host: undefined }), [400, 421]],
    ["an empty name", () => request("GET /api/v1/list", { Host: "" }), [400, 421]],
    [
      "two names",
      () => request(`GET /api/v1/list`, { Host: `${host}\r\nHost: evil.example` }),
      [400],
    ],
    [
      "two names, the wrong one first",
      () => request(`GET /api/v1/list`, { Host: `evil.example\r\nHost: ${host}` }),
      [400],
    ],
    [
      "HTTP/1.0 without a name",
      () => `GET /api/v1/list HTTP/1.0\r\nCookie: ${reader}\r\n\r\n`,
      [400, 421],
    ],
    [
      "a forwarded name",
      () => request("GET /api/v1/list", { Host: "evil.example", "X-Forwarded-Host": host }),
      [421],
    ],
    [
      "a page of another site",
      () => request("GET /api/v1/list", { Origin: "http://evil.example" }),
      [403],
    ],
    [
      "a page of another port",
      () => request("GET /api/v1/list", { Origin: "http://127.0.0.1:9999" }),
      [403],
    ],
    ["a page over TLS", () => request("GET /api/v1/list", { Origin: `https://${host}` }), [403]],
    ["a page in a sandbox", () => request("GET /api/v1/list", { Origin: "null" }), [403]],
    [
      "two origins",
      () => request("GET /api/v1/list", { Origin: `${origin}\r\nOrigin: ${origin}` }),
      [400],
    ],
    [
      "an image on another site",
      () => request("GET /api/v1/list", { "Sec-Fetch-Site": "cross-site" }),
      [403],
    ],
    [
      "a script of another port",
      () => request("GET /api/v1/list", { "Sec-Fetch-Site": "same-site" }),
      [403],
    ],
    [
      "a frame on another site",
      () => request("GET /", { "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate" }),
      [403],
    ],
    [
      "a form on another site",
      () =>
        request(
          "POST /api/v1/refresh",
          {
            Cookie: writer,
            Origin: "http://evil.example",
            "Content-Type": "application/x-www-form-urlencoded",
          },
          "a=b",
        ),
      [403],
    ],
    [
      "a form without an origin",
      () => request("POST /api/v1/refresh", { Cookie: writer, "Content-Type": "text/plain" }, "{}"),
      [403],
    ],
    [
      "a form of this site",
      () =>
        request(
          "POST /api/v1/refresh",
          { Cookie: writer, Origin: origin, "Content-Type": "text/plain" },
          "{}",
        ),
      [415],
    ],
    ["a change by GET", () => request("GET /api/v1/refresh", { Cookie: writer }), [405]],
    [
      "a change by a method in a header",
      () => request("GET /api/v1/refresh", { Cookie: writer, "X-HTTP-Method-Override": "POST" }),
      [405],
    ],
    ["PUT", () => request("PUT /api/v1/refresh", { ...json, Cookie: writer }), [405]],
    [
      "OPTIONS, as before a request of another site",
      () =>
        request("OPTIONS /api/v1/refresh", {
          Origin: "http://evil.example",
          "Access-Control-Request-Method": "POST",
        }),
      [405],
    ],
    ["TRACE", () => request("TRACE /api/v1/list"), [400, 405]],
    ["CONNECT", () => request("CONNECT 127.0.0.1:22"), [0, 400, 405]],
    [
      "a WebSocket",
      () =>
        request("GET /api/v1/events", {
          Connection: "Upgrade",
          Upgrade: "websocket",
          "Sec-WebSocket-Version": "13",
          "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        }),
      [400],
    ],
    [
      "a WebSocket without a cookie",
      () =>
        request("GET /", {
          Cookie: undefined,
          Connection: "Upgrade",
          Upgrade: "websocket",
          "Sec-WebSocket-Version": "13",
          "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        }),
      [400],
    ],
    [
      "HTTP/2 by upgrade",
      () =>
        request("GET /", {
          Connection: "Upgrade, HTTP2-Settings",
          Upgrade: "h2c",
          "HTTP2-Settings": "AAMAAABkAAQAAP__",
        }),
      [400],
    ],
    ["HTTP/2 at once", () => "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [0, 400, 405, 505]],
    ["a path with dots", () => request("GET /api/../api/v1/list"), [400]],
    ["a path with a dot", () => request("GET /./api/v1/list"), [400]],
    ["a path with two slashes", () => request("GET //api/v1/list"), [400]],
    ["a path with a slash at its end", () => request("GET /api/v1/list/"), [400]],
    ["an encoded path", () => request("GET /api/v1/%6cist"), [400]],
    ["an encoded slash", () => request("GET /api%2fv1%2flist"), [400]],
    ["a backslash", () => request("GET /api\\v1\\list"), [400]],
    ["a path with a zero", () => request("GET /api/v1/list%00"), [400]],
    ["a path with a parameter", () => request("GET /api/v1/list;x=y"), [400]],
    ["a file behind the page", () => request("GET /../../etc/passwd"), [400]],
    ["a whole URL", () => request(`GET http://${host}/api/v1/list`), [400]],
    ["a whole URL of another site", () => request("GET http://evil.example/api/v1/list"), [400]],
    ["an asterisk", () => request("GET *"), [400]],
    ["no path", () => request("GET ?a=b"), [0, 400]],
    ["capitals", () => request("GET /API/V1/LIST"), [404]],
    ["an argument twice", () => request("GET /api/v1/traffic?step=1&step=2"), [400]],
    ["an unknown argument", () => request("GET /api/v1/list?__proto__=x"), [400]],
    [
      "length and pieces",
      () =>
        request(
          "POST /api/v1/refresh",
          { ...json, Cookie: writer, "Transfer-Encoding": "chunked" },
          "0\r\n\r\n",
        ),
      [0, 400],
    ],
    [
      "pieces",
      () =>
        request(
          "POST /api/v1/refresh",
          { ...json, Cookie: writer, "Content-Length": undefined, "Transfer-Encoding": "chunked" },
          "2\r\n{}\r\n0\r\n\r\n",
        ),
      [0, 400],
    ],
    [
      "pieces in disguise",
      () =>
        request(
          "POST /api/v1/refresh",
          { ...json, Cookie: writer, "Content-Length": undefined, "Transfer-Encoding": "xchunked" },
          "0\r\n\r\n",
        ),
      [0, 400],
    ],
    [
      "two lengths",
      () =>
        request(
          "POST /api/v1/refresh",
          { ...json, Cookie: writer, "Content-Length": "2\r\nContent-Length: 40" },
          "{}",
        ),
      [0, 400],
    ],
    [
      "a negative length",
      () =>
        request("POST /api/v1/refresh", { ...json, Cookie: writer, "Content-Length": "-2" }, "{}"),
      [0, 400],
    ],
    [
      "a space in front of the colon",
      () => request("GET /api/v1/list", { "Origin ": "http://evil.example" }),
      [0, 400],
    ],
    [
      "a header on two lines",
      () => request("GET /api/v1/list", { Origin: `${origin}\r\n http://evil.example` }),
      [0, 400, 403],
    ],
    [
      "a large body",
      () =>
        request(
          "POST /api/v1/refresh",
          { ...json, Cookie: writer },
          `{"a":"${"x".repeat(70_000)}"}`,
        ),
      [0, 400, 413],
    ],
    [
      "a body that is no object",
      () => request("POST /api/v1/refresh", { ...json, Cookie: writer }, "[]"),
      [400],
    ],
    [
      "a prototype in the body",
      () =>
        request(
          "POST /api/v1/pause",
          { ...json, Cookie: writer },
          '{"__proto__":{"host":"hello.demo"}}',
        ),
      [400],
    ],
    ["no cookie for the script", () => request("GET /dashboard.js", { Cookie: undefined }), [401]],
    ["no cookie for the style", () => request("GET /dashboard.css", { Cookie: undefined }), [401]],
    ["no cookie for events", () => request("GET /api/v1/events", { Cookie: undefined }), [401]],
    ["no cookie for HEAD", () => request("HEAD /api/v1/list", { Cookie: undefined }), [401]],
    [
      "no cookie for a change",
      () => request("POST /api/v1/refresh", { ...json, Cookie: undefined }, "{}"),
      [401],
    ],
    [
      "the cookie as a token of a header",
      () =>
        request("GET /api/v1/list", {
          Cookie: undefined,
          Authorization: `Bearer ${reader.split("=")[1]}`,
        }),
      [401],
    ],
    [
      "the cookie in the address",
      () => request(`GET /api/v1/list?${reader}`, { Cookie: undefined }),
      [401],
    ],
    [
      "two headers with the cookie",
      () => request("GET /api/v1/list", { Cookie: `a=b\r\nCookie: ${reader}` }),
      [400],
    ],
    [
      "the address of IPv6, which is not served",
      () => request("GET /api/v1/list", { Host: "[::1]:8082" }),
      [421],
    ],
    [
      "the address as a number",
      () => request("GET /api/v1/list", { Host: "2130706433:8082" }),
      [421],
    ],
    [
      "the right name in another header",
      () =>
        request("GET /api/v1/list", {
          Host: "evil.example:8082",
          Forwarded: `host=${host}`,
          "X-Host": host,
        }),
      [421],
    ],
    [
      "a WebSocket of another site",
      () =>
        request("GET /api/v1/events", {
          Origin: "http://evil.example",
          Connection: "Upgrade",
          Upgrade: "websocket",
          "Sec-WebSocket-Version": "13",
          "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        }),
      [400, 403],
    ],
    [
      "a form with files of this site",
      () =>
        request(
          "POST /api/v1/refresh",
          { ...json, Cookie: writer, "Content-Type": "multipart/form-data; boundary=x" },
          "--x--",
        ),
      [415],
    ],
    [
      "a form in a sandbox",
      () =>
        request(
          "POST /api/v1/refresh",
          { Cookie: writer, Origin: "null", "Content-Type": "application/x-www-form-urlencoded" },
          "a=b",
        ),
      [403],
    ],
    [
      "a change without a type",
      () => request("POST /api/v1/refresh", { Cookie: writer, Origin: origin }, "{}"),
      [415],
    ],
    [
      "two types",
      () =>
        request(
          "POST /api/v1/refresh",
          {
            ...json,
            Cookie: writer,
            "Content-Type": "application/json\r\nContent-Type: text/plain",
          },
          "{}",
        ),
      [400],
    ],
    ["encoded dots", () => request("GET /api/%2e%2e/api/v1/list"), [400]],
    ["dots behind an encoded slash", () => request("GET /..%2fapi/v1/list"), [400]],
    ["a fragment", () => request("GET /api/v1/list#x"), [400]],
    ["a path that is no ASCII", () => request("GET /api/v1/l\u0131st"), [400]],
    ["a user in front of the path", () => request("GET @evil.example/api/v1/list"), [0, 400]],
    ["a long path", () => request(`GET /${"a".repeat(100_000)}`), [0, 400, 404, 414, 431]],
    [
      "a long header",
      () => request("GET /api/v1/list", { Via: "a".repeat(100_000) }),
      [0, 400, 431],
    ],
    ["HTTP/0.9", () => "GET /api/v1/list\r\n\r\n", [0, 400, 421]],
    [
      "HTTP/0.9 with headers",
      () => request("GET /api/v1/list").replace(" HTTP/1.1", ""),
      [0, 400, 421],
    ],
    [
      "a version that there is not",
      () => request("GET /api/v1/list").replace("/1.1", "/9.9"),
      [0, 400, 505],
    ],
    [
      "lines that end without CR",
      () => request("GET /api/v1/list", { Host: undefined }).replaceAll("\r", ""),
      [0, 400, 421],
    ],
    [
      "a header with a zero",
      () => request("GET /api/v1/list", { Origin: `${origin}\0` }),
      [0, 400, 403],
    ],
    [
      "a name that a lone CR hides",
      () => request("GET /api/v1/list", { "X-A": `b\rHost: ${host}`, Host: "evil.example" }),
      [0, 400, 421],
    ],
    ...["+2", "0x2", "2, 2", "2 2", "1e0", ""].map((length): (typeof tries)[number] => [
      `the length "${length}"`,
      () =>
        request(
          "POST /api/v1/refresh",
          { ...json, Cookie: writer, "Content-Length": length },
          "{}",
        ),
      [0, 400],
    ]),
    ...["identity", "chunked, identity", " chunked", "gzip, chunked"].map(
      (coding): (typeof tries)[number] => [
        `the coding "${coding}"`,
        () =>
          request(
            "POST /api/v1/refresh",
            { ...json, Cookie: writer, "Transfer-Encoding": coding },
            "0\r\n\r\n",
          ),
        [0, 400],
      ],
    ),
  ];

stories("tries against the API on its port", () => {
  beforeAll(async () => {
    ({ cloud, daemon } = await registered({ config: { server: { dashboard_address: host } } }));
    [reader, writer] = [await session(), await session("--write")];
  });

  test("with nothing wrong, the same requests are served", async () => {
    const right = [
      request("GET /api/v1/list"),
      request("GET /api/v1/list", { Host: "localhost:8082" }),
      request("GET /api/v1/list", { Origin: origin, "Sec-Fetch-Site": "same-origin" }),
      request("GET /", { "Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate" }),
      request("POST /api/v1/refresh", { ...json, Cookie: writer }, "{}"),
    ];
    const statuses = await Promise.all(right.map(async (one) => (await rawHttp(at, one)).status));
    expect(statuses).toEqual([200, 200, 200, 200, 200]);
  });

  describe("is refused:", () => {
    test.each(tries)("%s", async (title, make, allowed) => {
      const { status, body, replies, headers } = await rawHttp(at, make());
      expect({ title, status, isAllowed: allowed.includes(status) }).toEqual({
        title,
        status,
        isAllowed: true,
      });
      expect({ title, replies: Math.max(replies, 1) }).toEqual({ title, replies: 1 });
      expect(body).not.toContain("hello.demo");
      expect(headers["access-control-allow-origin"]).toBeUndefined();
    });
  });

  test("no second request rides behind the body of a first one", async () => {
    const hidden = request("GET /api/v1/status", { Connection: "close" });
    const first = request(
      "POST /api/v1/refresh",
      {
        ...json,
        Cookie: undefined,
        Connection: "keep-alive",
        "Content-Length": String(hidden.length),
      },
      "",
    );
    const { replies, body } = await rawHttp(at, first + hidden);
    expect({ replies: Math.min(replies, 1), leaks: body.includes("operator_id") }).toEqual({
      replies: 1,
      leaks: false,
    });
  });

  test("a one-time link in a page of another site is refused, and still works", async () => {
    const link = new URL((await ngrokd("dashboard --json")).json.url);
    const target = `${link.pathname}${link.search}`;
    const embedded = { Cookie: undefined, "Sec-Fetch-Site": "cross-site" };
    const modes = ["no-cors", "cors", "nested-navigate", "websocket"];
    const statuses = await Promise.all(
      modes.map(async (mode) => {
        const headers = { ...embedded, "Sec-Fetch-Mode": mode };
        return [mode, (await rawHttp(at, request(`GET ${target}`, headers))).status] as const;
      }),
    );
    expect(statuses).toEqual(modes.map((mode) => [mode, 403] as const));
    expect((await fetch(link)).status).toBe(200);
  });

  test("the address must be one of this machine alone", async () => {
    for (const dashboard_address of [
      "0.0.0.0:8082",
      "192.0.2.1:8082",
      "evil.example:80",
      "127.0.0.1",
    ]) {
      writeConfig(configFor(cloud, { server: { dashboard_address } }));
      const { ok } = await daemon.reload();
      expect({ dashboard_address, ok }).toEqual({ dashboard_address, ok: false });
    }
    await until("it still serves", async () => (await daemon.status()).phase === "serving");
    expect(await daemon.stop()).toBe(0);
  });
});
