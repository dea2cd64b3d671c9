import { type IncomingMessage, request } from "node:http";
import { type Duplex, pipeline, Readable, type Transform } from "node:stream";
import * as tls from "node:tls";
import { createBrotliDecompress, createGunzip, createInflate } from "node:zlib";
import { abortSignalOf, onAbort } from "../model/abort.ts";
import type { HostPort } from "../model/host-port.ts";
import { type ProxyRules, proxyForUrl } from "../model/proxy.ts";
import { streamOver } from "./node-tls.ts";
import { watchingResolver } from "./resolver.ts";
import { pooledAtMost } from "./timeouts.ts";
import type { Net } from "./types.ts";

/** The web's fetch, as far as ngrokd needs it. */
export interface Fetch {
  (url: string, init: RequestInit): Promise<Response>;
  /**
   * Makes later requests use new connections. Call it when the machine or its
   * network has moved. Pending requests with GET are sent again. Others are
   * not, since they may have arrived.
   */
  discard(): void;
}

/**
 * The web's fetch if no variable or setting names a proxy. Otherwise a fetch
 * that follows `rules` only, since Bun and Deno read the proxy variables by
 * rules of their own, and Bun knows no SOCKS5. Only https goes through a proxy,
 * in a tunnel, so the proxy sees no request and no key; http goes directly. It
 * follows no redirects, takes texts as bodies, and verifies against the roots
 * of the runtime and the system (NODE_EXTRA_CA_CERTS included). Rejects with
 * NgrokdError if the connection fails.
 */
export function createFetch(
  net: Net,
  rules: ProxyRules,
  now = (): number => performance.now(),
): Fetch {
  const alone = dialling(net, rules);
  const direct = rules.proxy === undefined && rules.httpProxy !== true;
  const unanswered = new Set<AbortController>();
  let pooledFrom = Number.NEGATIVE_INFINITY;

  const send = (url: string, init: RequestInit): Promise<Response> =>
    watchingResolver(
      hostToLookUp(new URL(url), rules),
      init.signal ?? undefined,
      patience,
      (signal) => sendNow(url, { ...init, ...(signal && { signal: abortSignalOf(signal) }) }),
    );
  const sendNow = (url: string, init: RequestInit): Promise<Response> => {
    if (direct && now() >= pooledFrom) return globalThis.fetch(url, init);
    // Without keepalive Bun neither takes a connection from its pool nor leaves
    // one there. Deno has no such option.
    return direct && net.runtime === "bun"
      ? globalThis.fetch(url, { ...init, keepalive: false })
      : alone(url, init);
  };
  const ask = async (url: string, init: RequestInit): Promise<Response> => {
    const again = new AbortController();
    const signal = init.signal ? AbortSignal.any([init.signal, again.signal]) : again.signal;
    unanswered.add(again);
    try {
      return await send(url, { ...init, signal });
    } catch (error) {
      if (!again.signal.aborted || init.signal?.aborted) throw error;
      return await ask(url, init);
    } finally {
      unanswered.delete(again);
    }
  };
  const fetch = (url: string, init: RequestInit): Promise<Response> =>
    ((init.method ?? "GET") === "GET" ? ask : send)(url, init);
  return Object.assign(fetch, {
    discard() {
      pooledFrom = now() + pooledAtMost;
      for (const again of unanswered) again.abort();
    },
  });
}

/** A resolver may try a second server after 5 s, and a third after 10. */
const patience = { askAfterMs: 2000, silenceMs: 12_000 };

/** The host that is looked up for a URL: its own, or the proxy's. */
export const hostToLookUp = (url: URL, rules: ProxyRules): string =>
  (proxyForUrl(url, rules) ?? targetOf(url)).host;

const targetOf = (url: URL): HostPort => ({
  host: url.hostname.replaceAll(/^\[|\]$/g, ""),
  port: Number(url.port || (url.protocol === "https:" ? 443 : 80)),
});

/** A new connection for each request, through a proxy if `rules` say so. */
function dialling(net: Net, rules: ProxyRules) {
  const roots = once(trustedRoots);
  return async (text: string, init: RequestInit): Promise<Response> => {
    const url = new URL(text);
    const secure = url.protocol === "https:";
    const target = targetOf(url);
    const signal = init.signal ?? undefined;
    const conn = await net.dial(target, {
      ...(signal === undefined ? {} : { signal }),
      ...(secure
        ? { tls: { serverName: target.host, ca: roots() }, via: proxyForUrl(url, rules) }
        : {}),
    });
    return await exchange(streamOver(conn).below, url, init);
  };
}

/** One request and its response; the connection serves no other. */
function exchange(
  connection: Duplex,
  url: URL,
  { method = "GET", headers, body, signal }: RequestInit,
): Promise<Response> {
  const { promise, resolve, reject } = Promise.withResolvers<Response>();
  const outgoing = request({
    method,
    path: url.pathname + url.search,
    headers: { ...Object.fromEntries(new Headers(headers)), host: url.host, connection: "close" },
    createConnection: () => connection,
  });
  const unhook = onAbort(signal ?? undefined, () => outgoing.destroy(signal?.reason));
  const settled = (): void => {
    unhook();
    connection.destroy();
  };
  // "broken" carries a NgrokdError; "error" comes later, with the runtime's own
  // words.
  connection.once("broken", reject);
  outgoing.once("error", (error) => {
    reject(error);
    settled();
  });
  outgoing.once("response", (message) => {
    message.once("close", settled);
    resolve(responseOf(message));
  });
  outgoing.end(typeof body === "string" ? body : undefined);
  return promise;
}

function responseOf(message: IncomingMessage): Response {
  const headers = new Headers();
  for (const [name, values = []] of Object.entries(message.headersDistinct))
    for (const value of values) headers.append(name, value);
  const status = message.statusCode ?? 0;
  if (![204, 205, 304].includes(status)) {
    const body = Readable.toWeb(decoded(message, headers));
    return new Response(body as unknown as ReadableStream<Uint8Array>, { status, headers });
  }
  message.resume();
  return new Response(null, { status, headers });
}

/**
 * The body without its `content-encoding`, as the runtime's fetch returns it.
 * Some proxies and servers compress without a request for it.
 */
function decoded(message: IncomingMessage, headers: Headers): Readable {
  const codings = (headers.get("content-encoding") ?? "").toLowerCase().split(",");
  const transforms = codings.map((coding) => decoders[coding.trim()]);
  if (!transforms.every((decoder) => decoder !== undefined)) return message;
  headers.delete("content-encoding");
  headers.delete("content-length");
  // A failure reaches the reader by the stream that it ends.
  return transforms.reduceRight<Readable>(
    (body, decoder) => pipeline(body, decoder(), () => undefined),
    message,
  );
}

const decoders: Readonly<Record<string, () => Transform>> = {
  gzip: createGunzip,
  "x-gzip": createGunzip,
  deflate: createInflate,
  br: createBrotliDecompress,
};

/** PEM texts; there are hundreds of them. */
const trustedRoots = (): readonly string[] => [
  ...new Set([...tls.getCACertificates("default"), ...tls.getCACertificates("system")]),
];

function once<T>(read: () => T): () => T {
  let known: { readonly value: T } | undefined;
  return () => {
    known ??= { value: read() };
    return known.value;
  };
}
