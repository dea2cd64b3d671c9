import { afterEach } from "bun:test";
import { createServer, type Socket } from "node:net";
import { connect, type TLSSocket } from "node:tls";
import { createCsr, createKey } from "../../src/cloud/certificate.ts";
import {
  createFrameReader,
  decodeConnResponse,
  encodeConnRequest,
  type Reply,
} from "../../src/ingress/frame.ts";
import {
  type LocalCloud,
  type LocalCloudOptions,
  startLocalCloud,
} from "../../src/local-cloud/cloud.ts";
import { type Fault, parseFault } from "../../src/local-cloud/faults.ts";
import type { Parsed } from "../../src/model/parsed.ts";
import { createBunNet } from "../../src/net/bun.ts";

const bunNet = createBunNet();

const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

/** Undone after the test. */
export async function startCloud(options: Partial<LocalCloudOptions> = {}): Promise<LocalCloud> {
  const anywhere = { host: "127.0.0.1", port: 0 };
  const cloud = await startLocalCloud({
    net: bunNet,
    api: anywhere,
    ingress: anywhere,
    ...options,
  });
  undo.push(cloud.close);
  return cloud;
}

/** The facts that a client needs of a local cloud in any process. */
export type Reachable = Pick<
  LocalCloud,
  "apiUrl" | "apiKey" | "ingressAddress" | "intermediatePem"
>;

export function misbehave(cloud: LocalCloud, ...specs: string[]): void {
  for (const spec of specs) {
    const { fault, times } = value(parseFault(spec)) as { fault: Fault; times: number | undefined };
    cloud.faults.set(fault, times);
  }
}

export function value<T>(read: Parsed<T>): T {
  if (!read.ok) throw new Error(read.reason);
  return read.value;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: any reply of the API, which the test then checks
  readonly json: any;
}

/**
 * A valid request, but for the given changes. A header set to "" is left out.
 * `path` may be a whole URL.
 */
export async function ask(
  cloud: Reachable,
  method: string,
  path: string,
  { body, headers = {} }: { body?: unknown; headers?: Record<string, string> } = {},
): Promise<Answer> {
  const all = {
    authorization: `Bearer ${cloud.apiKey}`,
    "ngrok-version": "2",
    ...(body === undefined ? {} : { "content-type": "application/json" }),
    ...headers,
  };
  const response = await fetch(new URL(path, cloud.apiUrl), {
    method,
    headers: Object.fromEntries(Object.entries(all).filter(([, text]) => text !== "")),
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  return {
    status: response.status,
    headers: response.headers,
    text,
    json: text.startsWith("{") ? JSON.parse(text) : undefined,
  };
}

export interface Identity {
  readonly id: string;
  readonly cert: string;
  readonly key: string;
}

/** Registers an operator as the daemon does. */
export async function register(cloud: Reachable): Promise<Identity> {
  const key = await createKey();
  const body = {
    enabled_features: ["bindings"],
    binding: { endpoint_selectors: ["true"], csr: await createCsr(key) },
  };
  const { status, json, text } = await ask(cloud, "POST", "/kubernetes_operators", { body });
  if (status !== 201) throw new Error(`registration answered ${status}: ${text}`);
  return { id: json.id, cert: json.binding.cert.cert, key };
}

/** A raw client of the ingress on node:tls, independent of the seam. */
export interface RawClient {
  readonly socket: TLSSocket;
  write(bytes: Uint8Array | string): void;
  /** Our half is finished. */
  end(): void;
  /**
   * The next bytes from the socket; undefined at the end. Rejects if the
   * connection breaks.
   */
  read(): Promise<Buffer | undefined>;
  /** Everything up to the end. */
  rest(): Promise<string>;
}

/**
 * Trusts only the intermediate, as clients trust ngrok's published certificate.
 * Rejects if the handshake fails.
 */
export function dialIngress(
  cloud: Reachable,
  identity: { cert: string; key: string } | undefined,
  ca = cloud.intermediatePem,
  session?: Buffer,
): Promise<RawClient> {
  const { hostname: host, port } = new URL(`tcp://${cloud.ingressAddress}`);
  const own = identity === undefined ? {} : { cert: identity.cert, key: identity.key };
  // A constant of its own: the types of node:tls lack `allowHalfOpen`.
  const options = {
    host,
    port: Number(port),
    ca,
    allowPartialTrustChain: true,
    allowHalfOpen: true,
    session,
    ...own,
  };
  return new Promise((resolve, reject) => {
    const socket = connect(options, () => resolve(rawClient(socket)));
    socket.once("error", reject);
    socket.once("close", () => reject(new Error("closed in the handshake")));
    undo.push(() => socket.destroy());
  });
}

function rawClient(socket: TLSSocket): RawClient {
  const arrived: Buffer[] = [];
  let end: Error | "end" | undefined;
  let wake = (): void => {};
  const finish = (how: Error | "end"): void => {
    end ??= how;
    wake();
  };
  socket.on("data", (bytes: Buffer) => {
    arrived.push(bytes);
    wake();
  });
  socket.on("end", () => finish("end"));
  socket.on("error", finish);
  socket.on("close", () => finish("end"));
  const client: RawClient = {
    socket,
    write: (bytes) => void socket.write(bytes),
    end: () => void socket.end(),
    async read() {
      while (arrived.length === 0 && end === undefined) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      const bytes = arrived.shift();
      if (bytes === undefined && end instanceof Error) throw end;
      return bytes;
    },
    async rest() {
      const all: Buffer[] = [];
      for (let bytes = await client.read(); bytes !== undefined; bytes = await client.read())
        all.push(bytes);
      return Buffer.concat(all).toString();
    },
  };
  return client;
}

export interface Asked extends RawClient {
  readonly reply: Parsed<Reply>;
  /** The bytes behind the response in the same read. */
  readonly first: string;
  /** The number of reads of the response. */
  readonly reads: number;
}

/**
 * Dials, requests an endpoint and reads the response. `early` is sent in one
 * write with the request.
 */
export async function open(
  cloud: Reachable,
  identity: Identity,
  host: string,
  port: number,
  early = "",
): Promise<Asked> {
  const client = await dialIngress(cloud, identity);
  client.write(Buffer.concat([encodeConnRequest({ host, port }), Buffer.from(early)]));
  const feed = createFrameReader();
  for (let reads = 1; ; reads += 1) {
    const bytes = await client.read();
    if (bytes === undefined)
      throw new Error(`closed after ${reads - 1} reads without a whole answer`);
    const split = feed(bytes);
    if (split.kind === "frame")
      return {
        ...client,
        reply: decodeConnResponse(split.payload),
        first: Buffer.from(split.rest).toString(),
        reads,
      };
  }
}

/** A service on loopback; `serve` gets each connection. Returns `host:port`. */
export async function upstream(serve: (socket: Socket) => unknown): Promise<string> {
  const open = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    open.add(socket.on("error", () => socket.destroy()));
    serve(socket);
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  undo.push(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
  const address = server.address();
  return typeof address === "object" && address !== null ? `127.0.0.1:${address.port}` : "";
}

export const echo = (): Promise<string> => upstream((socket) => socket.pipe(socket));

/** Waits up to 5 s for a condition. */
export async function until(what: string, probe: () => boolean): Promise<void> {
  const deadline = performance.now() + 15_000;
  while (!probe()) {
    if (performance.now() > deadline) throw new Error(`waited 15 s in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
