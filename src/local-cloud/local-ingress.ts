import { setTimeout as delay } from "node:timers/promises";
import {
  createFrameReader,
  decodeConnRequest,
  encodeConnResponse,
  type Reply,
} from "../ingress/frame.ts";
import { NgrokdError, reasonOf } from "../model/error.ts";
import type { HostPort } from "../model/host-port.ts";
import type { Log } from "../model/log.ts";
import { type Parsed, quote } from "../model/parsed.ts";
import { addressText, type Conn, type Net, type TlsServerOptions } from "../net/types.ts";
import { waitingVerbs } from "../net/waiting.ts";
import { splice } from "../relay/splice.ts";
import type { Faults } from "./faults.ts";
import type { Store } from "./store.ts";

export interface IngressOptions {
  readonly net: Net;
  /** Port 0: any free one. */
  readonly address: HostPort;
  readonly tls: TlsServerOptions;
  readonly store: Store;
  readonly faults: Faults;
  readonly log: Log;
}

export interface LocalIngress {
  readonly address: HostPort;
  /** Resets what is open. */
  close(): void;
}

/**
 * The server side of the binding protocol (docs/protocol.md, "The ingress"). In
 * front of the TLS listener stands a plain one, which passes bytes on as they
 * are: what goes wrong before TLS can only be done there, and switches must
 * count from one connection to the next.
 */
export async function startIngress(options: IngressOptions): Promise<LocalIngress> {
  const { net, faults, log } = options;
  const open = new Set<Conn>();
  const stopping = new AbortController();
  const kept = (conn: Conn): Conn => {
    open.add(conn);
    void conn.closed.then(() => open.delete(conn));
    return conn;
  };

  const inner = await net.listen(
    { host: options.address.host, port: 0 },
    (conn) => serve(kept(conn)),
    { tls: options.tls },
  );
  const outer = await net
    .listen(options.address, (conn) => admit(kept(conn)))
    .catch((error: unknown) => {
      inner.close();
      throw error;
    });
  return {
    address: { host: options.address.host, port: "port" in outer.address ? outer.address.port : 0 },
    close() {
      stopping.abort();
      outer.close();
      inner.close();
      for (const conn of open) conn.abort();
    },
  };

  async function admit(conn: Conn): Promise<void> {
    const fault = faults.take("tls-reset", "tls-stall");
    if (fault?.name === "tls-reset") return conn.abort();
    if (fault?.name === "tls-stall") return await untilGone(conn);
    await splice(conn, kept(await net.dial(inner.address)));
  }

  async function serve(conn: Conn): Promise<void> {
    const asked = await readRequest(conn);
    if (asked === undefined) return conn.close();
    const operator = options.store.operatorOf(conn.peer?.fingerprint256 ?? "");
    if (operator === undefined)
      log.warn(`Closed a connection of ${conn.peer?.subject}: no operator has this certificate`);
    if (operator === undefined || faults.take("header-close") !== undefined) return conn.close();
    const late = faults.take("header-latency");
    if (late !== undefined) await pause(late.value);

    const fault = faults.take("header-silence", "header-garbage", "header-cut", "refuse");
    if (fault?.name === "header-silence") return await untilGone(conn);
    if (fault?.name === "header-garbage") return await lastWords(conn, garbage);
    const { reply, upstream } =
      fault?.name === "refuse" ? { reply: refusalOf(fault.value) } : await decide(asked.request);
    const notice = faults.take("notice")?.value;
    const answer = encodeConnResponse({ ...reply, notices: notice === undefined ? [] : [notice] });
    const cut = fault?.name === "header-cut";
    if (cut) upstream?.abort();
    if (cut || upstream === undefined)
      return await lastWords(conn, cut ? answer.subarray(0, Math.ceil(answer.length / 2)) : answer);
    try {
      await carry(conn, kept(upstream), answer, asked.rest);
    } catch (error) {
      upstream.abort();
      throw error;
    }
  }

  async function carry(
    conn: Conn,
    upstream: Conn,
    answer: Uint8Array,
    early: Uint8Array,
  ): Promise<void> {
    const from = await answerAndListen(conn, answer, upstream);
    if (faults.take("stream-reset") !== undefined) {
      // The answer has to arrive first: a RST may overtake what is still on its
      // way.
      await pause(20);
      throw new NgrokdError("aborted", "The local cloud was told to reset this connection");
    }
    if (early.length > 0) await upstream.write(early);
    await splice(conn, from);
  }

  async function decide(request: Parsed<{ host: string; port: number }>): Promise<Decision> {
    if (!request.ok) return refused("ERR_NGROK_0", request.reason);
    const { host, port } = request.value;
    const endpoint = options.store.route(host, port);
    if (endpoint === undefined)
      return refused("ERR_NGROK_3200", `The endpoint ${quote(`${host}:${port}`)} is offline.`);
    try {
      const upstream = await net.dial(endpoint.upstreamAddress, {
        signal: AbortSignal.any([stopping.signal, AbortSignal.timeout(5000)]),
      });
      const proto = endpoint.target?.proto ?? "tcp";
      return { reply: { kind: "accepted", endpointId: endpoint.id, proto, notices: [] }, upstream };
    } catch (error) {
      log.warn(
        `${quote(endpoint.url)}: the service behind it does not answer: ${reasonOf(error)}`,
        { endpoint: endpoint.id },
      );
      return refused(
        "ERR_NGROK_8012",
        `The service at ${addressText(endpoint.upstreamAddress)} behind the endpoint does not answer.`,
      );
    }
  }

  /**
   * Sends the answer, in the manner that the switches ask for; what comes back
   * is `upstream`, no byte of it lost.
   */
  async function answerAndListen(conn: Conn, answer: Uint8Array, upstream: Conn): Promise<Conn> {
    const joined = faults.take("header-joined");
    if (joined !== undefined) {
      const first = Promise.resolve(upstream.read());
      const early = await Promise.race([first, pause(joined.value).then(() => undefined)]);
      await conn.write(early ? Buffer.concat([answer, early]) : answer);
      return early === undefined ? withFirstRead(upstream, first) : upstream;
    }
    const slow = faults.take("header-slow");
    if (slow === undefined) await conn.write(answer);
    else {
      for (let i = 0; i < answer.length; i += 1) {
        await conn.write(answer.subarray(i, i + 1));
        await pause(slow.value);
      }
    }
    return upstream;
  }

  function pause(ms: number): Promise<void> {
    return delay(ms, undefined, { signal: stopping.signal });
  }
}

