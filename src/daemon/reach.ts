import { hostname } from "node:os";
import type { Loaded } from "../config/load.ts";
import { NgrokdError } from "../model/error.ts";
import { type HostPort, parseHostPort } from "../model/host-port.ts";
import type { Hostname } from "../model/hostname.ts";
import { isLoopbackSubnet, loopback, parseSubnet, type Subnet } from "../model/ip.ts";
import { forbiddenName } from "../names/forbidden.ts";
import { machineNamesIn } from "../names/hosts-file.ts";

/**
 * The range that addresses come from; in this version loopback, whatever the
 * configuration says: then with a warning.
 */
export function addressRange(text: string): { readonly range: Subnet; readonly warning?: string } {
  const subnet = parseSubnet(text);
  if (subnet.ok && isLoopbackSubnet(subnet.value)) return { range: subnet.value };
  return {
    range: loopback,
    warning: `net.subnet is "${text}", and this version serves loopback addresses only: 127.0.0.0/8 is used`,
  };
}

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
 * The names that no endpoint may take, those of the hosts file's lines
 * excepted: an endpoint of such a name would lead us to ourselves.
 */
export function namesInUse(
  loaded: Loaded,
  ingress: HostPort,
): { readonly hostnames: readonly string[]; readonly hosts: readonly string[] } {
  const { proxy } = loaded.proxy;
  const hosts = [
    new URL(loaded.config.api.url).hostname,
    ingress.host,
    ...(proxy === undefined ? [] : [proxy.host]),
  ];
  return { hostnames: [hostname()], hosts };
}

/**
 * What may not be written into the hosts file; the machine is asked now and not
 * at every name.
 */
export async function forbiddenNow(
  loaded: Loaded,
  ingress: HostPort,
): Promise<(host: Hostname) => string | undefined> {
  const own = { ...namesInUse(loaded, ingress), listed: await machineNamesIn(loaded.hostsPath) };
  return (host) => forbiddenName(host, own);
}
