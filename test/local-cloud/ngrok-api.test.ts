import { describe, expect, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import { createCsr, createKey } from "../../src/cloud/certificate.ts";
import { isNgrokdError } from "../../src/model/error.ts";
import { createBunNet } from "../../src/net/bun.ts";
import { bytes, read } from "../support/conns.ts";
import { ask, misbehave, register, startCloud, until } from "./support.ts";

const bunNet = createBunNet();

const upstream = "127.0.0.1:1";

describe("every call", () => {
  test("needs a known key and the API's version, and refuses in ngrok's form", async () => {
    const cloud = await startCloud({ apiKeys: ["first-key", "second-key"] });
    const refusals: [Record<string, string>, number, string][] = [
      [{ authorization: "" }, 403, "ERR_NGROK_200"],
      [{ authorization: "Digest Zm9vOmJhcg==" }, 403, "ERR_NGROK_201"],
      [{ authorization: "Basic Zm9vOmJhcg==" }, 403, "ERR_NGROK_203"],
      [{ authorization: "Bearer first-ke" }, 403, "ERR_NGROK_203"],
      [{ "ngrok-version": "" }, 400, "ERR_NGROK_218"],
      [{ "ngrok-version": "1" }, 400, "ERR_NGROK_217"],
    ];
    for (const [headers, status, code] of refusals) {
      for (const path of ["/endpoints", "/kubernetes_operators", "/endpoints/ep_none"]) {
        const { json, status: seen } = await ask(cloud, "GET", path, { headers });
        expect({ path, seen, ...json }).toMatchObject({
          path,
          seen: status,
          error_code: code,
          status_code: status,
        });
        expect(json.msg.length).toBeGreaterThan(10);
        expect(json.details.operation_id).toMatch(/^op_\w+$/);
      }
    }
    expect(
      (await ask(cloud, "GET", "/endpoints", { headers: { authorization: "Bearer second-key" } }))
        .status,
    ).toBe(200);
    expect((await ask(cloud, "GET", "/nothing/here")).status).toBe(404);
  });

  test("reads JSON bodies and no others", async () => {
    const cloud = await startCloud();
    const bodies: [string, string, string][] = [
      ["{}", "", "ERR_NGROK_216"],
      ["a=b", "application/x-www-form-urlencoded", "ERR_NGROK_210"],
      ["{", "application/json", "ERR_NGROK_213"],
      ["[]", "application/json", "ERR_NGROK_215"],
      ['{"colour": "red"}', "application/json", "ERR_NGROK_214"],
      ['{"binding": {"cert": {}}}', "application/json; charset=utf-8", "ERR_NGROK_214"],
      ['{"region": 1}', "application/json", "ERR_NGROK_215"],
    ];
    for (const [body, type, code] of bodies) {
      // fetch() adds a content type for a string, but not for bytes.
      const response = await fetch(`${cloud.apiUrl}/kubernetes_operators`, {
        method: "POST",
        body: new TextEncoder().encode(body),
        headers: {
          authorization: `Bearer ${cloud.apiKey}`,
          "ngrok-version": "2",
          ...(type === "" ? {} : { "content-type": type }),
        },
      });
      const { error_code: seen } = (await response.json()) as { error_code: string };
      expect({ body, status: response.status, code: seen }).toEqual({ body, status: 400, code });
    }
    expect(cloud.operators()).toEqual([]);
  });
});

describe("operators", () => {
  test("are created with a CSR, shown, listed, changed and deleted", async () => {
    const cloud = await startCloud();
    const csr = await createCsr(await createKey());
    const body = {
      description: "ngrokd on laptop",
      metadata: '{"os":"linux"}',
      enabled_features: ["Bindings"],
      region: "eu",
      deployment: { name: "ngrokd", namespace: "laptop", version: "1", cluster_name: "none" },
      binding: { endpoint_selectors: ["endpoint.metadata.team == 'a'"], csr },
    };
    const made = await ask(cloud, "POST", "/kubernetes_operators", { body });
    const { id } = made.json;
    expect(made.status).toBe(201);
    expect(id).toMatch(/^k8sop_\w{27}$/);
    const { binding, ...same } = body;
    expect(made.json).toMatchObject({
      ...same,
      enabled_features: ["bindings"],
      uri: `${cloud.apiUrl}/kubernetes_operators/${id}`,
    });
    expect(made.json.binding).toMatchObject({
      endpoint_selectors: binding.endpoint_selectors,
      ingress_endpoint: cloud.ingressAddress,
    });
    expect(made.json.binding.csr).toBeUndefined();
    const certificate = new X509Certificate(made.json.binding.cert.cert);
    expect(certificate.subject).toBe(`CN=${id}`);
    expect(Date.parse(made.json.binding.cert.not_after)).toBe(Date.parse(certificate.validTo));
    expect(Date.parse(certificate.validTo) - Date.parse(certificate.validFrom)).toBe(
      90 * 24 * 3_600_000,
    );

    expect((await ask(cloud, "GET", `/kubernetes_operators/${id}`)).json).toEqual(made.json);
    expect((await ask(cloud, "GET", "/kubernetes_operators")).json.operators).toEqual([made.json]);

    const changed = await ask(cloud, "PATCH", `/kubernetes_operators/${id}`, {
      body: { description: "another", binding: { endpoint_selectors: ["true"] } },
    });
    expect(changed.status).toBe(200);
    expect(changed.json).toMatchObject({
      description: "another",
      metadata: body.metadata,
      binding: { endpoint_selectors: ["true"], cert: made.json.binding.cert },
    });

    expect((await ask(cloud, "DELETE", `/kubernetes_operators/${id}`)).status).toBe(204);
    for (const [method, path] of [
      ["GET", ""],
      ["DELETE", ""],
      ["GET", "/bound_endpoints"],
    ] as const) {
      const gone = await ask(cloud, method, `/kubernetes_operators/${id}${path}`);
      expect(gone).toMatchObject({ status: 404, json: { status_code: 404 } });
    }
    expect(
      (await ask(cloud, "PATCH", `/kubernetes_operators/${id}`, { body: { binding: { csr } } }))
        .status,
    ).toBe(404);
    expect((await ask(cloud, "GET", "/kubernetes_operators")).json.operators).toEqual([]);
  });

  test("get a certificate for a new CSR, and keep their id and the old certificate", async () => {
    const cloud = await startCloud({ certificateLifetimeMs: 30_000 });
    const { id, cert } = await register(cloud);
    const csr = await createCsr(await createKey());
    const { json } = await ask(cloud, "PATCH", `/kubernetes_operators/${id}`, {
      body: { binding: { csr } },
    });
    expect(json.binding.cert.cert).not.toBe(cert);
    expect(Date.parse(json.binding.cert.not_after) - Date.parse(json.binding.cert.not_before)).toBe(
      30_000,
    );
    expect(json.binding.endpoint_selectors).toEqual(["true"]);
    expect(cloud.operators()[0]?.binding?.certificates).toHaveLength(2);
  });

  test("are refused for a bad CSR or too long a text, and leave nothing behind", async () => {
    const cloud = await startCloud();
    const csr = await createCsr(await createKey());
    const bodies: [object, string, string][] = [
      [{ enabled_features: ["bindings"] }, "ERR_NGROK_19002", "needs a binding with a CSR"],
      [{ binding: { csr: "-----BEGIN NONSENSE-----" } }, "ERR_NGROK_19001", "PKCS #10"],
      [{ description: "é".repeat(128), binding: { csr } }, "ERR_NGROK_215", "description"],
      [{ metadata: "x".repeat(4097), binding: { csr } }, "ERR_NGROK_215", "metadata"],
      [{ enabled_features: ["flying"], binding: { csr } }, "ERR_NGROK_215", "enabled_features.0"],
    ];
    for (const [body, code, word] of bodies) {
      const { status, json } = await ask(cloud, "POST", "/kubernetes_operators", { body });
      expect({ body, status, code: json.error_code }).toEqual({ body, status: 400, code });
      expect(json.msg).toContain(word);
    }
    expect(
      (
        await ask(cloud, "POST", "/kubernetes_operators", {
          body: { description: "é".repeat(127), metadata: "x".repeat(4096) },
        })
      ).status,
    ).toBe(201);
    expect(cloud.operators()).toHaveLength(1);
  });
});

describe("lists", () => {
  test("show endpoints as ngrok does, with the old spelling of the URL too", async () => {
    const cloud = await startCloud();
    const { id } = cloud.addEndpoint({
      url: "tcp://db.prod:5432",
      upstream,
      name: "db",
      description: "the database",
      metadata: "{}",
    });
    const { json } = await ask(cloud, "GET", "/endpoints");
    expect(json).toMatchObject({ uri: `${cloud.apiUrl}/endpoints`, next_page_uri: null });
    expect(json.endpoints).toHaveLength(1);
    expect(json.endpoints[0]).toMatchObject({
      id,
      url: "tcp://db.prod:5432",
      public_url: "tcp://db.prod:5432",
      proto: "tcp",
      scheme: "tcp",
      host: "db.prod",
      port: 5432,
      hostport: "db.prod:5432",
      type: "cloud",
      bindings: ["kubernetes"],
      name: "db",
      description: "the database",
      metadata: "{}",
    });
    expect(json.endpoints[0].upstream).toBeUndefined();
  });

  test("come in pages, newest first, each naming the next by an absolute address", async () => {
    const cloud = await startCloud({ pageSize: 3 });
    const operator = await register(cloud);
    const urls = Array.from(
      { length: 7 },
      (_, i) => cloud.addEndpoint({ url: `http://e${i}.demo`, upstream }).url,
    ).reverse();
    for (const [path, sizes] of [
      [`/kubernetes_operators/${operator.id}/bound_endpoints`, [3, 3, 1]],
      ["/endpoints?limit=2", [2, 2, 2, 1]],
    ] as const) {
      const pages: string[][] = [];
      for (let next: string | null = path; next !== null; ) {
        const { json } = await ask(cloud, "GET", next);
        pages.push(json.endpoints.map((one: { url: string }) => one.url));
        next = json.next_page_uri;
        if (next !== null) expect(next).toStartWith(`${cloud.apiUrl}/`);
      }
      expect(pages.map((page) => page.length)).toEqual([...sizes]);
      expect(pages.flat()).toEqual(urls);
    }
  });

  test("go on at the same place if the last item of a page is deleted in between", async () => {
    const cloud = await startCloud({ pageSize: 2 });
    const ids = Array.from(
      { length: 4 },
      (_, i) => cloud.addEndpoint({ url: `http://e${i}.demo`, upstream }).id,
    ).reverse();
    const first = await ask(cloud, "GET", "/endpoints");
    cloud.removeEndpoint(ids[1] ?? "");
    cloud.addEndpoint({ url: "http://new.demo", upstream });
    const second = await ask(cloud, "GET", first.json.next_page_uri);
    expect(second.json.endpoints.map((one: { id: string }) => one.id)).toEqual(ids.slice(2));
  });

  test("refuse a page size that is none", async () => {
    const cloud = await startCloud();
    for (const limit of ["0", "101", "-1", "2.5", "many"]) {
      const { status, json } = await ask(cloud, "GET", `/endpoints?limit=${limit}`);
      const { error_code: code } = json;
      expect({ limit, status, code }).toEqual({ limit, status: 400, code: "ERR_NGROK_244" });
    }
  });

  test("of bound endpoints have no other bindings, and lag behind deletions on request", async () => {
    const cloud = await startCloud();
    const { id } = await register(cloud);
    const bound = cloud.addEndpoint({
      url: "http://bound.demo",
      upstream,
      bindings: ["public", "kubernetes"],
    });
    const open = cloud.addEndpoint({ url: "https://open.demo", upstream, bindings: ["public"] });
    cloud.removeEndpoint(bound.id, { lingers: true });
    const urls = async (path: string) =>
      (await ask(cloud, "GET", path)).json.endpoints.map((one: { url: string }) => one.url);
    expect(await urls("/endpoints")).toEqual([open.url]);
    expect(await urls(`/kubernetes_operators/${id}/bound_endpoints`)).toEqual([bound.url]);
    cloud.removeEndpoint(bound.id);
    expect(await urls(`/kubernetes_operators/${id}/bound_endpoints`)).toEqual([]);
  });
});

describe("the API's faults", () => {
  test("refuse with a status and Retry-After, the given number of times", async () => {
    const cloud = await startCloud();
    misbehave(cloud, "429=7*2");
    for (const times of [1, 2]) {
      const { status, headers, json } = await ask(cloud, "GET", "/endpoints");
      expect({ times, status, retryAfter: headers.get("retry-after") }).toEqual({
        times,
        status: 429,
        retryAfter: "7",
      });
      expect(json).toMatchObject({ error_code: "ERR_NGROK_226", status_code: 429 });
    }
    expect((await ask(cloud, "GET", "/endpoints")).status).toBe(200);
    for (const status of [401, 500, 503]) {
      misbehave(cloud, `${status}*1`);
      const answer = await ask(cloud, "POST", "/kubernetes_operators", { body: {} });
      expect(answer).toMatchObject({ status, json: { status_code: status } });
      expect(answer.headers.get("retry-after")).toBeNull();
    }
    expect(cloud.operators()).toEqual([]);
  });

  test("delay a response", async () => {
    const cloud = await startCloud();
    misbehave(cloud, "latency=3000*1");
    const order: string[] = [];
    const call = async (name: string): Promise<void> => {
      expect((await ask(cloud, "GET", "/endpoints")).status).toBe(200);
      order.push(name);
    };
    const late = call("late");
    await until("the first call has the fault", () => cloud.faults.list().length === 0);
    await call("next");
    await late;
    expect(order).toEqual(["next", "late"]);
  });

  test("answer a proxy's page, nothing, or far too much", async () => {
    const cloud = await startCloud();
    misbehave(cloud, "html*1");
    const html = await ask(cloud, "GET", "/endpoints");
    expect(html.status).toBe(502);
    expect(html.headers.get("content-type")).toBe("text/html; charset=UTF-8");
    expect(html.text).toStartWith("<html>");
    misbehave(cloud, "empty*1");
    expect(await ask(cloud, "GET", "/endpoints")).toMatchObject({ status: 200, text: "" });
    misbehave(cloud, "huge=3*1");
    const huge = await ask(cloud, "GET", "/endpoints");
    expect(huge.text.length).toBeGreaterThan(3_000_000);
    expect(huge.json.endpoints).toEqual([]);
    expect((await ask(cloud, "GET", "/endpoints")).text.length).toBeLessThan(1000);
  });
});

describe("the API's faults in a body", () => {
  test("break the connection in the middle of a body", async () => {
    const cloud = await startCloud();
    misbehave(cloud, "drop*1");
    // The bytes themselves: a client of HTTP may see the end before the head.
    const conn = await bunNet.dial({
      host: "127.0.0.1",
      port: Number(new URL(cloud.apiUrl).port),
    });
    const fields = `Host: a\r\nAuthorization: Bearer ${cloud.apiKey}\r\nNgrok-Version: 2`;
    await conn.write(bytes(`GET /endpoints HTTP/1.1\r\n${fields}\r\n\r\n`));
    let text = "";
    try {
      for (let more = await conn.read(); more !== null; more = await conn.read())
        text += Buffer.from(more).toString("latin1");
    } catch (error) {
      expect(isNgrokdError(error, "aborted")).toBe(true);
    }
    conn.close();
    expect(text).toStartWith("HTTP/1.1 200 OK\r\n");
    expect(text).toContain('{"endpoints":');
    expect(text).not.toContain("next_page_uri");
    expect((await ask(cloud, "GET", "/endpoints")).status).toBe(200);
  });

  test("lose half of a list, or send its reader elsewhere, and spare other calls", async () => {
    const cloud = await startCloud();
    const { id } = await register(cloud);
    for (let i = 0; i < 5; i += 1) cloud.addEndpoint({ url: `http://e${i}.demo`, upstream });
    misbehave(cloud, "short-page*1", "foreign-page=http://127.0.0.9:1/x*1");
    expect((await ask(cloud, "GET", `/kubernetes_operators/${id}`)).status).toBe(200);
    const short = await ask(cloud, "GET", "/endpoints");
    expect(short.json.endpoints).toHaveLength(2);
    expect(short.json.next_page_uri).toBeNull();
    const foreign = await ask(cloud, "GET", "/endpoints");
    expect(foreign.json.endpoints).toHaveLength(5);
    expect(foreign.json.next_page_uri).toBe("http://127.0.0.9:1/x");
    expect((await ask(cloud, "GET", "/endpoints")).json).toMatchObject({ next_page_uri: null });
  });

  test("show no endpoint once although there are some, and spare the operators", async () => {
    const cloud = await startCloud();
    const { id } = await register(cloud);
    cloud.addEndpoint({ url: "http://e.demo", upstream });
    misbehave(cloud, "empty-list*1");
    expect((await ask(cloud, "GET", "/kubernetes_operators")).json.operators).toHaveLength(1);
    const bound = `/kubernetes_operators/${id}/bound_endpoints`;
    expect((await ask(cloud, "GET", bound)).json).toMatchObject({
      endpoints: [],
      next_page_uri: null,
    });
    expect((await ask(cloud, "GET", bound)).json.endpoints).toHaveLength(1);
  });

  test("that empty a list keep a later page, and empty the next list", async () => {
    const cloud = await startCloud({ pageSize: 2 });
    for (let i = 0; i < 3; i += 1) cloud.addEndpoint({ url: `http://e${i}.demo`, upstream });
    const first = await ask(cloud, "GET", "/endpoints");
    misbehave(cloud, "empty-list*1");
    const second = await ask(cloud, "GET", first.json.next_page_uri);
    expect(second.json.endpoints).toHaveLength(1);
    const next = await ask(cloud, "GET", "/endpoints");
    expect(next.json).toMatchObject({ endpoints: [], next_page_uri: null });
  });
});

describe("the control API's endpoints", () => {
  test("adds, moves, shows and removes endpoints without a key", async () => {
    const cloud = await startCloud();
    const call = (method: string, path: string, body?: unknown) =>
      ask(cloud, method, `/_cloud${path}`, { body, headers: { authorization: "" } });
    const added = await call("POST", "/endpoints", {
      url: "http://a.demo",
      upstream: "127.0.0.1:3000",
    });
    expect(added).toMatchObject({
      status: 201,
      json: { url: "http://a.demo", upstream: "127.0.0.1:3000", lingers: false },
    });
    const at = `/endpoints/${added.json.id}`;
    expect((await call("PATCH", at, { url: "tcp://a.demo:7" })).json).toMatchObject({
      id: added.json.id,
      proto: "tcp",
      port: 7,
      upstream: "127.0.0.1:3000",
    });
    expect((await call("GET", "/endpoints")).json.endpoints).toHaveLength(1);
    expect((await call("DELETE", `${at}?lingers=true`)).status).toBe(204);
    expect((await call("GET", "/endpoints")).json.endpoints[0].lingers).toBe(true);
    expect((await call("PATCH", at, { url: "tcp://a.demo:8" })).status).toBe(404);
    expect((await call("DELETE", at)).status).toBe(204);
    expect((await call("DELETE", at)).status).toBe(404);
  });

  test("refuses URLs that lead nowhere, unless they are added unchecked", async () => {
    const cloud = await startCloud();
    const hostile = [
      `http://${"x".repeat(1_000_000)}.demo`,
      "http://a\nb.demo",
      "http://a\u0000b.demo",
      "gopher://a.demo",
    ];
    for (const url of hostile) {
      const refused = await ask(cloud, "POST", "/_cloud/endpoints", { body: { url, upstream } });
      expect(refused).toMatchObject({ status: 400, json: { status_code: 400 } });
      expect(
        (
          await ask(cloud, "POST", "/_cloud/endpoints", {
            body: { url, upstream, unchecked: true },
          })
        ).status,
      ).toBe(201);
    }
    const { json } = await ask(cloud, "GET", "/endpoints");
    expect(json.endpoints.map((one: { url: string }) => one.url)).toEqual(hostile.reverse());
  });
});

describe("the control API", () => {
  test("sets, lists and clears faults, and explains them", async () => {
    const cloud = await startCloud();
    const call = (method: string, path: string, body?: unknown) =>
      ask(cloud, method, `/_cloud/faults${path}`, { body });
    expect((await call("POST", "", { fault: "429=2*3" })).json.faults).toEqual(["429=2*3"]);
    expect((await call("POST", "", { fault: "latency=1" })).json.faults).toEqual([
      "429=2*3",
      "latency=1",
    ]);
    expect(await call("POST", "", { fault: "explode" })).toMatchObject({
      status: 400,
      json: { msg: expect.stringContaining("explode") },
    });
    expect((await call("GET", "")).json.known["header-slow"].says).toContain("byte by byte");
    expect((await call("DELETE", "/status")).status).toBe(204);
    expect((await call("DELETE", "/nothing")).status).toBe(404);
    expect((await call("GET", "")).json.faults).toEqual(["latency=1"]);
    expect((await call("DELETE", "")).status).toBe(204);
    expect((await ask(cloud, "GET", "/_cloud")).json).toMatchObject({
      ingress: cloud.ingressAddress,
      root_ca: cloud.caPem,
      intermediate_ca: cloud.intermediatePem,
      faults: [],
    });
  });

  test("lists operators", async () => {
    const cloud = await startCloud();
    const { id } = await register(cloud);
    expect((await ask(cloud, "GET", "/_cloud/operators")).json.operators).toEqual([
      { id, description: "" },
    ]);
  });

  test("gives keys to accounts, which see their own operators only, and revokes them", async () => {
    const cloud = await startCloud();
    const other = { headers: { authorization: "Bearer another-key-9" } };
    expect((await ask(cloud, "GET", "/kubernetes_operators", other)).status).toBe(403);
    await ask(cloud, "PUT", "/_cloud/keys/another-key-9", { body: { account: "another" } });
    const { id } = (await ask(cloud, "POST", "/kubernetes_operators", { body: {} })).json;
    for (const [method, rest, body] of [
      ["GET", "", undefined],
      ["GET", "/bound_endpoints", undefined],
      ["PATCH", "", {}],
      ["DELETE", "", undefined],
    ] as const) {
      const more = body === undefined ? other : { ...other, body };
      expect((await ask(cloud, method, `/kubernetes_operators/${id}${rest}`, more)).status).toBe(
        404,
      );
    }
    expect((await ask(cloud, "GET", "/kubernetes_operators", other)).json.operators).toEqual([]);
    expect((await ask(cloud, "GET", "/kubernetes_operators")).json.operators).toHaveLength(1);
    expect((await ask(cloud, "DELETE", "/_cloud/keys/another-key-9")).status).toBe(204);
    expect((await ask(cloud, "DELETE", "/_cloud/keys/another-key-9")).status).toBe(404);
    expect((await ask(cloud, "GET", "/kubernetes_operators", other)).status).toBe(403);
  });

  test("sets how long the certificates are valid that are signed from then on", async () => {
    const cloud = await startCloud();
    expect(
      (await ask(cloud, "PUT", "/_cloud/certificate-lifetime", { body: { seconds: 0 } })).status,
    ).toBe(400);
    await ask(cloud, "PUT", "/_cloud/certificate-lifetime", { body: { seconds: 60 } });
    const body = {
      enabled_features: ["bindings"],
      binding: { csr: await createCsr(await createKey()) },
    };
    const { cert } = (await ask(cloud, "POST", "/kubernetes_operators", { body })).json.binding;
    expect(Date.parse(cert.not_after) - Date.parse(cert.not_before)).toBe(60_000);
  });

  test("limits faults to calls of one method on request", async () => {
    const cloud = await startCloud();
    misbehave(cloud, "only", "500");
    expect((await ask(cloud, "GET", "/endpoints")).status).toBe(200);
    expect((await ask(cloud, "POST", "/kubernetes_operators", { body: {} })).status).toBe(500);
  });

  test("is closed to web pages, which a browser would let reach this machine", async () => {
    const cloud = await startCloud();
    const body = { url: "http://a.demo", upstream };
    const { port } = new URL(cloud.apiUrl);
    const pages: Record<string, string>[] = [
      { origin: "http://evil.example" },
      { origin: cloud.apiUrl },
      { host: `evil.example:${port}` },
    ];
    for (const headers of pages) {
      expect((await ask(cloud, "POST", "/_cloud/endpoints", { body, headers })).status).toBe(403);
    }
    expect(cloud.endpoints()).toEqual([]);
  });
});

describe("startLocalCloud", () => {
  test("listens on loopback only", async () => {
    for (const host of ["0.0.0.0", "192.0.2.1", "::", "localhost", ""]) {
      for (const where of [{ api: { host, port: 0 } }, { ingress: { host, port: 0 } }]) {
        await expect(startCloud(where)).rejects.toMatchObject({ code: "usage" });
      }
    }
  });

  test("says which port is taken, and lets go of the other one", async () => {
    const cloud = await startCloud();
    const taken = (text: string) => ({ host: "127.0.0.1", port: Number(new URL(text).port) });
    // A port that the kernel gives to no other socket.
    const ingress = { host: "127.89.0.1", port: 18_401 };
    const error = await startCloud({ api: taken(cloud.apiUrl), ingress }).catch(
      (thrown: unknown) => thrown,
    );
    expect(isNgrokdError(error, "address-in-use")).toBe(true);
    expect(String(error)).toContain(new URL(cloud.apiUrl).host);
    (await bunNet.listen(ingress, () => {})).close();
    await expect(
      startCloud({ ingress: taken(`http://${cloud.ingressAddress}`) }),
    ).rejects.toMatchObject({ code: "address-in-use" });
  });

  test("refuses endpoints that lead nowhere, and ids that are none", async () => {
    await expect(
      startCloud({ endpoints: [{ url: "tcp://a.demo", upstream }] }),
    ).rejects.toMatchObject({ code: "usage" });
    const cloud = await startCloud({ endpoints: [{ url: "http://a.demo", upstream }] });
    expect(cloud.endpoints().map(({ url }) => url)).toEqual(["http://a.demo"]);
    expect(() => cloud.moveEndpoint("ep_none", {})).toThrow("ep_none");
    expect(() => cloud.removeEndpoint("ep_none")).toThrow("ep_none");
  });

  test("serves HTTP/1.0 without Host, on both of its APIs", async () => {
    const cloud = await startCloud();
    const said = async (path: string): Promise<string> => {
      const conn = await bunNet.dial({
        host: "127.0.0.1",
        port: Number(new URL(cloud.apiUrl).port),
      });
      await conn.write(bytes(`GET ${path} HTTP/1.0\r\n\r\n`));
      const [head = ""] = (await read(conn)).split("\r\n");
      conn.close();
      return head;
    };
    expect({ control: await said("/_cloud"), ngrok: await said("/endpoints") }).toEqual({
      control: "HTTP/1.1 200 OK",
      ngrok: "HTTP/1.1 403 Forbidden",
    });
  });

  test("close ends deliberately late replies", async () => {
    const cloud = await startCloud();
    misbehave(cloud, "latency=600000*1");
    const waiting = ask(cloud, "GET", "/endpoints").then(
      ({ status }) => status,
      () => "broken off",
    );
    // A request that waits has used up the fault.
    while (cloud.faults.list().length > 0) await Bun.sleep(1);
    await cloud.close();
    expect(["broken off", 500]).toContain(await waiting);
  });
});
