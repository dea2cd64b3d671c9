// The local cloud: a substitute for ngrok on this machine, for the demo, for
// tests and for CI. It has ngrok's API, the ingress, and faults on demand.
import { NgrokdError } from "../model/error.ts";
import { type HostPort, hostPortText } from "../model/host-port.ts";
import { loopback, parseIp, subnetHas } from "../model/ip.ts";
import { type Log, silentLog } from "../model/log.ts";
import type { Parsed } from "../model/parsed.ts";
import type { Net } from "../net/types.ts";
import { type HttpServer, startHttpServer } from "../observe/http-server.ts";
import { createCa } from "./ca.ts";
import { controlApi } from "./control-api.ts";
import { createFaults, type Faults } from "./faults.ts";
import { startIngress } from "./local-ingress.ts";
import { ngrokApi } from "./ngrok-api.ts";
import { createStore, type Endpoint, type EndpointSpec, type Operator } from "./store.ts";

export interface LocalCloudOptions {
  readonly net: Net;
  /** Loopback addresses. Port 0 means any free port. */
  readonly api: HostPort;
  readonly ingress: HostPort;
  /** The accepted API keys; by default `local-cloud-key`. */
  readonly apiKeys?: readonly string[];
  readonly endpoints?: readonly EndpointSpec[];
  /**
   * The lifetime of client certificates in milliseconds, a multiple of 1000; by
   * default 90 days.
   */
  readonly certificateLifetimeMs?: number;
  /** The longest page of the API's lists; by default 100. */
  readonly pageSize?: number;
  readonly log?: Log;
}

/** A running local cloud. Its state is in memory only. */
export interface LocalCloud {
  /**
   * Such as `http://127.0.0.1:4050`, without a trailing slash. The control API
   * is below `/_cloud`.
   */
  readonly apiUrl: string;
  /** `host:port` */
  readonly ingressAddress: string;
  /** The first of the accepted keys. */
  readonly apiKey: string;
  /** The root, and the intermediate that signs. Clients may trust either. */
  readonly caPem: string;
  readonly intermediatePem: string;
  readonly faults: Faults;
  /**
   * Throw NgrokdError `usage` for an invalid URL or upstream, and `not-found`
   * for an unknown id.
   */
  addEndpoint(endpoint: EndpointSpec): Endpoint;
  moveEndpoint(id: string, changes: Partial<EndpointSpec>): Endpoint;
  /**
   * With `lingers` the endpoint stays in the list of bound endpoints. At ngrok
   * this list lags behind deletions.
   */
  removeEndpoint(id: string, options?: { lingers?: boolean }): void;
  /** Assigns a key to an account. Undefined revokes the key. */
  setKey(key: string, account: string | undefined): void;
  /** Milliseconds, a multiple of 1000. For certificates signed from now on. */
  setCertificateLifetime(ms: number): void;
  endpoints(): readonly Endpoint[];
  operators(): readonly Operator[];
  /** Resets open connections. */
  readonly close: () => Promise<void>;
}

export const defaultApiKey = "local-cloud-key";

/**
 * Rejects with NgrokdError `usage` for an address that is not loopback, and
 * otherwise as {@link Net.listen} does.
 */
export async function startLocalCloud(options: LocalCloudOptions): Promise<LocalCloud> {
  const { net, apiKeys = [defaultApiKey], pageSize = 100, log = silentLog } = options;
  for (const { host } of [options.api, options.ingress]) checkLoopback(host);
  const store = createStore(apiKeys);
  const faults = createFaults();
  const addEndpoint = (spec: EndpointSpec): Endpoint =>
    unwrap(`Cannot add the endpoint "${spec.url}"`, store.addEndpoint(spec));
  for (const endpoint of options.endpoints ?? []) addEndpoint(endpoint);

  const lifetime = { clientLifetimeMs: options.certificateLifetimeMs ?? 90 * 24 * 3_600_000 };
  const ca = await createCa(lifetime);
  const server = await ca.issueServer([
    ...new Set([options.ingress.host, "127.0.0.1", "::1", "localhost"]),
  ]);
  const tls = { ...server, clientCa: [ca.intermediatePem, ca.rootPem] };
  const ingress = await startIngress({ net, address: options.ingress, tls, store, faults, log });
  const ingressAddress = hostPortText(ingress.address);
  const stopping = new AbortController();
  const about = {
    ingress: ingressAddress,
    root_ca: ca.rootPem,
    intermediate_ca: ca.intermediatePem,
  };
  const control = controlApi({ store, faults, lifetime, about, log });
  const ngrok = ngrokApi({
    store,
    ca,
    faults,
    ingressEndpoint: ingressAddress,
    pageSize,
    log,
    stop: stopping.signal,
  });
  const answer = async (request: Request): Promise<Response> =>
    await (isControl(request) ? control : ngrok).fetch(request);
  const api = await serveApi(net, options.api, answer).catch((error: unknown) => {
    ingress.close();
    throw error;
  });
  return {
    apiUrl: `http://${hostPortText(api.address)}`,
    ingressAddress,
    apiKey: apiKeys[0] ?? "",
    caPem: ca.rootPem,
    intermediatePem: ca.intermediatePem,
    faults,
    addEndpoint,
    moveEndpoint(id, changes) {
      return unwrap(
        `Cannot change the endpoint "${id}"`,
        store.changeEndpoint(id, changes) ?? noEndpoint(id),
      );
    },
    removeEndpoint(id, { lingers = false } = {}) {
      if (!store.removeEndpoint(id, lingers)) noEndpoint(id);
    },
    setKey(key, account) {
      if (account === undefined) store.keys.delete(key);
      else store.keys.set(key, account);
    },
    setCertificateLifetime(ms) {
      lifetime.clientLifetimeMs = ms;
    },
    endpoints: () => [...store.endpoints.values()],
    operators: () => [...store.operators.values()],
    async close() {
      stopping.abort();
      ingress.close();
      api.close();
    },
  };
}

/**
 * The control API has no key, and the ingress's certificates prove nothing. So
 * other machines must not reach them.
 */
function checkLoopback(host: string): void {
  const ip = parseIp(host);
  if (host === "::1" || (ip.ok && subnetHas(loopback, ip.value))) return;
  throw new NgrokdError(
    "usage",
    `Cannot run the local cloud on "${host}": it is not a loopback address`,
    {
      hint: "127.0.0.1 is one; the local cloud protects nothing and is for this machine only",
    },
  );
}

const isControl = ({ url }: Request): boolean => /^\/_cloud(?:\/|$)/.test(new URL(url).pathname);

/** More connections than the tests of one machine need. */
const mostConnections = 256;

const serveApi = (
  net: Net,
  address: HostPort,
  answer: (request: Request) => Promise<Response>,
): Promise<HttpServer> =>
  startHttpServer({
    net,
    address,
    async answer(request) {
      const response = await answer(request);
      // Deno 2.9.5 closes the connection after a body, without this header.
      if (request.method !== "GET") response.headers.set("connection", "close");
      return response;
    },
    most: mostConnections,
    // Delayed responses are quiet, too.
    quietMs: 0,
    maxBodyBytes: 16 * 1024 * 1024,
  });

function unwrap<T>(action: string, read: Parsed<T>): T {
  if (read.ok) return read.value;
  throw new NgrokdError("usage", `${action}: ${read.reason}`);
}

function noEndpoint(id: string): never {
  throw new NgrokdError("not-found", `The local cloud has no endpoint "${id}"`);
}