interface Decision {
  readonly reply: Reply;
  /** There when it is accepted. */
  readonly upstream?: Conn;
}

const refused = (code: string, message: string): Decision => ({
  reply: { kind: "refused", code, message, notices: [] },
});

/**
 * The request and what the client sent behind it; undefined where the client
 * leaves before its request is whole.
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

/** `CODE message`; without a code all of it is the message. */
function refusalOf(text: string): Reply {
  const [, code = "", message = ""] = /^(ERR_\w+)? ?(.*)$/s.exec(text) ?? [];
  return { kind: "refused", code, message, notices: [] };
}

/** Four bytes that no protobuf message starts with, behind their length. */
const garbage = Uint8Array.of(4, 0, 0xff, 0xff, 0xff, 0xff);

async function lastWords(conn: Conn, bytes: Uint8Array): Promise<void> {
  await conn.write(bytes);
  conn.close();
}

/** Says nothing until the client leaves. */
async function untilGone(conn: Conn): Promise<void> {
  while ((await conn.read()) !== null);
  conn.close();
}

/** `conn` with a read that is already under way. */
function withFirstRead(conn: Conn, first: Promise<Uint8Array | null>): Conn {
  let waiting: Promise<Uint8Array | null> | undefined = first;
  const verbs = {
    closed: conn.closed,
    read() {
      const next = waiting ?? conn.read();
      waiting = undefined;
      return next;
    },
    write: (bytes: Uint8Array) => conn.write(bytes),
  };
  return {
    ...verbs,
    ...waitingVerbs(verbs),
    remote: conn.remote,
    peer: conn.peer,
    closeWrite: () => conn.closeWrite(),
    close: () => conn.close(),
    abort: () => conn.abort(),
  };
}
