import { describe, expect, spyOn, test } from "bun:test";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { inspect } from "node:util";
import fc from "fast-check";
import { createApi, type ListMemory } from "../../src/cloud/api.ts";
import type { Fetch } from "../../src/cloud/exchange.ts";
import type { ApiKey } from "../../src/model/api-key.ts";
import { NgrokdError } from "../../src/model/error.ts";
import { fakeServer, type Reply, type Request } from "../support/fake-api.ts";
import { issue, rootCa } from "../support/pki.ts";

const key = "2secretKEYsecretKEY_4secretKEY" as ApiKey;
const userAgent = "ngrokd/1.2.3 (linux; x64)";
const request = {
  description: "d",
  metadata: "{}",
  enabled_features: ["bindings"],
  region: "global",
  binding: { endpoint_selectors: ["true"], csr: "CSR" },
} as const;

const apiAt = (
  url: string,
  more: { timeoutMs?: number; maxBytes?: number; fetch?: Fetch; memory?: ListMemory } = {},
) => createApi({ url, key, userAgent, ...more });

/** An API whose fetch returns this, without a network. */
const apiSaying = (
  answer: (url: string) => Response | Promise<Response>,
  more: { timeoutMs?: number; maxBytes?: number } = {},
) => apiAt("https://api.test", { fetch: async (url) => answer(url), ...more });

/** The NgrokdError of a failed call. The key must not be anywhere in it. */
async function failure(call: Promise<unknown>): Promise<NgrokdError> {
  const error = await call.then(
    (value) => new Error(`expected a failure, got ${inspect(value)}`),
    (thrown) => thrown,
  );
  if (!(error instanceof NgrokdError)) throw error;
  expect(inspect(error, { depth: 20, showHidden: true, getters: true })).not.toContain(key);
  return error;
}

describe("a request", () => {
  test("carries the headers of docs/protocol.md, and a body only if there is one", async () => {
    await using server = await fakeServer(() => ({ json: { id: "k8sop_1" } }));
    const api = apiAt(`${server.url}/`);
    await api.createOperator(request);
    await api.getOperator("k8sop_1");
    await api.updateOperator("k8sop_1", { binding: { csr: "NEW" } });
    await api.deleteOperator("k8sop_1");
    expect(server.requests.map(({ method, path }) => `${method} ${path}`)).toEqual([
      "POST /kubernetes_operators",
      "GET /kubernetes_operators/k8sop_1",
      "PATCH /kubernetes_operators/k8sop_1",
      "DELETE /kubernetes_operators/k8sop_1",
    ]);
    for (const { headers } of server.requests) {
      expect(headers).toMatchObject({
        authorization: `Bearer ${key}`,
        "ngrok-version": "2",
        "user-agent": userAgent,
        accept: "application/json",
      });
    }
    expect(server.requests.map(({ headers }) => headers["content-type"])).toEqual([
      "application/json",
      undefined,
      "application/json",
      undefined,
    ]);
    expect(server.requests.map(({ json }) => json)).toEqual([
      request,
      undefined,
      { binding: { csr: "NEW" } },
      undefined,
    ]);
  });

  test("keeps a path that the base URL has", async () => {
    await using server = await fakeServer(() => ({ json: { id: "k8sop_1" } }));
    await apiAt(`${server.url}/behind/a/prefix/`).getOperator("k8sop_1");
    expect(server.requests[0]?.path).toBe("/behind/a/prefix/kubernetes_operators/k8sop_1");
  });

  test("is not made for an id that would be another call", async () => {
    await using server = await fakeServer(() => ({ json: {} }));
    const api = apiAt(server.url);
    for (const id of ["", ".", "..", "a/b", "k8sop_1?x", "k8sop_1\n"]) {
      expect((await failure(api.getOperator(id))).code).toBe("state");
      expect((await failure(api.deleteOperator(id))).code).toBe("state");
      expect((await failure(api.boundEndpoints(id))).code).toBe("state");
    }
    expect(server.requests).toEqual([]);
  });

  test("needs an http or https base URL", () => {
    for (const url of ["", "api.ngrok.com", "ftp://api.ngrok.com", "unix:/x"])
      expect(() => apiAt(url)).toThrow(/not an http or https URL/);
  });
});

