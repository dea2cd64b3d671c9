/**
 * Replies that ngrok's own clients receive from ngrok, and must receive here
 * too.
 */
import { describe, expect, test } from "bun:test";
import "reflect-metadata"; // before @peculiar/x509, which needs it
import * as x509 from "@peculiar/x509";
import { createCsr, createKey } from "../../src/cloud/certificate.ts";
import { ask, register, startCloud } from "./support.ts";

const upstream = "127.0.0.1:1";
const operators = "/kubernetes_operators";

/** A CSR whose subject is this, signed by a key of its own. */
async function csrOf(name: string): Promise<string> {
  const keys = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, [
    "sign",
    "verify",
  ]);
  const csr = await x509.Pkcs10CertificateRequestGenerator.create({
    name,
    keys,
    signingAlgorithm: { name: "ECDSA", hash: "SHA-256" },
  });
  return csr.toString("pem");
}

describe("an operator", () => {
  test("without bindings has an empty binding", async () => {
    const cloud = await startCloud();
    const { status, json } = await ask(cloud, "POST", operators, { body: {} });
    const binding = {
      endpoint_selectors: [],
      ingress_endpoint: "",
      cert: { cert: "", not_before: "", not_after: "" },
    };
    expect({ status, binding: json.binding }).toEqual({ status: 201, binding });
    expect((await ask(cloud, "GET", `${operators}/${json.id}`)).json.binding).toEqual(binding);
  });

  test("is refused with 19001 for its CSR, and with 19003 for its selectors", async () => {
    const cloud = await startCloud();
    const good = await createCsr(await createKey());
    const named = await csrOf("CN=ngrokd");
    const selecting = (csr: string, ...endpoint_selectors: string[]) => ({
      binding: { csr, endpoint_selectors },
    });
    const cases: [string, object, string, string][] = [
      ["a common name", selecting(named, "true"), "ERR_NGROK_19001", "CommonName"],
      ["no CSR", selecting("garbage", "true"), "ERR_NGROK_19001", "PKCS #10"],
      ["an empty CSR", selecting("", "true"), "ERR_NGROK_19001", "PKCS #10"],
      ["no CEL", selecting(good, "true", "not cel ("), "ERR_NGROK_19003", "not cel ("],
      ["no condition", selecting(good, "1 + 1"), "ERR_NGROK_19003", "1 + 1"],
      ["an unknown variable", selecting(good, "team == 'a'"), "ERR_NGROK_19003", "team"],
    ];
    const { id } = await register(cloud);
    for (const [what, body, code, word] of cases)
      for (const [method, path] of [
        ["POST", operators],
        ["PATCH", `${operators}/${id}`],
      ] as const) {
        const { status, json } = await ask(cloud, method, path, { body });
        expect({ what, method, status, code: json.error_code, msg: json.msg }).toEqual({
          what,
          method,
          status: 400,
          code,
          msg: expect.stringContaining(word),
        });
      }
    expect(cloud.operators().map(({ binding }) => binding?.endpointSelectors)).toEqual([["true"]]);
  });

  test("keeps the parts of its deployment that an update leaves out", async () => {
    const cloud = await startCloud();
    const deployment = { name: "op", namespace: "ns", version: "1", cluster_name: "c" };
    const { json } = await ask(cloud, "POST", operators, { body: { deployment } });
    const changed = await ask(cloud, "PATCH", `${operators}/${json.id}`, {
      body: { deployment: { version: "2" } },
    });
    expect(changed.json.deployment).toEqual({ ...deployment, version: "2" });
  });

  test("takes nulls of a client for absent", async () => {
    const cloud = await startCloud();
    const csr = await createCsr(await createKey());
    const body = {
      description: null,
      metadata: null,
      region: null,
      enabled_features: null,
      deployment: { name: "op", namespace: null },
      binding: { csr, endpoint_selectors: null, ingress_endpoint: null },
    };
    const made = await ask(cloud, "POST", operators, { body });
    expect({ status: made.status, ...made.json }).toMatchObject({
      status: 201,
      description: "",
      region: "global",
      deployment: { name: "op" },
      binding: { endpoint_selectors: [], ingress_endpoint: cloud.ingressAddress },
    });
    const path = `${operators}/${made.json.id}`;
    await ask(cloud, "PATCH", path, { body: { description: "mine" } });
    const nothing = { description: null, deployment: null, binding: null };
    const { json } = await ask(cloud, "PATCH", path, { body: nothing });
    expect(json).toMatchObject({
      description: "mine",
      deployment: { name: "op" },
      binding: made.json.binding,
    });
    expect((await ask(cloud, "POST", operators, { body: "null" })).json.error_code).toBe(
      "ERR_NGROK_215",
    );
  });

  test("is shown the endpoints that its selectors choose", async () => {
    const cloud = await startCloud();
    const add = (url: string, metadata = "") => cloud.addEndpoint({ url, upstream, metadata }).url;
    const ours = add("http://a.prod", '{"team": "a"}');
    const theirs = add("tcp://b.prod:5432", '{"team": "b"}');
    const plain = add("http://c.stage", "no JSON");
    const { id } = await register(cloud);
    const listed = async (...endpoint_selectors: string[]): Promise<string[]> => {
      const body = { binding: { endpoint_selectors } };
      expect((await ask(cloud, "PATCH", `${operators}/${id}`, { body })).status).toBe(200);
      const { json } = await ask(cloud, "GET", `${operators}/${id}/bound_endpoints`);
      return json.endpoints.map((one: { url: string }) => one.url).sort();
    };
    expect(await listed("endpoint.metadata.team == 'a'")).toEqual([ours]);
    expect(await listed("endpoint.metadata == 'no JSON'")).toEqual([plain]);
    expect(await listed("endpoint.proto == 'tcp'", "endpoint.host == 'c.stage'")).toEqual([
      plain,
      theirs,
    ]);
    expect(await listed("false")).toEqual([]);
    expect(await listed("true")).toEqual([ours, plain, theirs].sort());
    expect(await listed()).toEqual([ours, plain, theirs].sort());
  });
});

