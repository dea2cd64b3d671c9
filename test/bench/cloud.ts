import { writeFileSync } from "node:fs";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { createCsr, createKey } from "../../src/cloud/certificate.ts";
import { type Ca, createCa } from "../../src/local-cloud/ca.ts";

export const apiKey = "the-key-of-the-benchmark";

/**
 * A CA of the benchmark's own. It writes certificates for its ingress and for
 * peers to `folder`, in the form that the rig and the peers need.
 */
export async function writeCertificates(folder: string): Promise<Ca> {
  const ca = await createCa({ clientLifetimeMs: 24 * 3_600_000 });
  const server = await ca.issueServer(["127.0.0.1", peerServerName]);
  const key = await createKey();
  const client = await signed(ca, await createCsr(key));
  const files = {
    "ca.pem": ca.rootPem + ca.intermediatePem,
    // Without a chain: its issuer is the trusted CA, as with ngrok's ingress.
    // Each further certificate would cost a relay 3 KiB a connection.
    "server.pem": server.cert.slice(0, server.cert.indexOf(end) + end.length),
    "server.key.pem": server.key,
    "client.pem": client,
    "client.key.pem": key,
    // haproxy needs both in one file.
    "client.both.pem": client + key,
  };
  for (const [name, text] of Object.entries(files))
    writeFileSync(join(folder, name), text, { mode: 0o600 });
  return ca;
}

const end = "-----END CERTIFICATE-----\n";

/** The name for peers that verify names but not addresses. */
export const peerServerName = "ingress.bench";

/**
 * As much of ngrok's API as a daemon needs to run. It accepts every
 * registration and lists these endpoints, in pages of 100 (ngrok's own limit).
 * Pages are made in advance, so that serving them takes little time from the
 * daemon. `listed` is called when the last page has left. Returns the URL.
 */
export async function startCloud(
  ca: Ca,
  urls: readonly string[],
  listed?: () => void,
): Promise<string> {
  return (await startChangingCloud(ca, [urls], listed)).url;
}

/** The same with several lists; the first one counts until `show`. */
export async function startChangingCloud(
  ca: Ca,
  lists: readonly (readonly string[])[],
  listed: () => void = () => undefined,
): Promise<{ readonly url: string; show(list: number): void }> {
  const made = lists.map((urls) => pagesOf(urls.map(endpoint), 100));
  let pages = made[0] ?? [];
  const server = createServer(async (request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? "/", "http://api");
    const answer = (status: number, json: string): void =>
      void response.writeHead(status, { "content-type": "application/json" }).end(json);
    if (request.method === "POST" && pathname === "/kubernetes_operators")
      answer(201, await register(ca, await bodyOf(request)));
    else if (pathname.endsWith("/endpoints") || pathname.endsWith("/bound_endpoints")) {
      const page = Number(searchParams.get("page") ?? 0);
      const next =
        page + 1 < pages.length ? JSON.stringify(`${pathname}?page=${page + 1}`) : "null";
      answer(
        200,
        `{"endpoints":${pages[page] ?? "[]"},"uri":"${pathname}","next_page_uri":${next}}`,
      );
      if (next === "null") listed();
    } else
      answer(
        404,
        '{"error_code":"ERR_NGROK_0","status_code":404,"msg":"The benchmark has no such thing.","details":{}}',
      );
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  server.unref();
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    show(list) {
      pages = made[list] ?? [];
    },
  };
}

async function register(ca: Ca, body: string): Promise<string> {
  const { binding, ...rest } = JSON.parse(body);
  const cert = await signed(ca, binding.csr);
  return JSON.stringify({
    ...rest,
    id: "k8sop_bench",
    binding: { endpoint_selectors: binding.endpoint_selectors, cert: { cert } },
  });
}

async function signed(ca: Ca, csr: string): Promise<string> {
  const certificate = await ca.signClient(csr, "bench");
  if (!certificate.ok) throw new Error(certificate.reason);
  return certificate.value.pem;
}

/**
 * It has all fields that ngrok sends (docs/protocol.md), used or not, since
 * reading them is a part of the work.
 */
function endpoint(url: string, i: number): object {
  const { protocol, hostname: host, port } = new URL(url);
  const id = `ep_${String(i).padStart(27, "0")}`;
  const time = "2025-01-01T00:00:00Z";
  return {
    id,
    url,
    public_url: url,
    proto: protocol.slice(0, -1),
    scheme: protocol.slice(0, -1),
    hostport: `${host}:${port}`,
    host,
    port: Number(port),
    type: "cloud",
    bindings: ["kubernetes"],
    metadata: "",
    description: "An endpoint of the benchmark",
    name: host,
    uri: `https://api.ngrok.com/endpoints/${id}`,
    created_at: time,
    updated_at: time,
    region: "",
    pooling_enabled: false,
  };
}

function pagesOf(items: readonly object[], size: number): string[] {
  const count = Math.ceil(items.length / size);
  return Array.from({ length: count }, (_, i) =>
    JSON.stringify(items.slice(i * size, (i + 1) * size)),
  );
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}
