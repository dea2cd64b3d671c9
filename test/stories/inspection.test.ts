import { expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer as createHttp2Server, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import type { Exchanges } from "../../src/desk/exchange-schemas.ts";
import { type Cloud, configFor, registered } from "../support/cloud.ts";
import { harMistakes } from "../support/har.ts";
import {
  askSocket,
  binary,
  type Daemon,
  ngrokd,
  run,
  start,
  writeConfig,
} from "../support/ngrokd.ts";
import { atEnd, stories, until } from "../support/story.ts";
import { dial } from "../support/tcp.ts";
import { sha256, web } from "../support/web.ts";

type Exchange = Exchanges["exchanges"][number];

let cloud: Cloud;
let daemon: Daemon;
const asked: string[] = [];

/** Sets `inspect` of the configuration, and nothing else. */
async function inspect(settings: object): Promise<void> {
  writeConfig(configFor(cloud, { server: { socket_read: "all" }, inspect: settings }));
  expect((await daemon.reload()).ok).toBe(true);
}

const kept = async (words = ""): Promise<Exchange[]> => (await ngrokd(`http ${words} --json`)).json;

/** The kept exchanges of a path, once there are so many. */
const ofPath = async (path: string, count = 1): Promise<Exchange[]> =>
  await until(`${count} exchanges of ${path} are kept`, async () => {
    const found = (await kept()).filter(({ target }) => target.startsWith(path));
    return found.length >= count && found;
  });

const inShort = ({ method, target, status, end, request, reply }: Exchange): string =>
  `${method} ${target} ${status} ${end}, ${request.body_bytes} up, ${reply?.body_bytes ?? "-"} down`;

const curl = async (...words: string[]) => await run(["curl", "-sS", "--max-time", "60", ...words]);

/** An API that says what it was asked, with a secret in each reply. */
const service = () =>
  web({
    async fetch(request, server) {
      const { pathname } = new URL(request.url);
      asked.push(`${request.method} ${pathname} ${request.headers.get("authorization") ?? "-"}`);
      if (pathname === "/ws" && server.upgrade(request)) return new Response();
      if (pathname === "/bulk") return new Response(new Uint8Array(64 * 1024 * 1024).fill(7));
      const body = request.method === "POST" ? await sha256(request.body) : "hello";
      const headers = { "Set-Cookie": "session=s3cret-cookie", "X-Trace": "t-1" };
      return new Response(body, { status: pathname === "/gone" ? 410 : 200, headers });
    },
    websocket: { message: (socket, message) => void socket.send(message) },
  });

stories("HTTP inspection", () => {
  test("is off until an endpoint is named, and then new connections are read", async () => {
    ({ cloud, daemon } = await registered({ config: { server: { socket_read: "all" } } }));
    await cloud.add("http://api.demo", service().address);
    await cloud.add("http://other.demo", service().address);
    await daemon.becomes("api.demo", "listening");
    await daemon.becomes("other.demo", "listening");
    await curl("http://api.demo/before");
    const before = await ngrokd("http");
    expect(before.out).toBe("No HTTP request has been read.\n");
    expect(before.err).toContain("no endpoint is inspected");
    await inspect({ endpoints: ["api.*"] });
    await curl("http://api.demo/a", "http://api.demo/gone", "http://other.demo/b");
    const found = await ofPath("/gone");
    expect((await kept()).map(inShort)).toEqual([
      "GET /a 200 whole, 0 up, 5 down",
      "GET /gone 410 whole, 0 up, 5 down",
    ]);
    // Both came on one connection.
    expect(new Set((await kept()).map(({ client }) => client)).size).toBe(1);
    const [one] = found;
    expect(one?.times_ms.total).toBeGreaterThan(0);
    expect(one?.request.head_bytes).toBeGreaterThan(20);
    const text = await ngrokd("http api.demo");
    expect(text.out).toMatch(/ 200 GET api\.demo\/a 0 up, 5 B down, [\d.]+ ms\n/);
    expect((await ngrokd("http other.demo")).out).toBe("No HTTP request has been read.\n");
  });

  test("keeps no credential and no value of a query, wherever it is shown", async () => {
    await curl(
      "http://api.demo/login?password=s3cret-query",
      "-u",
      "me:s3cret-word",
      "-H",
      "Cookie: a=s3cret-a",
    );
    const [one] = await ofPath("/login");
    expect(one?.target).toBe("/login?password=***");
    const fields = [...(one?.request.headers ?? []), ...(one?.reply?.headers ?? [])];
    const headers = Object.fromEntries(fields.map(([name, value]) => [name.toLowerCase(), value]));
    const secret = { authorization: null, cookie: null, "set-cookie": null, "x-trace": null };
    expect(headers).toMatchObject({ ...secret, host: "api.demo" });
    await ngrokd("http --har /run/tmp/secrets.har");
    const shown = [
      (await ngrokd("http")).out,
      (await ngrokd("http --json")).out,
      JSON.stringify(await askSocket(daemon.socket, { command: "exchanges", args: ["--bodies"] })),
      readFileSync("/run/tmp/secrets.har", "utf8"),
      daemon.log(),
    ];
    for (const text of shown) expect(text).not.toMatch(/s3cret|bWU6/);
  });

  test("reads an upload in chunks, which arrives unchanged", async () => {
    const data = Buffer.alloc(1024 * 1024, "0123456789abcdef-");
    writeFileSync("/run/tmp/upload", data);
    const { out } = await curl(
      "-T",
      "/run/tmp/upload",
      "-X",
      "POST",
      "-H",
      "Transfer-Encoding: chunked",
      "http://api.demo/up",
    );
    expect(out).toBe(createHash("sha256").update(data).digest("hex"));
    const [one] = await ofPath("/up");
    expect(inShort(one as Exchange)).toBe(`POST /up 200 whole, ${data.length} up, 64 down`);
  });

  test("reads requests that do not wait for replies", async () => {
    const peer = await dial("api.demo", 80);
    const request = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: api.demo\r\n\r\n`;
    await peer.write(request("/pipe/1") + request("/pipe/2") + request("/pipe/3"));
    const found = await ofPath("/pipe", 3);
    peer.socket.destroy();
    expect(found.map(inShort)).toEqual(
      [1, 2, 3].map((n) => `GET /pipe/${n} 200 whole, 0 up, 5 down`),
    );
  });

  test("has one line for a WebSocket, whose messages pass", async () => {
    const socket = new WebSocket("ws://api.demo/ws");
    const echoed = new Promise((resolve, reject) => {
      socket.onopen = () => socket.send("GET / HTTP/1.1");
      socket.onmessage = ({ data }) => resolve(data);
      socket.onerror = reject;
    });
    expect(await echoed).toBe("GET / HTTP/1.1");
    socket.close();
    const [one, ...more] = await ofPath("/ws");
    expect(more).toEqual([]);
    expect({ status: one?.status, end: one?.end, note: one?.note }).toEqual({
      status: 101,
      end: "switched",
      note: "websocket follows, which is not read",
    });
  });

  test("has one line for HTTP/2, as of gRPC, which passes untouched", async () => {
    const h2 = createHttp2Server();
    h2.on("stream", (stream: ServerHttp2Stream, headers) => {
      stream.respond({ ":status": 200 });
      stream.end(`h2 ${headers[":path"]}`);
    });
    await new Promise<void>((resolve) => h2.listen(0, "127.0.0.1", resolve));
    atEnd(() => h2.close());
    await cloud.add("http://api.grpc.demo", `127.0.0.1:${(h2.address() as AddressInfo).port}`);
    await daemon.becomes("api.grpc.demo", "listening");
    const { out } = await curl("--http2-prior-knowledge", "http://api.grpc.demo/one");
    expect(out).toBe("h2 /one");
    const found = await until("the line is there", async () => {
      const lines = await kept("api.grpc.demo");
      return lines.length > 0 && lines;
    });
    expect(found.map(({ end, note }) => ({ end, note }))).toEqual([
      { end: "unread", note: "it is HTTP/2" },
    ]);
    expect((await ngrokd("http api.grpc.demo")).out).toContain("not read; it is HTTP/2");
  });

  test("hands on 64 MiB while it reads, and counts them", async () => {
    const response = await fetch("http://api.demo/bulk");
    const zeros = createHash("sha256").update(Buffer.alloc(64 * 1024 * 1024, 7));
    expect(await sha256(response.body)).toBe(zeros.digest("hex"));
    const [one] = await ofPath("/bulk");
    expect(one?.reply?.body_bytes).toBe(64 * 1024 * 1024);
  });

  test.each(["http --follow", "tail --http"])(
    "`ngrokd %s` has a line for each exchange",
    async (words) => {
      const path = `/${words.replaceAll(/\W+/g, "-")}`;
      const following = start("ngrokd", [binary(), ...words.split(" "), "--json"]);
      await until("a line has come", async () => {
        await curl(`http://api.demo${path}`);
        return following.out().includes(`"target":"${path}"`);
      });
      expect(await following.stop("SIGINT")).toBe(0);
    },
  );

  test("keeps bodies if asked, up to the limit, and writes a HAR that is right", async () => {
    await inspect({ endpoints: ["api.demo"], body_bytes: 8, headers: ["x-trace"], queries: true });
    await curl("-d", "short", "http://api.demo/body?n=1");
    await curl("-d", "much longer than that", "http://api.demo/body?n=2");
    await ofPath("/body", 2);
    const file = "/run/tmp/exchanges.har";
    const wrote = await ngrokd(`http --har ${file}`);
    expect(wrote.out).toMatch(/^Wrote \d+ exchanges to "\/run\/tmp\/exchanges\.har"\.\n$/);
    const har = JSON.parse(readFileSync(file, "utf8"));
    expect(harMistakes(har)).toEqual([]);
    expect(har.log.entries.slice(-2)).toMatchObject([
      {
        request: {
          method: "POST",
          url: "http://api.demo/body?n=1",
          postData: { mimeType: "application/x-www-form-urlencoded", text: "short" },
        },
        response: { status: 200, content: { size: 64, comment: "only the first bytes were kept" } },
      },
      { request: { bodySize: 21, postData: { text: "much lon" } } },
    ]);
    expect(JSON.stringify(har.log.entries.at(-1))).toContain('{"name":"X-Trace","value":"t-1"}');
    expect((statSync(file).mode & 0o777).toString(8)).toBe("600");
  });

  test("writes a HAR over no file, and through no link", async () => {
    const again = await ngrokd("http --har /run/tmp/exchanges.har");
    expect({ code: again.code, err: again.err }).toMatchObject({
      code: 1,
      err: expect.stringContaining("there is such a file"),
    });
    symlinkSync("/run/tmp/elsewhere", "/run/tmp/link.har");
    expect((await ngrokd("http --har /run/tmp/link.har")).code).toBe(1);
    expect(existsSync("/run/tmp/elsewhere")).toBe(false);
  });

  test("sends a request again, if it was kept whole, through the daemon's own door", async () => {
    const [one, two] = await ofPath("/body", 2);
    asked.length = 0;
    const done = await ngrokd(`http replay ${one?.id}`);
    expect(done.out).toMatch(
      new RegExp(`^Request ${one?.id} was sent again: 200 OK, 64 B in \\d+ ms\\.\n$`),
    );
    expect(asked).toEqual(["POST /body -"]);
    // It is an exchange of its own, with the same body.
    const again = (await ofPath("/body", 3)).at(-1);
    expect(again?.request.body_bytes).toBe(5);
    const refused = await ngrokd(`http replay ${two?.id}`);
    expect(refused.code).toBe(1);
    expect(refused.err).toContain("only 8 of the 21 bytes of its body were kept");
    expect((await ngrokd("http replay 999999")).err).toContain("not among those that are kept");
    const [old] = (await kept()).filter(({ target }) => target === "/a");
    expect((await ngrokd(`http replay ${old?.id}`)).err).toContain("bodies were not kept");
    expect((await ngrokd("http replay")).code).toBe(2);
  });

  test("says which fields a replayed request lacks, as a password", async () => {
    await curl("-u", "me:s3cret-word", "http://api.demo/private");
    const [one] = await ofPath("/private");
    const done = await ngrokd(`http replay ${one?.id}`);
    expect(done.out).toContain("It was sent without Authorization, whose values were not kept");
    expect(asked.at(-1)).toBe("GET /private -");
    await inspect({ endpoints: ["api.demo"], body_bytes: 8, headers: ["authorization"] });
    await curl("-u", "me:s3cret-word", "http://api.demo/private");
    const [, , two] = await ofPath("/private", 3);
    expect((await ngrokd(`http replay ${two?.id}`)).out).not.toContain("without");
    expect(asked.at(-1)).toMatch(/^GET \/private Basic /);
  });

  test("tells nothing to a user who may only ask for the state", async () => {
    expect((await ngrokd("list --json", { as: "nobody" })).code).toBe(0);
    const seen = await ngrokd("http", { as: "nobody" });
    expect({ out: seen.out, err: seen.err }).toMatchObject({
      out: "",
      err: expect.stringContaining('"exchanges" is refused'),
    });
    expect((await ngrokd("http replay 1", { as: "nobody" })).err).toContain('"replay" is refused');
  });

  test("forgets an endpoint at once that is taken out; open connections go on", async () => {
    const peer = await dial("api.demo", 80);
    const request = "GET /late HTTP/1.1\r\nHost: api.demo\r\n\r\n";
    const reply = async (): Promise<string> => {
      let text = "";
      while (!text.endsWith("hello")) text += await peer.read(1);
      return text;
    };
    await peer.write(request);
    expect(await reply()).toStartWith("HTTP/1.1 200 OK");
    await ofPath("/late");
    await inspect({ endpoints: ["elsewhere.demo"] });
    expect(await kept()).toEqual([]);
    await peer.write(request);
    expect(await reply()).toStartWith("HTTP/1.1 200 OK");
    expect(await kept()).toEqual([]);
    peer.socket.destroy();
  });
});