describe("an endpoint", () => {
  test("is at the address that its uri names, until it is deleted", async () => {
    const cloud = await startCloud();
    const { id } = cloud.addEndpoint({ url: "http://a.demo", upstream });
    const [listed] = (await ask(cloud, "GET", "/endpoints")).json.endpoints;
    const shown = await ask(cloud, "GET", listed.uri);
    expect({ status: shown.status, json: shown.json }).toEqual({ status: 200, json: listed });
    cloud.removeEndpoint(id, { lingers: true });
    expect((await ask(cloud, "GET", listed.uri)).status).toBe(404);
    expect((await ask(cloud, "GET", "/endpoints/ep_none")).status).toBe(404);
  });

  test("is found by id, url and filter, over several pages too", async () => {
    const cloud = await startCloud({ pageSize: 2 });
    const [a, b, c, d] = ["http://a.demo", "http://b.demo", "tcp://c.demo:7", "http://d.demo"].map(
      (url) => cloud.addEndpoint({ url, upstream, metadata: '{"team": "a"}' }),
    );
    const found = async (query: string): Promise<string[]> => {
      const urls: string[] = [];
      for (let next: string | null = `/endpoints?${query}`; next !== null; ) {
        const { json } = await ask(cloud, "GET", next);
        urls.push(...json.endpoints.map((one: { url: string }) => one.url));
        next = json.next_page_uri;
      }
      return urls;
    };
    const filter = (text: string): string => `filter=${encodeURIComponent(text)}`;
    const cases: [string, (string | undefined)[]][] = [
      [`id=${b?.id}`, [b?.url]],
      [`id=${b?.id}&id=${c?.id}`, [c?.url, b?.url]],
      [`url=${encodeURIComponent(c?.url ?? "")}`, [c?.url]],
      [`id=${b?.id}&url=${encodeURIComponent(c?.url ?? "")}`, []],
      ["id=ep_none", []],
      [filter('obj.proto == "http"'), [d?.url, b?.url, a?.url]],
      [filter('obj.proto == "http" && obj.host != "b.demo"'), [d?.url, a?.url]],
      [filter('obj.metadata == "{\\"team\\": \\"a\\"}" && obj.port == 7'), [c?.url]],
      [filter('obj.type == "agent"'), []],
    ];
    for (const [query, urls] of cases)
      expect({ query, urls: await found(query) }).toEqual({ query, urls: urls as string[] });
    const bad = await ask(cloud, "GET", `/endpoints?${filter("not cel (")}`);
    expect(bad).toMatchObject({ status: 400, json: { error_code: "ERR_NGROK_230" } });
  });
});

