/**
 * model/ has the nouns that every other room may use, such as bindings,
 * endpoints, host names, addresses and errors. It has no effects.
 */
import { type ApiEndpoint, parseEndpointUrl, type Target } from "./endpoint.ts";

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
}

/** An endpoint that cannot be served, with the reason. */
export interface BadEndpoint {
  readonly id: string;
  readonly url: string;
  readonly reason: string;
}

/**
 * Pure: groups the endpoints of the API by host and port. An endpoint that
 * cannot be served is in `bad` and does not affect the others. The bindings are
 * sorted by key, so the order of the endpoints does not matter.
 */
export function bindingsOf(endpoints: readonly ApiEndpoint[]): {
  bindings: Binding[];
  bad: BadEndpoint[];
} {
  const found = new Map<string, { target: Target; url: string; ids: Set<string> }>();
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
    const key = `${target.value.host}:${target.value.port}`;
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
  const bindings = [...found].map(([key, { target, url, ids }]) => ({
    ...target,
    key,
    url,
    ids: [...ids].sort(),
  }));
  return { bindings: bindings.sort((a, b) => compare(a.key, b.key)), bad: [...bad.values()] };
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
