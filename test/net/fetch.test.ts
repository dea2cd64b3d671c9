import { afterAll, describe, expect, test } from "bun:test";
import { createServer } from "node:http";
import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib";
import { createExchange } from "../../src/cloud/exchange.ts";
import { readLimited } from "../../src/files/limited.ts";
import { NgrokdError } from "../../src/model/error.ts";
import type { ProxyRules } from "../../src/model/proxy.ts";
import { createBunNet } from "../../src/net/bun.ts";
import { createFetch } from "../../src/net/fetch.ts";
import type { DialOptions, Net } from "../../src/net/types.ts";

const bunNet = createBunNet();

const rules: ProxyRules = {
  proxy: { kind: "http", host: "127.0.0.1", port: 1 },
  fromEnvironment: false,
  noProxy: "",
};
const text = "hello ".repeat(1000);
const codedBodies: Readonly<Record<string, { coding: string; body: string | Uint8Array }>> = {
  "/gzip": { coding: "gzip", body: gzipSync(text) },
  "/x-gzip": { coding: "X-GZIP", body: gzipSync(text) },
  "/deflate": { coding: "deflate", body: deflateSync(text) },
  "/br": { coding: "br", body: brotliCompressSync(text) },
  "/two": { coding: "gzip, br", body: brotliCompressSync(gzipSync(text)) },
  "/other": { coding: "rot13", body: "uryyb" },
  "/gzip-cut": { coding: "gzip", body: gzipSync(text).subarray(0, 30) },
  "/gzip-lie": { coding: "gzip", body: "hello" },
  "/bomb": { coding: "gzip", body: gzipSync(Buffer.alloc(64 * 1024 * 1024)) },
};
const server = createServer((request, response) => {
  if (request.url === "/nothing") return void response.writeHead(204).end();
  if (request.url === "/cut")
    return void response
      .writeHead(200, { "content-length": "100" })
      .write("some", () => request.socket.destroy());
  if (request.url === "/silent") return;
  const coded = codedBodies[request.url ?? ""];
  if (coded !== undefined)
    return void response.writeHead(200, { "content-encoding": coded.coding }).end(coded.body);
  let body = "";
  request.on("data", (bytes) => {
    body += String(bytes);
  });
  request.on("end", () => {
    response.writeHead(
      201,
      [
        ["x-two", "a"],
        ["x-two", "b"],
      ].flat(),
    );
    response.write(
      JSON.stringify({ method: request.method, url: request.url, headers: request.headers, body }),
    );
    response.end("\n");
  });
});
await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
const { port } = server.address() as { port: number };
const url = `http://127.0.0.1:${port}`;
afterAll(() => void server.close());

/** Records the requests for dials, without a dial. */
function watched(): { net: Net; dials: { host: string; options: DialOptions }[] } {
  const dials: { host: string; options: DialOptions }[] = [];
  const dial: Net["dial"] = async (address, options = {}) => {
    dials.push({ host: "host" in address ? `${address.host} ${address.port}` : "", options });
    throw new NgrokdError("network", "not here");
  };
  return { net: { ...bunNet, dial }, dials };
}

describe("a fetch with a proxy", () => {
  const fetch = createFetch(bunNet, rules);

  test("sends method, headers and body, and returns status, headers and body", async () => {
    const init = {
      method: "POST",
      headers: { authorization: "Bearer key", "content-type": "application/json" },
      body: '{"a":"ü"}',
    };
    const response = await fetch(`${url}/path?query=1`, init);
    expect(response.status).toBe(201);
    expect(response.headers.get("x-two")).toBe("a, b");
    expect(await response.json()).toMatchObject({
      method: "POST",
      url: "/path?query=1",
      body: '{"a":"ü"}',
      headers: {
        host: `127.0.0.1:${port}`,
        authorization: "Bearer key",
        "content-type": "application/json",
        "content-length": "10",
      },
    });
  });

  test("accepts answers without a body", async () => {
    const response = await fetch(`${url}/nothing`, { method: "DELETE" });
    expect(response.status).toBe(204);
    expect(response.body).toBeNull();
  });

  test.each(["/gzip", "/x-gzip", "/deflate", "/br", "/two"])(
    "decodes a body as the runtime's fetch does: %s",
    async (path) => {
      const response = await fetch(url + path, {});
      expect(await response.text()).toBe(text);
      expect(response.headers.get("content-encoding")).toBeNull();
    },
  );

  test("leaves a coding alone that it does not know", async () => {
    const response = await fetch(`${url}/other`, {});
    expect([response.headers.get("content-encoding"), await response.text()]).toEqual([
      "rot13",
      "uryyb",
    ]);
  });

  test.each(["/gzip-cut", "/gzip-lie"])("fails if a coded body is broken: %s", async (path) => {
    await expect((await fetch(url + path, {})).text()).rejects.toThrow();
  });

  test("decodes no more than its reader takes", async () => {
    const { body } = await fetch(`${url}/bomb`, {});
    expect(await readLimited(body as ReadableStream<Uint8Array>, 1024 * 1024)).toBeUndefined();
  });

  test("fails if the body is cut off, or if its signal aborts", async () => {
    await expect((await fetch(`${url}/cut`, {})).text()).rejects.toThrow();
    const stop = new AbortController();
    const waiting = fetch(`${url}/silent`, { signal: stop.signal });
    setTimeout(() => stop.abort(new NgrokdError("timeout", "too late")), 50);
    await expect(waiting).rejects.toThrow("too late");
  });

  test("sends https through the proxy, verified by the server's name, and no http", async () => {
    const { net, dials } = watched();
    const watchedFetch = createFetch(net, { ...rules, noProxy: "direct.test" });
    for (const to of [
      "https://api.test/x",
      "https://direct.test:8443/",
      "http://api.test/",
      "https://[2001:db8::1]/",
    ]) {
      await expect(watchedFetch(to, {})).rejects.toThrow("not here");
    }
    expect(dials.map(({ host, options }) => [host, options.tls?.serverName, options.via])).toEqual([
      ["api.test 443", "api.test", rules.proxy],
      ["direct.test 8443", "direct.test", undefined],
      ["api.test 80", undefined, undefined],
      ["2001:db8::1 443", "2001:db8::1", rules.proxy],
    ]);
    expect(dials.map(({ options }) => options.tls?.insecureSkipVerify ?? false)).toEqual([
      false,
      false,
      false,
      false,
    ]);
    expect(dials[0]?.options.tls?.ca.length).toBeGreaterThan(0);
  });

  test("makes the API's errors name the proxy and the next step", async () => {
    const exchange = createExchange({
      fetch,
      headers: {},
      timeoutMs: 5000,
      maxBytes: 1000,
      safe: (text) => text,
    });
    const error = await exchange({
      action: "Cannot ask",
      method: "GET",
      url: new URL("https://api.test/"),
    }).catch((caught: unknown) => caught);
    expect(error).toMatchObject({ code: "network" });
    expect((error as NgrokdError).message).toMatch(
      /^Cannot ask: cannot reach "https:\/\/api\.test", .*through the proxy "http:\/\/127\.0\.0\.1:1"/,
    );
  });
});

