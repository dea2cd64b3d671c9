import { urlOf } from "../model/endpoint.ts";
import { hostPortText } from "../model/host-port.ts";
import { readable } from "../model/parsed.ts";
import type { HealthReport, ListItem } from "./reply-schemas.ts";

/** A host name or an address. Without a port it means every endpoint there. */
export interface Wanted {
  readonly host: string;
  readonly port: number | undefined;
}

/**
 * Pure: what is missing until the daemon serves the names; undefined if nothing
 * is. Only the endpoints of the names count, since a saved list is served while
 * ngrok's API is unreachable. Without names the daemon must be ready.
 */
export function lacking(
  health: HealthReport,
  items: readonly ListItem[],
  wanted: readonly Wanted[],
): string | undefined {
  const { healthy, ready, reason } = health;
  if (!healthy) return `the daemon is not healthy: ${reason}`;
  if (wanted.length === 0) return ready ? undefined : `the daemon is not ready: ${reason}`;
  for (const one of wanted) {
    const found = endpointsOf(one, items);
    const broken = found.find(({ state }) => state !== "listening");
    if (broken !== undefined)
      return `${readable(urlOf(broken))} is ${broken.state}: ${readable(broken.reason)}`;
    if (found.length === 0)
      return `no endpoint has the name ${nameOf(one)}${ready ? "" : `: ${reason}`}`;
  }
  return undefined;
}

/** Pure: the endpoints of a name. A draining one is gone from ngrok's list. */
export const endpointsOf = ({ host, port }: Wanted, items: readonly ListItem[]): ListItem[] =>
  items.filter(
    (item) =>
      item.state !== "draining" &&
      hasName(item, host) &&
      (port === undefined || item.port === port),
  );

/** Pure: whether a name or an address leads to this endpoint. */
export const hasName = ({ hostname, ip, ip6, aliases = [] }: ListItem, name: string): boolean =>
  [hostname, ip, ip6, ...aliases].includes(name);

const nameOf = ({ host, port }: Wanted): string =>
  port === undefined ? host : hostPortText({ host, port });
