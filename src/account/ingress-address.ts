import type { Api } from "../cloud/api.ts";
import type { Loaded } from "../config/load.ts";
import { NgrokdError, reasonOf } from "../model/error.ts";
import { type HostPort, parseHostPort } from "../model/host-port.ts";
import { saveUnsaved } from "./files-on-disk.ts";
import { ingressNamed } from "./identity-state.ts";
import type { IdentityStore } from "./identity-store.ts";

/**
 * The ingress address. If the user has left the setting at its default, the
 * address that ngrok sent at registration counts instead. Throws NgrokdError
 * `config` if it is not an address.
 */
export function ingressAddress(loaded: Loaded, named: string | undefined): HostPort {
  const { ingressEndpoint } = loaded.config;
  const text = isNamedByNgrok(loaded) ? (named ?? ingressEndpoint) : ingressEndpoint;
  const address = parseHostPort(text, 443);
  if (!address.ok)
    throw new NgrokdError(
      "config",
      `The ingress address "${text}" cannot be used: ${address.reason}`,
    );
  return address.value;
}

/**
 * Asks ngrok for the ingress of an operator whose files have none, as the Go
 * program leaves them. It asks until ngrok has replied once. The reply is used
 * at once, and saved. Without a reply the default is dialled. Never rejects.
 */
export async function askForIngress(
  store: IdentityStore,
  api: Api,
  signal: AbortSignal,
): Promise<void> {
  const { held, loaded, log } = store;
  if (held === undefined || held.hasNoIngress || held.identity.ingressEndpoint !== undefined)
    return;
  if (!isNamedByNgrok(loaded())) return;
  const { operatorId } = held.identity;
  try {
    const { ingressEndpoint } = await api.getOperator(operatorId, signal);
    store.enter({ state: ingressNamed(held, ingressEndpoint) });
  } catch (error) {
    return log.debug(`Cannot ask ngrok for the ingress of ${operatorId}: ${reasonOf(error)}`);
  }
  await saveUnsaved(store);
}

const isNamedByNgrok = ({ origins }: Loaded): boolean => origins.ingressEndpoint === "default";
