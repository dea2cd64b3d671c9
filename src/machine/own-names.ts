import { hostname } from "node:os";
import type { Loaded } from "../config/load.ts";
import { forbiddenName } from "../exposure/forbidden.ts";
import type { HostPort } from "../model/host-port.ts";
import type { Hostname } from "../model/hostname.ts";
import { machineNamesIn } from "./hosts/file.ts";

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