describe("checkKey", () => {
  test("resolves if ngrok accepts the key, and asks for one item only", async () => {
    await using server = await fakeServer(() => ({
      json: { operators: [], next_page_uri: "/kubernetes_operators?before_id=x" },
    }));
    await apiAt(server.url).checkKey();
    expect(server.requests.map(({ path }) => path)).toEqual(["/kubernetes_operators?limit=1"]);
  });

  test("rejects if it does not", async () => {
    await using server = await fakeServer(() => ({
      status: 401,
      json: { error_code: "ERR_NGROK_203", status_code: 401, msg: "invalid" },
    }));
    expect((await failure(apiAt(server.url).checkKey())).code).toBe("unauthorized");
  });
});

describe("an operator's answer", () => {
  const parse = (json: unknown) => apiSaying(() => Response.json(json)).getOperator("k8sop_1");

  test("is read with the fields that are used", async () => {
    const json = {
      id: "k8sop_1",
      uri: "https://x",
      created_at: "2026-01-02T03:04:05Z",
      description: "ngrokd on box",
      metadata: "{}",
      principal: { id: "usr_1" },
      binding: {
        endpoint_selectors: ["true"],
        ingress_endpoint: "ingress.example.com",
        cert: { cert: "PEM", not_before: "x", not_after: "y" },
      },
    };
    expect(await parse(json)).toEqual({
      id: "k8sop_1",
      createdAt: "2026-01-02T03:04:05Z",
      description: "ngrokd on box",
      metadata: "{}",
      selectors: ["true"],
      ingressEndpoint: "ingress.example.com:443",
      certPem: "PEM",
    });
  });

  test.each([
    { id: "k8sop_1" },
    { id: "k8sop_1", created_at: "yesterday", binding: null },
    { id: "k8sop_1", binding: [], description: 5, metadata: { a: 1 } },
    { id: "k8sop_1", binding: { endpoint_selectors: "true", ingress_endpoint: 7, cert: "PEM" } },
    {
      id: "k8sop_1",
      binding: { endpoint_selectors: null, ingress_endpoint: "", cert: { cert: " " } },
    },
  ])("is read leniently: %j", async (json) => {
    expect(await parse(json)).toEqual({
      id: "k8sop_1",
      createdAt: "",
      description: "",
      metadata: "",
      selectors: [],
      ingressEndpoint: undefined,
      certPem: undefined,
    });
  });

  test.each([
    {},
    { id: "" },
    { id: 5 },
    { id: "../../etc/passwd" },
    { id: "a\nb" },
    { id: "x".repeat(129) },
    [[]],
  ])("without a usable id is an error: %j", async (json) => {
    expect(await failure(parse(json))).toMatchObject({
      code: "api",
      message: expect.stringContaining("no operator id"),
    });
  });

  test.each([
    ["ingress.example.com", "ingress.example.com:443"],
    [" Ingress.Example.com:8443 ", "ingress.example.com:8443"],
    ["127.0.0.1:4443", "127.0.0.1:4443"],
    ["127.0.0.1", "127.0.0.1:443"],
    ["https://x.example.com", undefined],
    ["x.example.com:0", undefined],
    ["x.example.com:65536", undefined],
    ["x.example.com:", undefined],
    ["user@x.example.com", undefined],
    ["999.1.1.1:443", undefined],
    ["[::1]:4443", "[::1]:4443"],
    ["two words", undefined],
  ])("names the ingress as %j, which is %p", async (ingress_endpoint, expected) => {
    expect((await parse({ id: "k8sop_1", binding: { ingress_endpoint } })).ingressEndpoint).toBe(
      expected,
    );
  });
});

