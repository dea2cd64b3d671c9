import { randomBytes } from "node:crypto";
import { type Proto, parseEndpointUrl } from "../model/endpoint.ts";
import { type HostPort, parseHostPort } from "../model/host-port.ts";
import { type Parsed, parsed, quote, unparsed } from "../model/parsed.ts";
import type { ClientCertificate } from "./ca.ts";

/** The account of the keys that the stand-in starts with. */
export const mainAccount = "main";

/**
 * What the stand-in knows, in memory only: the account's endpoints and
 * operators, oldest first.
 */
export interface Store {
  readonly endpoints: ReadonlyMap<string, Endpoint>;
  readonly operators: Map<string, Operator>;
  /**
   * The API keys that are accepted, and whose they are: an account's operators
   * are nobody else's. Endpoints are shown to all.
   */
  readonly keys: Map<string, string>;
  addEndpoint(spec: EndpointSpec): Parsed<Endpoint>;
  /** Undefined where there is no such endpoint. */
  changeEndpoint(id: string, changes: Partial<EndpointSpec>): Parsed<Endpoint> | undefined;
  /**
   * With `lingers` it stays in the list of bound endpoints and nowhere else, as
   * ngrok's list lags behind deletions.
   */
  removeEndpoint(id: string, lingers?: boolean): boolean;
  /**
   * Where a connection for this host and port goes: the exact name before
   * wildcards, several endpoints of one URL in turn.
   */
  route(host: string, port: number): Endpoint | undefined;
  /** The operator that this certificate was issued to. */
  operatorOf(fingerprint256: string): Operator | undefined;
}

export interface EndpointSpec {
  /** `[scheme://]host[:port]`, the host with `*.` in front for a wildcard. */
  readonly url: string;
  /** `host:port` of a plain TCP service. */
  readonly upstream: string;
  /** `kubernetes` unless told. */
  readonly bindings?: readonly BindingKind[] | undefined;
  readonly name?: string | undefined;
  readonly description?: string | undefined;
  readonly metadata?: string | undefined;
  /**
   * Takes a URL that ngrok would never list and that leads nowhere, to show it
   * to a client.
   */
  readonly unchecked?: boolean | undefined;
}

export type BindingKind = "public" | "internal" | "kubernetes";

export interface Endpoint extends EndpointSpec {
  readonly id: string;
  readonly createdAt: string;
  readonly updatedAt: string;
  readonly bindings: readonly BindingKind[];
  /** What the URL says; undefined for an unchecked one that says nothing. */
  readonly target: CloudTarget | undefined;
  readonly upstreamAddress: HostPort;
  /** Deleted, and still in the list of bound endpoints. */
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
  /** As the client set it; undefined: the stand-in's own. */
  readonly ingressEndpoint: string | undefined;
  /** The newest last; the older ones go on being valid until they expire. */
  readonly certificates: readonly ClientCertificate[];
}

export function createStore(apiKeys: readonly string[] = []): Store {
  const keys = new Map(apiKeys.map((key) => [key, mainAccount]));
  const endpoints = new Map<string, Endpoint>();
  const operators = new Map<string, Operator>();
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
    operatorOf: (fingerprint256) =>
      [...operators.values()].find(({ binding }) =>
        binding?.certificates.some((one) => one.fingerprint256 === fingerprint256),
      ),
  };
}

/** `ep_…`: like ngrok's, later ids sort after earlier ones. */
export function newId(prefix: string): string {
  lastTime = Math.max(Date.now(), lastTime + 1);
  return `${prefix}_${lastTime.toString(36).padStart(9, "0")}${randomBytes(9).toString("hex")}`;
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

/**
 * An exact name is closer than any wildcard, a longer wildcard closer than a
 * shorter one.
 */
const closeness = (target: CloudTarget | undefined): number =>
  target?.wildcard === false ? 254 : (target?.host.length ?? 0);