describe("operators", () => {
  test("are found by a filter", async () => {
    const cloud = await startCloud();
    for (const description of ["one", "two"])
      await ask(cloud, "POST", operators, { body: { description } });
    const { json } = await ask(cloud, "GET", `${operators}?filter=obj.description%20==%20"one"`);
    expect(json.operators.map((one: { description: string }) => one.description)).toEqual(["one"]);
  });
});

describe("a request", () => {
  test("may have the key as the password of Basic authentication", async () => {
    const cloud = await startCloud({ apiKeys: ["first:key"] });
    const basic = (text: string): string => `Basic ${Buffer.from(text).toString("base64")}`;
    const cases: [string, number, string | undefined][] = [
      [basic(":first:key"), 200, undefined],
      [basic("anybody:first:key"), 200, undefined],
      [basic(":first:kex"), 403, "ERR_NGROK_203"],
      [basic("first"), 403, "ERR_NGROK_201"],
      ["Basic ???", 403, "ERR_NGROK_201"],
      ["Digest x", 403, "ERR_NGROK_201"],
    ];
    for (const [authorization, status, code] of cases) {
      const answer = await ask(cloud, "GET", "/endpoints", { headers: { authorization } });
      expect({ authorization, status: answer.status, code: answer.json.error_code }).toEqual({
        authorization,
        status,
        code,
      });
    }
    const { json } = await ask(cloud, "GET", "/endpoints", {
      headers: { authorization: basic(":first:kex") },
    });
    expect(json.msg).toContain("'first:kex'");
    const headers = { authorization: basic(":first:key") };
    const made = await ask(cloud, "POST", operators, { body: {}, headers });
    const own = await ask(cloud, "GET", `${operators}/${made.json.id}`, { headers });
    expect({ made: made.status, own: own.status }).toEqual({ made: 201, own: 200 });
  });

  test("to an unknown path gets a 404 with that path, whatever its headers", async () => {
    const cloud = await startCloud();
    const { id } = await register(cloud);
    const routes = [
      ["GET", "/"],
      ["GET", "/nothing/here"],
      ["GET", "/endpoints/"],
      ["PUT", "/endpoints"],
      ["POST", `${operators}/`],
      ["PUT", `${operators}/${id}`],
      ["DELETE", `${operators}/${id}/bound_endpoints`],
    ] as const;
    for (const [method, path] of routes)
      for (const header of ["x-nothing", "authorization", "ngrok-version"]) {
        const headers = { [header]: "" };
        const { status, json } = await ask(cloud, method, path, { headers });
        expect({ method, headers, status, json }).toEqual({
          method,
          headers,
          status: 404,
          json: { status_code: 404, msg: "Not Found", details: { path } },
        });
      }
  });

  test("for an unknown id gets a 404 without a code", async () => {
    const cloud = await startCloud();
    for (const path of [`${operators}/k8sop_none`, "/endpoints/ep_none"]) {
      const { status, json } = await ask(cloud, "GET", path);
      expect({ path, status, json }).toEqual({
        path,
        status: 404,
        json: {
          status_code: 404,
          msg: "Resource not found",
          details: { operation_id: expect.stringMatching(/^op_\w+$/) },
        },
      });
    }
  });
});