describe("a list", () => {
  test.each([null, "", undefined])("ends at a page whose next one is %p", async (next) => {
    await using server = await fakeServer(paged({ "/endpoints": { ids: ["a", "b"], next } }));
    expect(await apiAt(server.url).endpointIds()).toEqual(["a", "b"]);
  });

  test("is all pages, in order, with next pages absolute and relative", async () => {
    const pages: Parameters<typeof paged>[0] = {};
    await using server = await fakeServer(paged(pages));
    const at = "/kubernetes_operators/k8sop_1/bound_endpoints";
    pages[at] = { ids: ["a"], next: `${server.url}${at}?before_id=a&limit=1` };
    pages[`${at}?before_id=a&limit=1`] = { ids: ["b"], next: `${at}?before_id=b` };
    pages[`${at}?before_id=b`] = { ids: ["c"], next: "?before_id=c" };
    pages[`${at}?before_id=c`] = { ids: ["d"], next: "endpoints?last" };
    pages["/endpoints?last"] = { ids: ["e"], next: null };
    expect((await apiAt(server.url).boundEndpoints("k8sop_1")).map(({ id }) => id)).toEqual([
      "a",
      "b",
      "c",
      "d",
      "e",
    ]);
    expect(server.requests.every(({ headers }) => headers.authorization === `Bearer ${key}`)).toBe(
      true,
    );
  });

  test("is the same array while every page is the same, and then another", async () => {
    const pages: Parameters<typeof paged>[0] = {
      "/endpoints": { ids: ["a"], next: "?2" },
      "/endpoints?2": { ids: ["b"] },
    };
    await using server = await fakeServer(paged(pages));
    const memory: ListMemory = new Map();
    const list = () => apiAt(server.url, { memory }).endpointIds();
    const first = await list();
    expect(await list()).toBe(first);
    pages["/endpoints?2"] = { ids: ["c"] };
    const second = await list();
    expect(second).toEqual(["a", "c"]);
    pages["/endpoints?2"] = { ids: ["c"], next: "?3" };
    pages["/endpoints?3"] = { ids: [] };
    const longer = await list();
    expect(longer).toEqual(second);
    expect(longer).not.toBe(second);
    pages["/endpoints"] = { ids: ["a"] };
    expect(await list()).toEqual(["a"]);
    pages["/endpoints"] = { ids: ["a"], next: "?nowhere" };
    expect((await failure(list())).code).toBe("api");
    pages["/endpoints"] = { ids: ["a"] };
    expect(await list()).toEqual(["a"]);
  });

  test("behind a prefix follows next pages with and without it", async () => {
    await using server = await fakeServer(
      paged({
        "/p/endpoints": { ids: ["a"], next: "/p/endpoints?2" },
        "/p/endpoints?2": { ids: ["b"], next: "/endpoints?3" },
        "/p/endpoints?3": { ids: ["c"] },
      }),
    );
    expect(await apiAt(`${server.url}/p`).endpointIds()).toEqual(["a", "b", "c"]);
  });
});

