import type { Identity } from "../cloud/registration.ts";
import type { Loaded } from "../config/load.ts";
import type { IngressSettings } from "../ingress/ingress-dialer.ts";
import { proxyFor } from "../model/proxy.ts";
import { ingressAddress } from "./ingress-address.ts";
import type { TrustKeeper } from "./trust-keeper.ts";

/**
 * Pure: how an identity reaches its ingress. Throws NgrokdError `config` for an
 * ingress address that cannot be used.
 */
export function ingressSettings(
  loaded: Loaded,
  identity: Pick<Identity, "certPem" | "keyPem" | "ingressEndpoint">,
  { ca, caFile, published }: Pick<TrustKeeper, "ca" | "caFile" | "published">,
): IngressSettings {
  const { server, forward } = loaded.config;
  const address = ingressAddress(loaded, identity.ingressEndpoint);
  return {
    ...address,
    cert: identity.certPem,
    key: identity.keyPem,
    ca,
    caFile,
    published,
    insecureSkipVerify: server.insecure_skip_verify,
    resume: forward.session_resumption,
    via: proxyFor(address, loaded.proxy),
  };
}
