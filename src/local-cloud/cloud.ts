import { serve } from "srvx";
import { errnoOf } from "../files/atomic.ts";
import { NgrokdError, reasonOf } from "../model/error.ts";
import { type HostPort, hostPortText } from "../model/host-port.ts";
import { loopback, parseIp, subnetHas } from "../model/ip.ts";
import { type Log, silentLog } from "../model/log.ts";
import type { Parsed } from "../model/parsed.ts";
import type { Net } from "../net/types.ts";
import { createCa } from "./ca.ts";
import { controlApi } from "./control-api.ts";
import { createFaults, type Faults } from "./faults.ts";
import { startIngress } from "./local-ingress.ts";
import { ngrokApi } from "./ngrok-api.ts";
import { createStore, type Endpoint, type EndpointSpec, type Operator } from "./store.ts";

export interface LocalCloudOptions {
  readonly net: Net;
  /** Loopback addresses; port 0 is any free one. */
  readonly api: HostPort;
  readonly ingress: HostPort;
  /** The keys that the API accepts; `local-cloud-key` unless told. */
  readonly apiKeys?: readonly string[];
  readonly endpoints?: readonly EndpointSpec[];
  /**
   * How long client certificates are valid, in whole seconds worth of
   * milliseconds; 90 days unless told.
   */
  readonly certificateLifetimeMs?: number;
  /** The longest page of the API's lists; 100 unless told. */
  readonly pageSize?: number;
  readonly log?: Log;
}

/** A running stand-in for ngrok. All that it knows is gone when it ends. */
export interface LocalCloud {
  /**
   * `http://127.0.0.1:4050`, without a slash at the end; its own control API is
   * below `/_cloud`.
   */
  readonly apiUrl: string;
  /** `host:port` */
  readonly ingressAddress: string;
  /** The first of the accepted keys. */
  readonly apiKey: string;
  /**
   * The root, and the intermediate that signs; a client may trust the one or
   * the other.
   */
  readonly caPem: string;
  readonly intermediatePem: string;
  readonly faults: Faults;
  /**
   * Throw NgrokdError `usage` for a URL or an upstream that is none,
   * `not-found` for an id that is none.
   */
  addEndpoint(endpoint: EndpointSpec): Endpoint;
  moveEndpoint(id: string, changes: Partial<EndpointSpec>): Endpoint;
  /**
   * With `lingers` it stays in the list of bound endpoints, as ngrok's lags
   * behind deletions.
   */
  removeEndpoint(id: string, options?: { lingers?: boolean }): void;
  /**
   * Whose operators a key sees; undefined: nobody's any more, it is refused.
   */
  setKey(key: string, account: string | undefined): void;
  /**
   * For certificates that are signed from now on, in whole seconds worth of
   * milliseconds.
   */
  setCertificateLifetime(ms: number): void;
  endpoints(): readonly Endpoint[];
  operators(): readonly Operator[];
  /** Resets what is open. */
  readonly close: () => Promise<void>;
}

export const defaultApiKey = "local-cloud-key";

/**
 * Rejects with NgrokdError `usage`, or what {@link Net.listen} rejects with.
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
  const answer = (request: Request) => (isControl(request) ? control : ngrok).fetch(request);
  const api = await serveApi(answer, options.api, stopping.signal).catch((error: unknown) => {
    ingress.close();
    throw error;
  });
  return {
    apiUrl: api.url,
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
      await api.close();
    },
  };
}

/**
 * The control API has no key, and the ingress's certificates are worth nothing:
 * neither may be reachable from elsewhere.
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

async function serveApi(
  answer: (request: Request) => Response | Promise<Response>,
  { host, port }: HostPort,
  stop: AbortSignal,
) {
  try {
    const server = serve({
      fetch: answer,
      hostname: host,
      port,
      silent: true,
      gracefulShutdown: false,
      maxRequestBodySize: 16 * 1024 * 1024,
      // What fails in an answer is logged by then, or was asked for; Deno would
      // show it again.
      error: () => new Response(null, { status: 500 }),
      // Bun would cut off answers that are late on purpose.
      bun: { idleTimeout: 0 },
      // Deno's way to end requests under way; elsewhere close(true) does it.
      deno: { signal: stop },
    });
    await server.ready();
    return { url: (server.url ?? "").replace(/\/$/, ""), close: () => server.close(true) };
  } catch (error) {
    const inUse = errnoOf(error) === "EADDRINUSE";
    const message = `Cannot listen on "${hostPortText({ host, port })}": ${inUse ? "address already in use" : reasonOf(error)}`;
    throw new NgrokdError(inUse ? "address-in-use" : "address-unavailable", message, {
      cause: error,
    });
  }
}

function unwrap<T>(action: string, read: Parsed<T>): T {
  if (read.ok) return read.value;
  throw new NgrokdError("usage", `${action}: ${read.reason}`);
}

function noEndpoint(id: string): never {
  throw new NgrokdError("not-found", `The local cloud has no endpoint "${id}"`);
}