describe("a list that leads astray", () => {
  test("never takes the key to another origin", async () => {
    await using thief = await fakeServer(() => ({ json: { endpoints: [], next_page_uri: null } }));
    const host = new URL(thief.url).host;
    for (const next of [
      `${thief.url}/endpoints`,
      `//${host}/endpoints`,
      `/\\${host}/endpoints`,
      `http:\\\\${host}/endpoints`,
      `\t//${host}/x`,
      "https://127.0.0.1/",
      "file:///etc/passwd",
      "http://[",
      `${thief.url.replace("127.0.0.1", "x@127.0.0.1")}/`,
    ]) {
      await using server = await fakeServer(paged({ "/endpoints": { ids: ["a"], next } }));
      const error = await failure(apiAt(server.url).endpointIds());
      expect(error).toMatchObject({
        code: "protocol",
        message: expect.stringContaining("the API key goes nowhere else"),
      });
    }
    expect(thief.requests).toEqual([]);
  });

  test("that leads in a circle is an error", async () => {
    await using server = await fakeServer(
      paged({
        "/endpoints": { ids: ["a"], next: "/endpoints?2" },
        "/endpoints?2": { ids: ["b"], next: "/endpoints" },
      }),
    );
    expect(await failure(apiAt(server.url).endpointIds())).toMatchObject({
      code: "protocol",
      message: expect.stringContaining("circle"),
    });
    expect(server.requests.length).toBe(2);
  });

  test("that does not end is an error after 1000 pages", async () => {
    let asked = 0;
    const api = apiSaying(() =>
      Response.json({ endpoints: [], next_page_uri: `/endpoints?page=${++asked}` }),
    );
    expect(await failure(api.endpointIds())).toMatchObject({
      code: "protocol",
      message: expect.stringContaining("1000 pages"),
    });
    expect(asked).toBe(1000);
  });

  test("fails as a whole if one page fails, so that nothing looks deleted", async () => {
    await using server = await fakeServer(
      paged({ "/endpoints": { ids: ["a"], next: "/endpoints?gone" } }),
    );
    expect((await failure(apiAt(server.url).endpointIds())).code).toBe("api");
  });

  test("that is null is empty, as Go writes it; one that is missing is an error", async () => {
    expect(await apiSaying(() => Response.json({ endpoints: null })).endpointIds()).toEqual([]);
    for (const json of [
      {},
      { endpoints: {} },
      { endpoints: "x" },
      { operators: [] },
      [],
      { endpoints: [], next_page_uri: 7 },
    ]) {
      expect(await failure(apiSaying(() => Response.json(json)).endpointIds())).toMatchObject({
        code: "api",
        message: expect.stringContaining("no list of endpoints"),
      });
    }
  });

  test("of operators leaves out items without id", async () => {
    const api = apiSaying(() =>
      Response.json({ operators: [{ id: "k8sop_1" }, {}, null, { id: "k8sop_2" }] }),
    );
    expect((await api.operators()).map(({ id }) => id)).toEqual(["k8sop_1", "k8sop_2"]);
  });
});

describe("an endpoint", () => {
  const parse = async (item: unknown) =>
    (await apiSaying(() => Response.json({ endpoints: [item] })).boundEndpoints("k8sop_1"))[0];

  test("takes url before public_url and proto before scheme", async () => {
    expect(
      await parse({
        id: "ep_1",
        url: "http://a",
        public_url: "http://b",
        proto: "http",
        scheme: "https",
      }),
    ).toEqual({
      id: "ep_1",
      url: "http://a",
      proto: "http",
    });
    expect(await parse({ id: "ep_1", public_url: "tls://b", scheme: "tls", name: "n" })).toEqual({
      id: "ep_1",
      url: "tls://b",
      proto: "tls",
    });
  });

  test("never fails, whatever JSON stands in its place", async () => {
    await fc.assert(
      fc.asyncProperty(fc.jsonValue(), async (item) => {
        const endpoint = await parse(item);
        if (typeof item !== "object" || item === null || Array.isArray(item))
          expect(endpoint).toEqual({ id: "", url: "", proto: "" });
        expect(typeof endpoint?.id).toBe("string");
        expect(typeof endpoint?.url).toBe("string");
        expect(typeof endpoint?.proto).toBe("string");
      }),
    );
  });

  test("keeps a known field whatever type the others have", async () => {
    const wrong = {
      url: "http://a",
      id: 5,
      proto: ["http"],
      name: {},
      description: 1,
      bindings: "kubernetes",
      created_at: false,
    };
    expect(await parse(wrong)).toEqual({
      id: "",
      url: "http://a",
      proto: "",
    });
  });

  test("with a megabyte of host name is kept short, and still too long to be a URL", async () => {
    const endpoint = await parse({ id: "ep_1", url: `http://${"a".repeat(1_000_000)}.demo` });
    expect(endpoint?.url.length).toBe(2100);
  });
});

