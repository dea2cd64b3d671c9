import { Buffer } from "node:buffer";
import { randomInt } from "node:crypto";
import type { HostPort } from "../model/host-port.ts";
import type { Net } from "../net/types.ts";
import { createFrames, frame } from "./frames.ts";

/** Asks other name servers, for names that are not ours. */
export interface Upstream {
  /**
   * The unchanged reply to a question, or undefined if there is none. All
   * servers are asked at once, and the first with a result wins. `way` is the
   * client's: a reply that was cut for a datagram is requested again by TCP.
   * Never rejects.
   */
  ask(
    question: Uint8Array,
    servers: readonly HostPort[],
    way: Way,
  ): Promise<Uint8Array | undefined>;
}

export type Way = "udp" | "tcp";

export interface Patience {
  /** A datagram may be lost, so it is sent once more. */
  readonly againMs: number;
  readonly giveUpMs: number;
}

const usual: Patience = { againMs: 1000, giveUpMs: 4000 };
/** The most questions at a time; each has a socket for each server. */
const atOnce = 128;

export function createUpstream(net: Pick<Net, "udp" | "dial">, patience = usual): Upstream {
  let open = 0;
  return {
    async ask(question, servers, way) {
      if (open >= atOnce || servers.length === 0) return undefined;
      open += 1;
      try {
        const one = way === "udp" ? askByUdp : askByTcp;
        return await firstThatKnows(servers.map((server) => one(net, question, server, patience)));
      } finally {
        open -= 1;
      }
    },
  };
}

/** A failure of one server counts only if no other knows better. */
async function firstThatKnows(
  asked: readonly Promise<Uint8Array | undefined>[],
): Promise<Uint8Array | undefined> {
  const wise = asked.map(async (one) => {
    const reply = await one;
    if (reply === undefined || !knows(reply)) throw new Error("It does not know");
    return reply;
  });
  try {
    return await Promise.any(wise);
  } catch {
    return (await Promise.all(asked)).find((reply) => reply !== undefined);
  }
}

/** NOERROR and NXDOMAIN are knowledge. */
const knows = (reply: Uint8Array): boolean => [0, 3].includes((reply[3] ?? 0) & 0xf);

/** Another number for each server, which a stranger must guess. */
function withOwnId(question: Uint8Array): Buffer {
  const own = Buffer.from(question);
  own.writeUInt16BE(randomInt(0x10000), 0);
  return own;
}

/** The reply with the client's number, if it is one to this question. */
function matching(asked: Buffer, reply: Uint8Array, client: Uint8Array): Uint8Array | undefined {
  const same =
    reply.length >= 12 &&
    ((reply[2] ?? 0) & 0x80) !== 0 &&
    reply[0] === asked[0] &&
    reply[1] === asked[1];
  if (!same) return undefined;
  const own = Uint8Array.from(reply);
  own.set(client.subarray(0, 2));
  return own;
}

async function askByUdp(
  net: Pick<Net, "udp">,
  question: Uint8Array,
  server: HostPort,
  { againMs, giveUpMs }: Patience,
): Promise<Uint8Array | undefined> {
  const asked = withOwnId(question);
  const { promise, resolve } = Promise.withResolvers<Uint8Array | undefined>();
  const local = { host: server.host.includes(":") ? "::" : "0.0.0.0", port: 0 };
  const socket = await net
    .udp(local, (bytes, from) => {
      if (from.host !== server.host || from.port !== server.port) return;
      const reply = matching(asked, bytes, question);
      if (reply !== undefined) resolve(reply);
    })
    .catch(() => undefined);
  if (socket === undefined) return undefined;
  socket.send(asked, server);
  const again = setTimeout(() => socket.send(asked, server), againMs);
  const end = setTimeout(() => resolve(undefined), giveUpMs);
  try {
    return await promise;
  } finally {
    clearTimeout(again);
    clearTimeout(end);
    socket.close();
  }
}

async function askByTcp(
  net: Pick<Net, "dial">,
  question: Uint8Array,
  server: HostPort,
  { giveUpMs }: Patience,
): Promise<Uint8Array | undefined> {
  const asked = withOwnId(question);
  const signal = AbortSignal.timeout(giveUpMs);
  try {
    const conn = await net.dial(server, { signal });
    const stop = (): void => conn.abort();
    signal.addEventListener("abort", stop, { once: true });
    try {
      await conn.write(frame(asked));
      const feed = createFrames();
      for (;;) {
        const bytes = await conn.read();
        if (bytes === null) return undefined;
        const [reply] = feed(bytes);
        if (reply !== undefined) return matching(asked, reply, question);
      }
    } finally {
      signal.removeEventListener("abort", stop);
      conn.close();
    }
  } catch {
    return undefined;
  }
}
