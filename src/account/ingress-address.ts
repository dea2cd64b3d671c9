import type { Loaded } from "../config/load.ts";
import { NgrokdError } from "../model/error.ts";
import { type HostPort, parseHostPort } from "../model/host-port.ts";

/**
 * Where the ingress is: at the configured address, unless the user left that at
 * its default and ngrok named one at registration. Throws NgrokdError `config`
 * for an address that is none.
 */
export function ingressAddress({ config, origins }: Loaded, named: string | undefined): HostPort {
  const text =
    origins.ingressEndpoint === "default"
      ? (named ?? config.ingressEndpoint)
      : config.ingressEndpoint;
  const address = parseHostPort(text, 443);
  if (!address.ok)
    throw new NgrokdError(
      "config",
      `The ingress address "${text}" cannot be used: ${address.reason}`,
    );
  return address.value;
}

/**
 * The hosts that a daemon with these settings must reach. Throws as {@link
 * ingressAddress}.
 */
export function ownHosts(
  loaded: Loaded,
  named: string | undefined,
): { api: string; ingress: string; proxy: string | undefined } {
  return {
    api: new URL(loaded.config.api.url).hostname,
    ingress: ingressAddress(loaded, named).host,
    proxy: loaded.proxy.proxy?.host,
  };
}