describe("a refusal", () => {
  test("says the action, ngrok's words, its code and its operation id", async () => {
    const error = await refused(400, ngroks(400, "ERR_NGROK_1234", "The thing is wrong."));
    expect(error.message).toBe(
      `Cannot look up the operator "k8sop_1": ngrok's API answered 400: The thing is wrong (ERR_NGROK_1234, operation op_2abc)`,
    );
    expect(error).toMatchObject({
      code: "api",
      details: {
        status: 400,
        errorCode: "ERR_NGROK_1234",
        operationId: "op_2abc",
        fromNgrok: true,
      },
    });
  });

  test.each([
    [401, "ERR_NGROK_203", "unauthorized", "ngrokd set-api-key"],
    [403, "ERR_NGROK_206", "unauthorized", "this is an authtoken"],
    [403, "ERR_NGROK_19002", "api", "enable Kubernetes bindings"],
    [400, "ERR_NGROK_19002", "api", "enable Kubernetes bindings"],
    [400, "ERR_NGROK_19001", "api", "certificate request"],
    [400, "ERR_NGROK_19003", "api", "bound_endpoints.selectors"],
    [404, "ERR_NGROK_5", "not-found", "dashboard"],
    [429, "ERR_NGROK_1", "rate-limited", "wait"],
    [400, "ERR_NGROK_225", "rate-limited", "wait"],
    [403, "ERR_NGROK_734", "rate-limited", "wait"],
    [503, "ERR_NGROK_1214", "rate-limited", "wait"],
    [500, "ERR_NGROK_1", "api", "status.ngrok.com"],
  ] as const)("of %p with %p is %p", async (status, errorCode, code, hint) => {
    const error = await refused(status, ngroks(status, errorCode));
    expect(error.code).toBe(code);
    expect(error.hint).toContain(hint);
  });

  test("distinguishes ngrok's own 404 from a proxy's", async () => {
    expect((await refused(404, ngroks(404, "ERR_NGROK_5"))).details.fromNgrok).toBe(true);
    expect((await refused(404, ngroks(404, ""))).details.fromNgrok).toBe(true);
    for (const body of [
      "",
      "<html>no</html>",
      "null",
      "[]",
      { msg: "x" },
      { message: "no route" },
      { msg: "x", status_code: 500 },
      { error_code: "E404", msg: "" },
      // ngrok's own reply for an unknown path, as with a wrong `api.url`.
      { status_code: 404, msg: "Not Found", details: { path: "/api/kubernetes_operators" } },
    ]) {
      const error = await refused(404, body);
      expect(error.code).toBe("not-found");
      expect(error.details.fromNgrok).toBe(false);
      expect(error.hint).toContain("api.url");
    }
  });

  test.each([
    ["<html><body><h1>502 Bad Gateway</h1></body></html>", "answered 502 with an HTML page"],
    ["  \n<!DOCTYPE html>", "answered 502 with an HTML page"],
    ["", "answered 502 with an empty body"],
    ["upstream connect error", "answered 502 with something that is not in ngrok's format"],
    ['{"message":"x"}', "answered 502 with something that is not in ngrok's format"],
  ])("with the body %j is described, not dumped", async (body, said) => {
    const { message } = await refused(502, body);
    expect(message).toBe(`Cannot look up the operator "k8sop_1": ngrok's API ${said}`);
  });

  test("is not ngrok's if it has more than 256 KiB", async () => {
    const { message } = await refused(502, ngroks(502, "ERR_NGROK_1", "x".repeat(256 * 1024)));
    expect(message).toEndWith("answered 502 with something that is not in ngrok's format");
  });
});

