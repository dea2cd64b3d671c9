/**
 * One connection of the binding protocol, seen from the server: read the
 * request, decide, send the response, carry bytes. Faults act on each step.
 */
import { setTimeout as delay } from "node:timers/promises";
import {
  createFrameReader,
  decodeConnRequest,
  encodeConnResponse,
  type Reply,
} from "../ingress/frame.ts";
import { NgrokdError, reasonOf } from "../model/error.ts";
import type { Log } from "../model/log.ts";
import { type Parsed, quote } from "../model/parsed.ts";
import { addressText, type Conn, type Net } from "../net/types.ts";
import { splice } from "../relay/splice.ts";
import type { Faults } from "./faults.ts";
import type { Store } from "./store.ts";
import { withFirstRead } from "./with-read.ts";

export interface ConnectionOptions {
  readonly net: Net;
  readonly store: Store;
  readonly faults: Faults;
  readonly log: Log;
  /** Ends delays and dials when the ingress closes. */
  readonly stop: AbortSignal;
  /** Remembers a connection until it closes, and returns it. */
  readonly track: (conn: Conn) => Conn;
}

/** Serves one TLS connection to its end. Rejects if a side breaks. */
export async function serveConnection(conn: Conn, options: ConnectionOptions): Promise<void> {
  const { store, faults, log, track } = options;
  const asked = await readRequest(conn);
  if (asked === undefined) return conn.close();
  const operator = store.operatorOf(conn.peer?.fingerprint256 ?? "");
  if (operator === undefined)
    log.warn(`Closed a connection of ${conn.peer?.subject}: no operator has this certificate`);
  if (operator === undefined || faults.take("header-close") !== undefined) return conn.close();
  if (asked.request.ok) store.noteRequest({ ...asked.request.value, operator: operator.id });
  const late = faults.take("header-latency");
  if (late !== undefined) await pause(late.value, options);

  const fault = faults.take("header-silence", "header-garbage", "header-cut", "refuse");
  if (fault?.name === "header-silence") return await untilClosed(conn);
  if (fault?.name === "header-garbage") return await writeAndClose(conn, garbage);
  const { reply, upstream } =
    fault?.name === "refuse"
      ? { reply: refusalOf(fault.value) }
      : await decide(asked.request, options);
  const notice = faults.take("notice")?.value;
  const response = encodeConnResponse({ ...reply, notices: notice === undefined ? [] : [notice] });
  if (fault?.name === "header-cut") {
    upstream?.abort();
    return await writeAndClose(conn, response.subarray(0, Math.ceil(response.length / 2)));
  }
  if (upstream === undefined) return await writeAndClose(conn, response);
  try {
    await carry({ conn, upstream: track(upstream), response, early: asked.rest }, options);
  } catch (error) {
    upstream.abort();
    throw error;
  }
}

/** Sends nothing until the client closes. */
export async function untilClosed(conn: Conn): Promise<void> {
  while ((await conn.read()) !== null);
  conn.close();
}

/**
 * The request, and the bytes that follow it. Undefined if the client closes
 * before the request is complete.
 */
async function readRequest(conn: Conn) {
  const feed = createFrameReader();
  for (;;) {
    const bytes = await conn.read();
    if (bytes === null) return undefined;
    const split = feed(bytes);
    if (split.kind === "frame")
      return { request: decodeConnRequest(split.payload), rest: split.rest };
  }
}

interface Decision {
  readonly reply: Reply;
  /** Set if the reply is `accepted`. */
  readonly upstream?: Conn;
}

async function decide(
  request: Parsed<{ host: string; port: number }>,
  { net, store, log, stop }: ConnectionOptions,
): Promise<Decision> {
  if (!request.ok) return refused("ERR_NGROK_0", request.reason);
  const { host, port } = request.value;
  const endpoint = store.route(host, port);
  if (endpoint === undefined)
    return refused("ERR_NGROK_3200", `The endpoint ${quote(`${host}:${port}`)} is offline.`);
  try {
    const upstream = await net.dial(endpoint.upstreamAddress, {
      signal: AbortSignal.any([stop, AbortSignal.timeout(5000)]),
    });
    const proto = endpoint.target?.proto ?? "tcp";
    return { reply: { kind: "accepted", endpointId: endpoint.id, proto, notices: [] }, upstream };
  } catch (error) {
    log.warn(`${quote(endpoint.url)}: the service behind it does not answer: ${reasonOf(error)}`, {
      endpoint: endpoint.id,
    });
    return refused(
      "ERR_NGROK_8012",
      `The service at ${addressText(endpoint.upstreamAddress)} behind the endpoint does not answer.`,
    );
  }
}

const refused = (code: string, message: string): Decision => ({
  reply: { kind: "refused", code, message, notices: [] },
});

/** `CODE message`; without a code, the text is the message. */
function refusalOf(text: string): Reply {
  const [, code = "", message = ""] = /^(ERR_\w+)? ?(.*)$/s.exec(text) ?? [];
  return { kind: "refused", code, message, notices: [] };
}

interface AcceptedConnection {
  readonly conn: Conn;
  readonly upstream: Conn;
  readonly response: Uint8Array;
  /** Bytes that the client has sent behind its request. */
  readonly early: Uint8Array;
}

async function carry(accepted: AcceptedConnection, options: ConnectionOptions): Promise<void> {
  const { conn, upstream, early } = accepted;
  const from = await sendResponse(accepted, options);
  if (options.faults.take("stream-reset") !== undefined) {
    // A RST may overtake bytes in flight, so the response gets a head start.
    await pause(20, options);
    throw new NgrokdError("aborted", "The local cloud was told to reset this connection");
  }
  if (early.length > 0) await upstream.write(early);
  await splice(conn, from);
}

/**
 * Sends the response whole, byte by byte, or with the endpoint's first bytes,
 * as the faults say. Returns `upstream`, with no byte of it lost.
 */
async function sendResponse(
  { conn, upstream, response }: AcceptedConnection,
  options: ConnectionOptions,
): Promise<Conn> {
  const joined = options.faults.take("header-joined");
  if (joined !== undefined) {
    const first = Promise.resolve(upstream.read());
    const early = await Promise.race([first, pause(joined.value, options).then(() => undefined)]);
    await conn.write(early ? Buffer.concat([response, early]) : response);
    return early === undefined ? withFirstRead(upstream, first) : upstream;
  }
  const slow = options.faults.take("header-slow");
  if (slow === undefined) await conn.write(response);
  else {
    for (let i = 0; i < response.length; i += 1) {
      await conn.write(response.subarray(i, i + 1));
      await pause(slow.value, options);
    }
  }
  return upstream;
}

const pause = (ms: number, { stop }: ConnectionOptions): Promise<void> =>
  delay(ms, undefined, { signal: stop });

/** A length of four, and four bytes that start no protobuf message. */
const garbage = Uint8Array.of(4, 0, 0xff, 0xff, 0xff, 0xff);

async function writeAndClose(conn: Conn, bytes: Uint8Array): Promise<void> {
  await conn.write(bytes);
  conn.close();
}
