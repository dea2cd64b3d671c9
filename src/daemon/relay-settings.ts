import type { Config } from "../config/schema.ts";
import type { InspectSettings } from "../inspect/inspect.ts";
import type { RelayLimits } from "../relay/relay.ts";

/** Pure: the limits of the relay by these settings. */
export function relayLimits({ forward, access, names }: Config): RelayLimits {
  const { min, max, idle_timeout: seconds } = forward.pool;
  return {
    openTimeoutMs: forward.open_timeout * 1000,
    earlyData: forward.early_data === "on",
    idleMs: forward.idle_timeout * 1000,
    halfClosedMs: forward.half_close_timeout * 1000,
    drainMs: forward.drain_timeout * 1000,
    rewriteHost: forward.rewrite_host,
    // An alias is the user's own name for an endpoint.
    hosts: [...access.hosts, ...Object.values(names.alias).flat()],
    connections: {
      inAll: infiniteIfZero(forward.max_connections),
      perEndpoint: infiniteIfZero(forward.max_connections_per_endpoint),
    },
    pool: { min: Math.min(min, max), max, idleTimeoutMs: seconds * 1000 },
  };
}

/** Pure: the exchanges that are read and kept by these settings. */
export function inspectSettings({ inspect }: Config): InspectSettings {
  const { endpoints, headers, queries, body_bytes, exchanges, minutes } = inspect;
  return {
    endpoints,
    headers,
    queries,
    bodyBytes: body_bytes,
    count: exchanges,
    ms: minutes * 60_000,
  };
}

const infiniteIfZero = (limit: number): number => (limit === 0 ? Number.POSITIVE_INFINITY : limit);