test("a fetch without a proxy is the runtime's own", async () => {
  const { net, dials } = watched();
  const response = await createFetch(net, { ...rules, proxy: undefined })(`${url}/nothing`, {});
  expect(response.status).toBe(204);
  expect(dials).toEqual([]);
  // HTTP_PROXY alone does not count for us, and must not count for the runtime.
  await expect(
    createFetch(net, { ...rules, proxy: undefined, httpProxy: true })(`${url}/nothing`, {}),
  ).rejects.toThrow("not here");
  expect(dials).toMatchObject([{ host: `127.0.0.1 ${port}`, options: {} }]);
});

describe("a fetch after discard()", () => {
  const direct = { ...rules, proxy: undefined };

  test("bypasses the runtime's pool until it has no old connection", async () => {
    let [now, connections] = [0, 0];
    const counted = (): void => {
      connections += 1;
    };
    server.on("connection", counted);
    const fetch = createFetch(bunNet, direct, () => now);
    const ask = async (): Promise<number> => {
      await (await fetch(`${url}/`, { method: "POST", body: "x" })).text();
      return connections;
    };
    await ask();
    const kept = await ask();
    expect(kept).toBeLessThanOrEqual(1);
    fetch.discard();
    expect(await ask()).toBe(kept + 1);
    expect(await ask()).toBe(kept + 2);
    // Bun closes connections that were idle for 5 minutes. The last request
    // before may have taken 30 s.
    now = 330_000;
    expect(await ask()).toBe(kept + 3);
    now = 360_000;
    await ask();
    const again = await ask();
    expect(again).toBeLessThanOrEqual(kept + 4);
    server.off("connection", counted);
  });

  test.each([
    ["directly", direct],
    ["with a proxy", rules],
  ])(
    "repeats a request that has no answer yet, %s, and makes no change twice",
    async (_how, way) => {
      const asked: string[] = [];
      const waiting = createServer((request, response) => {
        asked.push(String(request.method));
        if (asked.length > 2) response.end("answered");
      });
      await new Promise<void>((listening) => waiting.listen(0, "127.0.0.1", listening));
      const there = `http://127.0.0.1:${(waiting.address() as { port: number }).port}/`;
      const fetch = createFetch(bunNet, way);
      const stop = new AbortController();
      const changing = fetch(there, { method: "DELETE", signal: stop.signal });
      const asking = fetch(there, { signal: stop.signal });
      while (asked.length < 2) await new Promise((moment) => setTimeout(moment, 2));
      fetch.discard();
      expect(await (await asking).text()).toBe("answered");
      stop.abort(new NgrokdError("timeout", "too late"));
      await expect(changing).rejects.toThrow("too late");
      expect(asked.sort()).toEqual(["DELETE", "GET", "GET"]);
      waiting.closeAllConnections();
      waiting.close();
    },
  );

  test("does not repeat a request that its caller has cancelled", async () => {
    const stop = new AbortController();
    const fetch = createFetch(bunNet, direct);
    const asking = fetch(`${url}/silent`, { signal: stop.signal });
    stop.abort(new NgrokdError("cancelled", "never mind"));
    fetch.discard();
    await expect(asking).rejects.toThrow("never mind");
  });

  test("dials for each request if the runtime's fetch cannot forget its connections", async () => {
    const { net, dials } = watched();
    const fetch = createFetch({ ...net, runtime: "deno" }, direct);
    expect((await fetch(`${url}/nothing`, {})).status).toBe(204);
    fetch.discard();
    await expect(fetch("https://api.test/x", {})).rejects.toThrow("not here");
    expect(dials).toMatchObject([
      { host: "api.test 443", options: { tls: { serverName: "api.test" }, via: undefined } },
    ]);
  });
});
