import { ingressAddress } from "../account/ingress-address.ts";
import type { TrustKeeper } from "../account/trust-keeper.ts";
import type { Identity } from "../cloud/registration.ts";
import type { Loaded } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
import type { IngressSettings } from "../ingress/ingress-dialer.ts";
import { proxyFor } from "../model/proxy.ts";
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

const infiniteIfZero = (limit: number): number => (limit === 0 ? Number.POSITIVE_INFINITY : limit);

/**
 * Pure: how an identity reaches its ingress. Throws NgrokdError `config` for an
 * ingress address that cannot be used.
 */
export function ingressSettings(
  loaded: Loaded,
  identity: Pick<Identity, "certPem" | "keyPem" | "ingressEndpoint">,
  { ca, caFile }: Pick<TrustKeeper, "ca" | "caFile">,
): IngressSettings {
  const { server, forward } = loaded.config;
  const address = ingressAddress(loaded, identity.ingressEndpoint);
  return {
    ...address,
    cert: identity.certPem,
    key: identity.keyPem,
    ca,
    caFile,
    insecureSkipVerify: server.insecure_skip_verify,
    resume: forward.session_resumption,
    via: proxyFor(address, loaded.proxy),
  };
}