describe("the text of a refusal", () => {
  test("that is long or has control characters becomes one line of sane length", async () => {
    const { message } = await refused(
      400,
      ngroks(400, "ERR_NGROK_1", `first\r\nsecond\x1b[31m ${"x".repeat(100_000)}`),
    );
    expect(message).toContain("first second [31m xxx");
    expect(message.length).toBeLessThan(700);
    expect(message).not.toMatch(/[\x00-\x1f]/);
  });

  test("that quotes the key, as ngrok's do, is shown without it", async () => {
    const { message } = await refused(
      401,
      ngroks(401, "ERR_NGROK_203", `Your authentication: ${key}. Go away ${key}`),
    );
    expect(message).toContain("Your authentication: [API key]. Go away [API key]");
    await refused(401, {
      error_code: key,
      status_code: 401,
      msg: "x",
      details: { operation_id: key },
    });
    await refused(500, key);
  });

  const second = 1000;
  test.each([
    ["7", 7 * second],
    ["0", 0],
    ["86400000", 24 * 3600 * second],
    ["Thu, 01 Jan 1970 00:00:01 GMT", 0],
    ["-5", undefined],
    ["1.5", undefined],
    ["soon", undefined],
    ["", undefined],
  ])("with Retry-After %j asks to wait %p ms", async (header, ms) => {
    expect(
      (await refused(429, ngroks(429, "ERR_NGROK_1"), { "retry-after": header })).details
        .retryAfterMs,
    ).toBe(ms);
  });

  test("with a date in Retry-After asks to wait until then", async () => {
    const end = new Date(Date.now() + 60_000).toUTCString();
    const before = Date.now();
    const { details } = await refused(503, "", { "retry-after": end });
    expect(details.retryAfterMs).toBeGreaterThanOrEqual(Date.parse(end) - Date.now());
    expect(details.retryAfterMs).toBeLessThanOrEqual(Date.parse(end) - before);
  });

  test("is not asked again by itself", async () => {
    await using server = await fakeServer(() => ({ status: 503, text: "" }));
    await failure(apiAt(server.url).endpointIds());
    await failure(apiAt(server.url).createOperator(request));
    expect(server.requests.length).toBe(2);
  });
});

describe("an answer of 200", () => {
  test.each([
    ["<html></html>", "answered 200 with an HTML page"],
    ["", "answered 200 with an empty body"],
    ["OK", "answered 200 with something that is not in ngrok's format"],
    ["5", "answered 200 with something that is not in ngrok's format"],
    ["[".repeat(1_000_000), "answered 200 with something that is not in ngrok's format"],
  ])("that is no JSON object is an error", async (body, said) => {
    const error = await failure(apiSaying(() => new Response(body)).getOperator("k8sop_1"));
    expect(error.message).toBe(`Cannot look up the operator "k8sop_1": "https://api.test" ${said}`);
    expect(error.code).toBe("api");
    expect(error.hint).toContain("api.url");
  });
});

describe("a redirect", () => {
  test("is not followed, to the same origin or another", async () => {
    await using thief = await fakeServer(() => ({ json: { id: "k8sop_1" } }));
    for (const [status, location] of [
      [301, `${thief.url}/x`],
      [302, "/elsewhere"],
      [307, `${thief.url}/${key}`],
      [308, ""],
    ] as const) {
      await using server = await fakeServer(() => ({ status, headers: { location } }));
      const error = await failure(apiAt(server.url).createOperator(request));
      expect(error).toMatchObject({ code: "protocol", details: { status } });
      expect(server.requests.length).toBe(1);
    }
    expect(thief.requests).toEqual([]);
  });
});

test.each([300, 304, 307, 308])(
  "an answer of %p without a place is no redirect",
  async (status) => {
    const error = await failure(
      apiSaying(() => new Response(null, { status })).getOperator("k8sop_1"),
    );
    expect(error).toMatchObject({
      code: "protocol",
      message: `Cannot look up the operator "k8sop_1": "https://api.test" answered ${status}, which is no answer to this request`,
      hint: expect.stringContaining("proxies on the way"),
    });
  },
);

describe("a body", () => {
  test("over the limit is refused before it is all there", async () => {
    await using server = await fakeServer(() => "endless-body");
    const error = await failure(apiAt(server.url, { maxBytes: 1 << 20 }).endpointIds());
    expect(error).toMatchObject({
      code: "protocol",
      message: expect.stringContaining("more than 1048576 bytes"),
    });
  });

  test("of 7 MB with 10,000 endpoints is read", async () => {
    const endpoints = Array.from({ length: 10_000 }, (_, i) => ({
      id: `ep_${i}`,
      url: `http://svc-${i}.demo`,
      metadata: "m".repeat(600),
    }));
    await using server = await fakeServer(() => ({ json: { endpoints, next_page_uri: null } }));
    expect((await apiAt(server.url).endpointIds()).length).toBe(10_000);
  });
});

