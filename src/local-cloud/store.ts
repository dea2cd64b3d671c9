import type { ConnRequest } from "../ingress/frame.ts";
import { type Proto, parseEndpointUrl } from "../model/endpoint.ts";
import { type HostPort, parseHostPort } from "../model/host-port.ts";
import { type Parsed, parsed, quote, unparsed } from "../model/parsed.ts";
import { randomHex } from "../model/random.ts";
import type { ClientCertificate } from "./ca.ts";

/** The account of the first keys. */
export const mainAccount = "main";

/** The state of the local cloud, in memory only. Maps have the oldest first. */
export interface Store {
  readonly endpoints: ReadonlyMap<string, Endpoint>;
  readonly operators: Map<string, Operator>;
  /**
   * The accepted API keys, each with its account. An account sees only its own
   * operators, and all endpoints.
   */
  readonly keys: Map<string, string>;
  addEndpoint(spec: EndpointSpec): Parsed<Endpoint>;
  /** Undefined for an unknown id. */
  changeEndpoint(id: string, changes: Partial<EndpointSpec>): Parsed<Endpoint> | undefined;
  /**
   * With `lingers` the endpoint stays in the list of bound endpoints only, as
   * ngrok's list lags behind deletions. Returns false for an unknown id.
   */
  removeEndpoint(id: string, lingers?: boolean): boolean;
  /**
   * The endpoint for a connection to this host and port. An exact name goes
   * before wildcards; several endpoints of one URL take turns.
   */
  route(host: string, port: number): Endpoint | undefined;
  /** The last requests that the ingress got, the oldest first. */
  readonly requests: readonly IngressRequest[];
  noteRequest(request: IngressRequest): void;
  /** The operator with this certificate. */
  operatorOf(fingerprint256: string): Operator | undefined;
}

export interface IngressRequest extends ConnRequest {
  /** The id of the operator that sent it. */
  readonly operator: string;
}

export interface EndpointSpec {
  /** `[scheme://]host[:port]`, the host with `*.` in front for a wildcard. */
  readonly url: string;
  /** `host:port` of a plain TCP service. */
  readonly upstream: string;
  /** By default `kubernetes`. */
  readonly bindings?: readonly BindingKind[] | undefined;
  readonly name?: string | undefined;
  readonly description?: string | undefined;
  readonly metadata?: string | undefined;
  /** Allows a URL that ngrok would never list. It leads nowhere. */
  readonly unchecked?: boolean | undefined;
}

export type BindingKind = "public" | "internal" | "kubernetes";

export interface Endpoint extends EndpointSpec {
  readonly id: string;
  readonly createdAt: string;
  readonly updatedAt: string;
  readonly bindings: readonly BindingKind[];
  /** From the URL; undefined if it is unchecked and invalid. */
  readonly target: CloudTarget | undefined;
  readonly upstreamAddress: HostPort;
  /** Deleted, but still in the list of bound endpoints. */
  readonly lingers: boolean;
}

export interface CloudTarget {
  readonly proto: Proto;
  /** Without the `*.` of a wildcard. */
  readonly host: string;
  readonly port: number;
  readonly wildcard: boolean;
}

export interface Operator {
  readonly id: string;
  readonly account: string;
  readonly createdAt: string;
  readonly updatedAt: string;
  readonly description: string;
  readonly metadata: string;
  readonly enabledFeatures: readonly string[];
  readonly region: string;
  readonly deployment: Readonly<Record<string, string>>;
  readonly binding: OperatorBinding | undefined;
}

export interface OperatorBinding {
  readonly endpointSelectors: readonly string[];
  /** From the client; undefined means the local cloud's own. */
  readonly ingressEndpoint: string | undefined;
  /** The newest last. Older ones stay valid until they expire. */
  readonly certificates: readonly ClientCertificate[];
}

const keptRequests = 100;

export function createStore(apiKeys: readonly string[] = []): Store {
  const keys = new Map(apiKeys.map((key) => [key, mainAccount]));
  const endpoints = new Map<string, Endpoint>();
  const operators = new Map<string, Operator>();
  const requests: IngressRequest[] = [];
  let turn = 0;

  const put = (id: string, spec: EndpointSpec, createdAt?: string): Parsed<Endpoint> => {
    const read = readSpec(spec);
    if (!read.ok) return read;
    const time = new Date().toISOString();
    const endpoint = {
      ...spec,
      ...read.value,
      bindings: spec.bindings ?? ["kubernetes"],
      id,
      createdAt: createdAt ?? time,
      updatedAt: time,
      lingers: false,
    };
    endpoints.set(id, endpoint);
    return parsed(endpoint);
  };

  return {
    endpoints,
    operators,
    keys,
    addEndpoint: (spec) => put(newId("ep"), spec),
    changeEndpoint(id, changes) {
      const old = endpoints.get(id);
      return old === undefined || old.lingers
        ? undefined
        : put(id, { ...old, ...changes }, old.createdAt);
    },
    removeEndpoint(id, lingers = false) {
      const old = endpoints.get(id);
      if (old !== undefined && lingers) endpoints.set(id, { ...old, lingers });
      return lingers ? old !== undefined : endpoints.delete(id);
    },
    route(host, port) {
      const open = [...endpoints.values()].filter(
        (endpoint) => !endpoint.lingers && endpoint.bindings.includes("kubernetes"),
      );
      const fits = open.filter(
        ({ target }) =>
          target !== undefined && target.port === port && covers(target, host.toLowerCase()),
      );
      const closest = Math.max(...fits.map(({ target }) => closeness(target)));
      const best = fits.filter(({ target }) => closeness(target) === closest);
      turn += 1;
      return best[turn % best.length];
    },
    requests,
    noteRequest(request) {
      requests.push(request);
      if (requests.length > keptRequests) requests.shift();
    },
    operatorOf: (fingerprint256) =>
      [...operators.values()].find(({ binding }) =>
        binding?.certificates.some((one) => one.fingerprint256 === fingerprint256),
      ),
  };
}

/** Such as `ep_…`. Later ids sort after earlier ones, as at ngrok. */
export function newId(prefix: string): string {
  lastTime = Math.max(Date.now(), lastTime + 1);
  return `${prefix}_${lastTime.toString(36).padStart(9, "0")}${randomHex(9)}`;
}
let lastTime = 0;

function readSpec({
  url,
  upstream,
  unchecked,
}: EndpointSpec): Parsed<Pick<Endpoint, "target" | "upstreamAddress">> {
  const address = parseHostPort(upstream);
  if (!address.ok) return address;
  const target = parseCloudUrl(url);
  if (!target.ok && unchecked !== true) return target;
  return parsed({ target: target.ok ? target.value : undefined, upstreamAddress: address.value });
}

function parseCloudUrl(url: string): Parsed<CloudTarget> {
  const bare = url.replace(/^([a-z]+:\/\/)?\*\./i, "$1");
  const target = parseEndpointUrl(bare);
  if (!target.ok) return target;
  const wildcard = bare !== url;
  if (wildcard && target.value.proto === "tcp")
    return unparsed(
      `the URL ${quote(url)} is a wildcard, which http, https and tls have, and tcp has not`,
    );
  return parsed({ ...target.value, wildcard });
}

const covers = ({ host, wildcard }: CloudTarget, asked: string): boolean =>
  wildcard ? asked.endsWith(`.${host}`) : asked === host;

/** Exact names beat wildcards, and longer wildcards beat shorter ones. */
const closeness = (target: CloudTarget | undefined): number =>
  target?.wildcard === false ? 254 : (target?.host.length ?? 0);
