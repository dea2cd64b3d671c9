/**
 * reach/ makes endpoints reachable for one user, without root and without a
 * change of the machine: by single listeners, by proxies, and inside a
 * command's own network. A way leads to the endpoints; doors, proxies and
 * `exec` use it.
 */
import type { Ingress } from "../ingress/ingress.ts";
import { type Binding, type Bindings, bindingFor, isBelow } from "../model/binding.ts";
import { parseEndpointUrl } from "../model/endpoint.ts";
import { NgrokdError } from "../model/error.ts";
import { parseHostname } from "../model/hostname.ts";
import { quote } from "../model/parsed.ts";
import { closest } from "../model/similar.ts";

/** How endpoints are found and opened: by an own identity, or by a daemon. */
export interface Way {
  /** The endpoints of the latest list. */
  readonly listed: Bindings;
  /**
   * Those whose names mean nothing else on this machine. Only they may take a
   * name from a program that reaches other hosts too.
   */
  readonly served: Bindings;
  /**
   * Settles with the endpoints once ngrok or the daemon has been asked in this
   * run. Rejects with NgrokdError if that failed.
   */
  fresh(): Promise<Bindings>;
  readonly open: Ingress["open"];
  /** For people: whose identity is used. */
  readonly identity: string;
  /** Ends everything, and deletes an operator that was for this run alone. */
  close(): Promise<void>;
}

/** Pure: the ports of a host, in order; empty if it is no endpoint's. */
export function portsOf({ bindings, wildcards }: Bindings, host: string): number[] {
  const name = parseHostname(host);
  if (!name.ok) return [];
  const ports = [
    ...bindings.filter((one) => one.host === name.value),
    ...wildcards.filter(({ zone }) => isBelow(name.value, zone)),
  ].map(({ port }) => port);
  return [...new Set(ports)].sort((a, b) => a - b);
}

/** An endpoint as the command line names it. */
export interface Named {
  readonly host: string;
  /** Undefined if the endpoint's only port is meant. */
  readonly port: number | undefined;
}

/**
 * Pure: parses `host`, `host:port` or a URL. Throws NgrokdError `usage` for
 * anything else.
 */
export function namedEndpoint(text: string): Named {
  if (text.includes("://")) {
    const url = parseEndpointUrl(text);
    if (url.ok && url.value.wildcard !== true) return url.value;
    throw wrongName(text, url.ok ? "name one host, not a wildcard" : url.reason);
  }
  const [, hostText = "", portText] = /^(.*?)(?::(\d{1,5}))?$/s.exec(text) ?? [];
  const host = parseHostname(hostText);
  if (!host.ok) throw wrongName(text, host.reason);
  const port = portText === undefined ? undefined : Number(portText);
  if (port !== undefined && (port < 1 || port > 65_535))
    throw wrongName(text, "the port is not 1 to 65535");
  return { host: host.value, port };
}

const wrongName = (text: string, reason: string): NgrokdError =>
  new NgrokdError("usage", `Cannot connect to ${quote(text)}: ${reason}`, {
    hint: "name an endpoint as host or host:port, as `ngrokd list` shows it",
  });

/**
 * Pure: the binding that is meant. Throws NgrokdError `not-found` if there is
 * none, and `usage` if there are several.
 */
export function chosenBinding(listed: Bindings, { host, port }: Named): Binding {
  const ports = portsOf(listed, host);
  const [only] = ports.length === 1 ? ports : [];
  const found = bindingFor(listed, host, port ?? only ?? 0);
  if (found !== undefined) return found;
  const open = ports.join(", ");
  if (ports.length > 0)
    throw port === undefined
      ? new NgrokdError("usage", `The endpoint "${host}" has several ports: ${open}`, {
          hint: `name one of them, as in ${host}:${ports[0]}`,
        })
      : new NgrokdError("not-found", `The endpoint "${host}" has no port ${port}`, {
          hint: `its ports: ${open}`,
        });
  const names = listed.bindings.map((one) => one.host);
  const near = closest(host, names);
  throw new NgrokdError("not-found", `There is no endpoint "${host}"`, {
    hint:
      near !== undefined
        ? `did you mean ${near}?`
        : names.length === 0
          ? "the account has no endpoint with a Kubernetes binding"
          : `the endpoints are ${[...new Set(names)].slice(0, 10).join(", ")}`,
  });
}

/**
 * {@link chosenBinding} of the list at hand, and of a fresh one if it has no
 * such endpoint.
 */
export async function findBinding(way: Way, named: Named): Promise<Binding> {
  try {
    return chosenBinding(way.listed, named);
  } catch {
    return chosenBinding(await way.fresh(), named);
  }
}