describe("a failure to reach the API", () => {
  test("is not tried again by itself", async () => {
    let tried = 0;
    const api = apiSaying(() => {
      tried += 1;
      throw new TypeError("fetch failed");
    });
    await failure(api.endpointIds());
    await failure(api.createOperator(request));
    expect(tried).toBe(2);
  });

  test("by a refused connection is reported as such", async () => {
    const server = await fakeServer(() => ({}));
    await server[Symbol.asyncDispose]();
    const error = await failure(apiAt(server.url).endpointIds());
    expect(error).toMatchObject({ code: "network", details: { kind: "refused" } });
    expect(error.message).toBe(
      `Cannot list the account's endpoints: cannot reach "${server.url}", connection refused`,
    );
  });

  test("by a connection cut off is reported as such", async () => {
    await using server = await fakeServer(() => "reset");
    expect(await failure(apiAt(server.url).endpointIds())).toMatchObject({
      code: "network",
      details: { kind: "cut" },
    });
  });

  test("by an answer that is no HTTP, or packed wrong, names no error of the runtime", async () => {
    const texts = {
      "Malformed_HTTP_Response fetching": "is no valid HTTP",
      "InvalidContentLength fetching": "is no valid HTTP",
      "ZlibError fetching": "is no valid HTTP",
      "error sending request: invalid HTTP version parsed": "is no valid HTTP",
      "Parse Error: Expected HTTP/": "is no valid HTTP",
      "ECONNRESET: The socket connection was closed unexpectedly": "the connection was cut",
    };
    for (const [thrown, told] of Object.entries(texts)) {
      const api = apiSaying(() => Promise.reject(new TypeError(thrown)));
      const error = await failure(api.endpointIds());
      expect({ thrown, error }).toMatchObject({
        error: { message: expect.stringMatching(new RegExp(`${told}$`)), hint: expect.any(String) },
      });
    }
  });

  test.each([
    "The socket connection was closed unexpectedly. For more information, pass `verbose: true` in the second argument to fetch()",
    "Unable to connect. Is the computer able to access the url?",
    "getaddrinfo ENOTFOUND api.test: Was there a typo in the url or port?",
    "Something new. For more information, pass `verbose: true` in the second argument to fetch()",
  ])("is reported without the runtime's advice to programmers: %s", async (text) => {
    const error = await failure(apiSaying(() => Promise.reject(new TypeError(text))).endpointIds());
    expect(error.message).toStartWith("Cannot list the account's endpoints: cannot reach");
    expect(error.message).not.toMatch(/fetch\(\)|verbose|the computer|typo/);
  });

  test.each([
    ["name", Object.assign(new TypeError("getaddrinfo ENOTFOUND api.test"), { code: "ENOTFOUND" })],
    [
      "name",
      new TypeError("fetch failed", {
        cause: new Error("client error (Connect): dns error: failed to lookup address information"),
      }),
    ],
    [
      "refused",
      new TypeError("fetch failed", {
        cause: new Error("tcp connect error: Connection refused (os error 111)"),
      }),
    ],
    [
      "tls",
      Object.assign(new TypeError("self signed certificate in certificate chain"), {
        code: "SELF_SIGNED_CERT_IN_CHAIN",
      }),
    ],
    [
      "tls",
      new TypeError("fetch failed", {
        cause: new Error("client error (Connect): invalid peer certificate: UnknownIssuer"),
      }),
    ],
    ["other", new TypeError("something new")],
    ["other", `with the ${key} in it`],
  ])("is sorted as %p", async (kind, thrown) => {
    const error = await failure(apiSaying(() => Promise.reject(thrown)).endpointIds());
    expect(error).toMatchObject({ code: "network", details: { kind } });
  });
});

