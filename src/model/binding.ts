/**
 * model/ has the nouns that every other room may use, such as bindings,
 * endpoints, host names, addresses and errors. It has no effects.
 */
import { type ApiEndpoint, type EndpointUrl, parseEndpointUrl, type Target } from "./endpoint.ts";
import { type Hostname, parseHostname } from "./hostname.ts";

/**
 * One host and port to listen on, with its endpoints. Several endpoints with
 * the same URL (pooling) are one binding.
 */
export interface Binding extends Target {
  /** `host:port`, the identity of a binding. */
  readonly key: string;
  /** The URL as ngrok wrote it, of the first endpoint. */
  readonly url: string;
  /** Endpoint ids, sorted; at least one. */
  readonly ids: readonly string[];
  /** The key of the wildcard to which this one name belongs. */
  readonly wildcard?: string;
}

/**
 * An endpoint that stands for all names below a zone, at one port. Each name
 * has a binding of its own ({@link bindingBelow}).
 */
export interface Wildcard extends Omit<Target, "host"> {
  /** `team.internal` for `*.team.internal`. */
  readonly zone: Hostname;
  /** `*.zone:port`, the identity of a wildcard. */
  readonly key: string;
  /** The URL as ngrok wrote it, of the first endpoint. */
  readonly url: string;
  /** Endpoint ids, sorted; at least one. */
  readonly ids: readonly string[];
}

/** Pure: whether a name is below a zone, at any depth. */
export const isBelow = (host: string, zone: string): boolean => host.endsWith(`.${zone}`);

/** Pure: the binding of one name below a wildcard. */
export function bindingBelow({ proto, port, key, url, ids }: Wildcard, host: Hostname): Binding {
  return { proto, host, port, key: `${host}:${port}`, url, ids, wildcard: key };
}

/**
 * Pure: the binding for a host and port; undefined if there is none. A name
 * itself comes before a wildcard, and a longer wildcard before a shorter one.
 */
export function bindingFor(
  { bindings, wildcards }: Bindings,
  host: string,
  port: number,
): Binding | undefined {
  const name = parseHostname(host);
  if (!name.ok) return undefined;
  const own = bindings.find((one) => one.host === name.value && one.port === port);
  if (own !== undefined) return own;
  const [zone] = wildcards
    .filter((one) => one.port === port && isBelow(name.value, one.zone))
    .sort((a, b) => b.zone.length - a.zone.length);
  return zone === undefined ? undefined : bindingBelow(zone, name.value);
}

/** An endpoint that cannot be served, with the reason. */
export interface BadEndpoint {
  readonly id: string;
  readonly url: string;
  readonly reason: string;
}

/** The endpoints of a list, grouped and sorted by key. */
export interface Bindings {
  readonly bindings: readonly Binding[];
  readonly wildcards: readonly Wildcard[];
  /** Endpoints that cannot be served. */
  readonly bad: readonly BadEndpoint[];
}

/** A pass needs the same groups many times, and most passes the same list. */
const known = new WeakMap<readonly ApiEndpoint[], Bindings>();

/**
 * Pure: groups the endpoints of the API by host and port. An endpoint that
 * cannot be served is in `bad` and does not affect the others. The results are
 * sorted by key, so the order of the endpoints does not matter. The same list
 * gives the same result, without any work.
 */
export function bindingsOf(endpoints: readonly ApiEndpoint[]): Bindings {
  const before = known.get(endpoints);
  if (before !== undefined) return before;
  const bindings = grouped(endpoints);
  known.set(endpoints, bindings);
  return bindings;
}

function grouped(endpoints: readonly ApiEndpoint[]): Bindings {
  const found = new Map<string, { target: EndpointUrl; url: string; ids: Set<string> }>();
  const bad = new Map<string, BadEndpoint>();
  const inOrder = [...endpoints].sort(
    (a, b) => compare(a.url, b.url) || compare(a.id, b.id) || compare(a.proto, b.proto),
  );
  for (const { id, url, proto } of inOrder) {
    const target = parseEndpointUrl(url, proto);
    if (!target.ok) {
      bad.set(`${id} ${url}`, { id, url, reason: target.reason });
      continue;
    }
    const key = `${target.value.wildcard ? "*." : ""}${target.value.host}:${target.value.port}`;
    const group = found.get(key);
    if (group === undefined) found.set(key, { target: target.value, url, ids: new Set([id]) });
    else if (group.target.proto === target.value.proto) group.ids.add(id);
    else
      bad.set(`${id} ${url}`, {
        id,
        url,
        reason: `${key} is already served as ${group.target.proto} for ${group.url}`,
      });
  }
  const bindings: Binding[] = [];
  const wildcards: Wildcard[] = [];
  for (const [key, { target, url, ids: set }] of found) {
    const { proto, host, port, wildcard } = target;
    const ids = [...set].sort();
    if (wildcard) wildcards.push({ proto, zone: host, port, key, url, ids });
    else bindings.push({ proto, host, port, key, url, ids });
  }
  const byKey = (a: { key: string }, b: { key: string }): number => compare(a.key, b.key);
  return {
    bindings: bindings.sort(byKey),
    wildcards: wildcards.sort(byKey),
    bad: [...bad.values()],
  };
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
