import { isIP } from "node:net";
import type { Ingress } from "../ingress/ingress.ts";
import { type Binding, bindingFor } from "../model/binding.ts";
import { parseHostPort } from "../model/host-port.ts";
import { type Hostname, parseHostname } from "../model/hostname.ts";
import type { Log } from "../model/log.ts";
import { isLoopback, type ProxyRules, proxyFor } from "../model/proxy.ts";
import type { Conn, Net } from "../net/types.ts";
import { guardedConn } from "../relay/greet/guarded-conn.ts";
import { proxyPage } from "../relay/greet/http-proxy.ts";
import { type ProxyKind, refuseWish, type Wish, wishOf } from "../relay/greet/proxy-client.ts";
import { lastWords } from "../relay/greet/refusal.ts";
import type { Carrier } from "./carrier.ts";
import { portsOf, type Way } from "./reach.ts";

export interface ProxyOptions {
  readonly net: Net;
  readonly way: Way;
  readonly carrier: Carrier;
  readonly log: Log;
  /** How other hosts are reached; undefined: they are refused. */
  readonly direct: ProxyRules | undefined;
  /** The text of `/proxy.pac`; undefined if it is not served. */
  readonly pac: (() => string) | undefined;
}

/** For the first bytes of a client. */
const greetingMs = 10_000;

/** Receives the clients of a proxy for all endpoints. */
export function proxyReceiver(kind: ProxyKind, options: ProxyOptions): (conn: Conn) => void {
  return (conn) => void receive(conn, kind, options);
}

async function receive(conn: Conn, kind: ProxyKind, options: ProxyOptions): Promise<void> {
  const timer = setTimeout(() => conn.abort(), greetingMs);
  try {
    const wish = await wishOf(conn, kind);
    clearTimeout(timer);
    await follow(conn, wish, kind, options);
  } catch {
    conn.abort();
  } finally {
    clearTimeout(timer);
  }
}

async function follow(
  conn: Conn,
  wish: Wish,
  kind: ProxyKind,
  options: ProxyOptions,
): Promise<void> {
  const { carrier, log } = options;
  if (wish.kind === "refused") return log.debug(`A client was refused, since ${wish.reason}`);
  if (wish.kind === "own") return await lastWords(conn, ownPage(wish, options.pac));
  const { host, port, courtesy, speaks } = wish;
  const target = targetOf(host, port, options);
  if (typeof target === "string") {
    log.debug(`A client was refused: ${target}`);
    return await refuseWish(conn, kind, target);
  }
  const name = parseHostname(host);
  // The first request has `Connection: close`; no later one may go elsewhere.
  const client =
    speaks === "http" && name.ok
      ? guardedConn(conn, { only: [name.value], rewrite: undefined })
      : conn;
  carrier.carry(client, target.binding, target.open, courtesy);
}

interface ProxyTarget {
  readonly binding: Binding;
  readonly open: Ingress["open"];
}

/** A text says why there is no target. */
function targetOf(
  host: string,
  port: number,
  { way, net, direct }: ProxyOptions,
): ProxyTarget | string {
  // Without other hosts there is nothing that an endpoint could take.
  const listed = direct === undefined ? way.listed : way.served;
  const binding = bindingFor(listed, host, port);
  if (binding !== undefined) return { binding, open: way.open };
  const ports = portsOf(listed, host);
  if (ports.length > 0) return `The endpoint "${host}" has the port ${ports.join(", ")}`;
  if (direct === undefined)
    return "No endpoint has this name, and other hosts need the flag --direct";
  const place = parseHostPort(host.includes(":") ? `[${host}]` : host, port);
  if (!place.ok) return place.reason;
  return { binding: standIn(place.value.host, port), open: dialling(net, direct) };
}

/** Other hosts have no endpoint; the carrier only needs a key. */
const standIn = (host: string, port: number): Binding => ({
  key: `${host}:${port}`,
  host: host as Hostname,
  port,
  proto: "tcp",
  url: "",
  ids: [],
});

const dialling =
  (net: Net, rules: ProxyRules): Ingress["open"] =>
  async (target, signal) => {
    const conn = await net.dial(target, { signal, via: proxyFor(target, rules) });
    return { kind: "accepted", conn, endpointId: "", proto: "", notices: [] };
  };

/**
 * The page of the proxy itself. A web page could make a name of its own lead
 * here, so only addresses and localhost may be asked.
 */
function ownPage(
  { path, authority }: Extract<Wish, { kind: "own" }>,
  pac: (() => string) | undefined,
): Uint8Array {
  const asked = authority.replace(/:\d+$/, "").replaceAll(/^\[|\]$/g, "");
  const isKnown = isIP(asked) > 0 || isLoopback(asked);
  if (pac !== undefined && isKnown && /^\/proxy\.pac(?:\?|$)/.test(path))
    return proxyPage("200 OK", pac(), "application/x-ns-proxy-autoconfig");
  return proxyPage("400 Bad Request", "ngrokd: This is a proxy for ngrok's endpoints.\n");
}