describe("TLS", () => {
  test("is verified whatever the environment says: no stranger gets the key", async () => {
    const { cert, key: serverKey } = await issue(await rootCa(), "stranger", {
      names: ["127.0.0.1"],
    });
    let asked = 0;
    const server = createServer({ cert, key: serverKey }, (_, response) => {
      asked += 1;
      response.end('{"id":"k8sop_1"}');
    });
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    try {
      const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
      const code = `
        import { createApi } from ${JSON.stringify(join(import.meta.dir, "../../src/cloud/api.ts"))};
        const api = createApi({ url: ${JSON.stringify(url)}, key: "some-api-key", userAgent: "test" });
        await api.getOperator("k8sop_1").catch((error) => console.log(error.code, error.details.kind));`;
      const env = { ...process.env, NODE_TLS_REJECT_UNAUTHORIZED: "0" };
      const run = Bun.spawn([process.execPath, "-e", code], { env, stdout: "pipe" });
      expect(await run.stdout.text()).toBe("network tls\n");
      expect(asked).toBe(0);
    } finally {
      server.close();
    }
  });
});

describe("time and cancelling", () => {
  test.each(["hang", "hang-in-body"] as const)(
    "a server in %p meets the deadline",
    async (reply) => {
      await using server = await fakeServer(() => reply);
      const error = await failure(apiAt(server.url, { timeoutMs: 50 }).endpointIds());
      expect(error).toMatchObject({
        code: "timeout",
        message: expect.stringContaining("did not answer within 0.05 s"),
      });
    },
  );

  test("a fetch that heeds no signal meets it too", async () => {
    const api = apiSaying(() => new Promise(() => {}), { timeoutMs: 20 });
    expect((await failure(api.endpointIds())).code).toBe("timeout");
  });

  test("the caller's signal ends a request in flight, and prevents one to come", async () => {
    const cancel = new AbortController();
    await using server = await fakeServer(() => {
      cancel.abort();
      return "hang";
    });
    const api = apiAt(server.url);
    expect((await failure(api.endpointIds(cancel.signal))).code).toBe("cancelled");
    expect((await failure(api.endpointIds(cancel.signal))).code).toBe("cancelled");
    expect(server.requests.length).toBe(1);
  });

  test("the caller gets a reason of our own", async () => {
    const reason = new NgrokdError("timeout", "the pass took too long");
    expect(
      await failure(apiSaying(() => new Promise(() => {})).endpointIds(AbortSignal.abort(reason))),
    ).toBe(reason);
  });

  test("nothing is left listening to the caller's signal", async () => {
    const { signal } = new AbortController();
    const added = spyOn(signal, "addEventListener");
    const removed = spyOn(signal, "removeEventListener");
    await apiSaying(() => Response.json({ endpoints: [] })).endpointIds(signal);
    expect(added.mock.calls.length).toBe(1);
    expect(removed.mock.calls.map(([name, listener]) => [name, listener])).toEqual(
      added.mock.calls.map(([name, listener]) => [name, listener]),
    );
  });
});

/** Pages by path; `next` is sent unchanged. */
function paged(pages: Record<string, { ids: string[]; next?: unknown }>) {
  return (incoming: Request): Reply => {
    const page = pages[incoming.path];
    if (page === undefined) return { status: 500, text: "no such page" };
    const endpoints = page.ids.map((id) => ({ id, url: `http://${id}` }));
    return { json: { endpoints, uri: "x", next_page_uri: page.next } };
  };
}

/** The error of a call that gets this answer. */
function refused(status: number, body: unknown, headers: Record<string, string> = {}) {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const api = apiSaying(() => new Response(text, { status, headers }));
  return failure(api.getOperator("k8sop_1"));
}

/** A body in ngrok's error shape. */
function ngroks(status: number, error_code: string, msg = "Something.") {
  return { error_code, status_code: status, msg, details: { operation_id: "op_2abc" } };
}
