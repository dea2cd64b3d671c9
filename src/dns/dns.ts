/**
 * dns/ is a name server for the names of this machine, and for no others. The
 * answers are a pure function (`answer`) of a question and the present names.
 */

import type { HostPort } from "../model/host-port.ts";
import type { Hostname } from "../model/hostname.ts";
import { createPlaces, type Places } from "../net/places.ts";
import type { Conn, Listener, Net, UdpSocket } from "../net/types.ts";
import { type Answer, answer, empty, known, negative, type Zones } from "./answer.ts";
import { createFrames, frame } from "./frames.ts";
import { type Query, type Reply, rcodes, readQuery, writeReply } from "./message.ts";
import { createAllowance, type Rate } from "./rate.ts";
import { createUpstream, type Way } from "./upstream.ts";

export interface DnsOptions {
  readonly net: Pick<Net, "udp" | "listen" | "dial">;
  /** The present names; read for every question. */
  readonly zones: () => Zones;
  /**
   * Gives a name below a wildcard its addresses. Returns `refused` if it may
   * not have any, and `busy` if none can be given now.
   */
  readonly fresh: (host: Hostname) => Promise<readonly string[] | "refused" | "busy">;
  /** Notes that a name below a wildcard is in use. */
  readonly touch?: (name: string) => void;
  /** The addresses of a name that tests the way to this server. */
  readonly canary?: (name: string) => readonly string[] | undefined;
  /** The servers for all other names; without any, they are refused. */
  readonly upstream: () => readonly HostPort[];
  /** Whether this address may ask at all. */
  readonly mayAsk: (ip: string) => boolean;
  /** Whether it is this machine's, which has no limit for known names. */
  readonly isOwn: (ip: string) => boolean;
  /** Milliseconds of a steady clock; for tests. */
  readonly now?: () => number;
  readonly limits?: DnsLimits;
}

export interface DnsLimits {
  /** Questions of one other machine. */
  readonly questions: Rate;
  /** Names that get an address, for one client. */
  readonly fresh: Rate;
  /** Open TCP connections (see `Places`), and their time of silence. */
  readonly connections: number;
  readonly idleMs: number;
}

export const usualLimits: DnsLimits = {
  questions: { perSecond: 500, burst: 2000 },
  fresh: { perSecond: 100, burst: 1000 },
  connections: 64,
  idleMs: 10_000,
};

export interface DnsServer {
  readonly address: HostPort;
  readonly stats: DnsStats;
  /** Idempotent. */
  close(): void;
}

/** Counters since the start. */
export interface DnsStats {
  readonly questions: number;
  /** Questions of clients that may not ask, or ask too often. */
  readonly refused: number;
}

/** The longest message by TCP. */
const tcpRoom = 0xffff;

/**
 * Listens on one address, by UDP and TCP. Rejects with NgrokdError
 * `address-in-use`, `address-unavailable`, `permission` or `network`.
 */
export async function startDns(listen: HostPort, options: DnsOptions): Promise<DnsServer> {
  const { net } = options;
  const server = createAnswering(options);
  const places = createPlaces((options.limits ?? usualLimits).connections);
  const udp: UdpSocket = await net.udp(listen, (bytes, from) => {
    const reply = server.reply(bytes, from.host, "udp");
    if (reply instanceof Promise)
      return reply.then((later) => void (later && udp.send(later, from)));
    if (reply !== undefined) udp.send(reply, from);
  });
  let tcp: Listener;
  try {
    tcp = await net.listen(udp.address, (conn) => serveConn(conn, places, server, options));
  } catch (error) {
    udp.close();
    throw error;
  }
  return {
    address: udp.address,
    stats: server.stats,
    close() {
      udp.close();
      tcp.close();
      places.clear();
    },
  };
}

interface Answering {
  readonly stats: DnsStats;
  /** Undefined for bytes without an answer. */
  reply(bytes: Uint8Array, ip: string, way: Way): Promised<Uint8Array | undefined>;
}

type Promised<T> = T | Promise<T>;

function createAnswering(options: DnsOptions): Answering {
  const { zones, mayAsk, isOwn, limits = usualLimits, now = () => performance.now() } = options;
  const stats = { questions: 0, refused: 0 };
  const upstream = createUpstream(options.net);
  const mayQuestion = createAllowance(limits.questions);
  const mayHaveFresh = createAllowance(limits.fresh);

  return {
    stats,
    reply(bytes, ip, way) {
      const reading = readQuery(bytes);
      if (reading.kind === "none") return undefined;
      stats.questions += 1;
      if (!isOwn(ip) && !mayQuestion(ip, now())) {
        stats.refused += 1;
        return undefined;
      }
      if (reading.kind === "bad") return reading.reply;
      const { query } = reading;
      const write = (reply: Reply): Uint8Array => {
        const room = way === "tcp" ? tcpRoom : query.room;
        return writeReply(query, reply, { room, recursion: options.upstream().length > 0 });
      };
      if (!mayAsk(ip)) {
        stats.refused += 1;
        return write(empty(rcodes.REFUSED));
      }
      if (query.edns !== undefined && query.edns > 0) return write(empty(rcodes.BADVERS));
      const found = canaryAnswer(query) ?? answer(query, zones());
      switch (found.kind) {
        case "reply":
          options.touch?.(query.name.toLowerCase());
          return write(found);
        case "fresh":
          if (!mayHaveFresh(ip, now())) return write(empty(rcodes.SERVFAIL));
          return freshReply(query, found).then(write);
        case "outside": {
          const servers = options.upstream();
          if (servers.length === 0) return write(empty(rcodes.REFUSED));
          return upstream
            .ask(bytes, servers, way)
            .then((reply) => reply ?? write(empty(rcodes.SERVFAIL)));
        }
      }
    },
  };

  function canaryAnswer({ name, type }: Query): Answer | undefined {
    const addresses = options.canary?.(name.toLowerCase());
    return addresses && known(type, addresses, name.toLowerCase());
  }

  async function freshReply(
    { type }: Query,
    { host, zone }: Extract<Answer, { kind: "fresh" }>,
  ): Promise<Reply> {
    const given = await options.fresh(host);
    if (given === "busy") return empty(rcodes.SERVFAIL);
    const found = given === "refused" ? negative(zone, rcodes.NXDOMAIN) : known(type, given, zone);
    return found.kind === "reply" ? found : empty(rcodes.SERVFAIL);
  }
}

/** Answers the questions of one connection, one after the other. */
async function serveConn(
  conn: Conn,
  places: Places,
  server: Answering,
  { limits = usualLimits }: DnsOptions,
): Promise<void> {
  const client = "host" in conn.remote ? conn.remote.host : "";
  const place = places.enter(() => conn.abort());
  if (place === undefined) return conn.abort();
  let idle = setTimeout(() => conn.abort(), limits.idleMs);
  try {
    const feed = createFrames();
    for (let bytes = await conn.read(); bytes !== null; bytes = await conn.read()) {
      for (const message of feed(bytes)) {
        place.work();
        const reply = await server.reply(message, client, "tcp");
        place.rest();
        if (reply === undefined) return conn.abort();
        await conn.write(frame(reply));
        clearTimeout(idle);
        idle = setTimeout(() => conn.abort(), limits.idleMs);
      }
    }
    conn.close();
  } catch {
    // The client has gone.
    conn.abort();
  } finally {
    clearTimeout(idle);
    place.leave();
  }
}
