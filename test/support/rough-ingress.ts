import { readFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import {
  createFrameReader,
  decodeConnRequest,
  encodeConnResponse,
} from "../../src/ingress/frame.ts";
import type { Conn } from "../../src/net/types.ts";
import { net } from "./conns.ts";
import type { Identity } from "./pki.ts";
import { atEnd } from "./story.ts";

/**
 * The harm to a connection, on the wire and below TLS. A `cut` is a crash of
 * the far side: a FIN in the middle of TLS, and a RST for later bytes. A
 * `reset` is a RST. A `half-close` ends only the ingress's direction. A `stall`
 * and `slow` pass without loss.
 */
export const harms = ["cut", "reset", "half-close", "stall", "slow"] as const;
export type Harm = (typeof harms)[number];

/**
 * The moments of a connection's life, in order. The first two are the wire's,
 * the others the ingress's.
 */
export const stages = [
  "before TLS",
  "during TLS",
  "before the answer",
  "in the answer's length",
  "after the answer",
  "in the midst of what goes up",
  "in the midst of what comes down",
  "at the FIN",
] as const;
export type Stage = (typeof stages)[number];

/** The moment of the harm: a stage, or a number of bytes in one direction. */
export type Moment = Stage | { readonly direction: "up" | "down"; readonly bytes: number };

export interface Plan {
  readonly harm: Harm;
  readonly at: Moment;
}

export interface RoughIngress {
  /** `127.0.0.1:PORT`. The port is fixed, so this needs a separate machine. */
  readonly endpoint: string;
  /** Plans harm for the next connection, once. */
  plan(plan: Plan): void;
  /** The number of open wires. */
  readonly open: number;
  /** The number of plans carried out. */
  readonly harmed: number;
  /** Stops listening and resets all open connections. */
  close(): Promise<void>;
  /** Listens again, at the same port. */
  reopen(): Promise<void>;
}

/** The duration of a stall and of a slow phase; milliseconds. */
const [stallMs, slowMs] = [150, 150];
/** The bytes that a slow wire passes every few milliseconds. */
const trickle = 400;
/**
 * Below the ephemeral ports, so that the port is free when the ingress comes
 * back.
 */
const port = 7443;
/**
 * After this number of bytes of the ingress's first flight, a connection is in
 * the middle of its handshake.
 */
const midHandshake = 200;

/**
 * An ingress that accepts every request, sends `down`, and reads the client's
 * bytes until its FIN. The wire before it can do harm at any moment. TLS is
 * real, so the wire sees bytes, as on any network.
 */
export async function roughIngress(identity: Identity, down: Buffer): Promise<RoughIngress> {
  const wires = new Map<number, Wire>();
  const plans: Plan[] = [];
  let harmed = 0;
  const inner = await net.listen({ host: "127.0.0.1", port: 0 }, (conn) => serve(conn), {
    tls: identity,
  });
  const innerPort = "port" in inner.address ? inner.address.port : 0;

  const server = createServer({ allowHalfOpen: true, noDelay: true }, (near) => {
    const far = connect({ host: "127.0.0.1", port: innerPort, allowHalfOpen: true, noDelay: true });
    const wire = createWire(near, far, plans.shift(), () => {
      harmed += 1;
    });
    far.once("connect", () => {
      const { localPort = 0 } = far;
      wires.set(localPort, wire);
      far.once("close", () => wires.delete(localPort));
      wire.start();
    });
  });
  const listen = (): Promise<void> =>
    new Promise((listening) => server.listen(port, "127.0.0.1", listening));
  await listen();
  const close = async (): Promise<void> => {
    const closed = new Promise((resolve) => server.close(resolve));
    for (const wire of wires.values()) wire.harm("reset");
    await closed;
  };
  atEnd(() => {
    inner.close();
    return server.listening ? close() : undefined;
  });

  async function serve(conn: Conn): Promise<void> {
    const wire = wires.get("port" in conn.remote ? conn.remote.port : 0);
    if (wire === undefined) return conn.abort();
    const behind = await readRequest(conn);
    if (behind === undefined) return conn.close();
    wire.reached("before the answer");
    const answer = encodeConnResponse({
      kind: "accepted",
      endpointId: "ep_rough",
      proto: "tcp",
      notices: [],
    });
    await conn.write(answer.subarray(0, 1));
    await wire.passed("in the answer's length");
    wire.reached("in the answer's length");
    await conn.write(answer.subarray(1));
    await wire.passed("after the answer");
    wire.reached("after the answer");

    // No bytes may be sent before the answer. They would show as extra bytes.
    let [size, whole] = [behind.length, false];
    const listening = async (): Promise<void> => {
      for (let bytes = await conn.read(); bytes !== null; bytes = await conn.read()) {
        size += bytes.length;
        if (size > down.length / 2) wire.reached("in the midst of what goes up");
      }
      whole = true;
    };
    const speaking = async (): Promise<void> => {
      await conn.write(down.subarray(0, down.length / 2));
      await wire.passed("in the midst of what comes down");
      wire.reached("in the midst of what comes down");
      await conn.write(down.subarray(down.length / 2));
    };
    await Promise.allSettled([listening(), speaking()]);
    await wire.passed("at the FIN");
    wire.reached("at the FIN");
    if (whole) conn.close();
    else conn.abort();
  }

  return {
    endpoint: `127.0.0.1:${port}`,
    plan(plan) {
      plans.push(plan);
    },
    get open() {
      return wires.size;
    },
    get harmed() {
      return harmed;
    },
    close,
    reopen: listen,
  };
}

/**
 * The bytes after the request. Undefined if the client left before the request
 * was complete.
 */
async function readRequest(conn: Conn): Promise<Uint8Array | undefined> {
  const feed = createFrameReader();
  try {
    for (;;) {
      const bytes = await conn.read();
      if (bytes === null) return undefined;
      const split = feed(bytes);
      if (split.kind === "need-more") continue;
      const request = decodeConnRequest(split.payload);
      if (!request.ok) throw new Error(request.reason);
      return split.rest;
    }
  } catch {
    return undefined; // A wire that was hurt before.
  }
}

interface Wire {
  start(): void;
  harm(harm: Harm): void;
  reached(stage: Stage): void;
  /**
   * Resolves when the ingress's bytes so far are on their way to the daemon, or
   * never will be. This is certain only with a plan for `next`.
   */
  passed(next: Stage): Promise<void>;
}

/** `near` leads to the daemon, `far` to the ingress. */
function createWire(near: Socket, far: Socket, plan: Plan | undefined, onHarm: () => void): Wire {
  let pending = plan;
  let hold: Promise<unknown> = Promise.resolve();
  let slowUntil = 0;
  const gone = { up: false, down: false };
  let idle = true;

  const harm = (harm: Harm): void => {
    if (harm === "stall") hold = delay(stallMs);
    else if (harm === "slow") slowUntil = performance.now() + slowMs;
    else {
      gone.down = true;
      if (harm === "half-close") return void near.end();
      gone.up = true;
      far.resetAndDestroy();
      if (harm === "reset") near.resetAndDestroy();
      else near.end(() => near.destroy());
    }
  };
  const now = (): void => {
    const due = pending;
    pending = undefined;
    if (due === undefined) return;
    harm(due.harm);
    onHarm();
  };
  /**
   * The bytes of this direction that pass before the planned harm; infinite
   * without one.
   */
  const before = (direction: "up" | "down"): number => {
    if (pending === undefined) return Number.POSITIVE_INFINITY;
    if (pending.at === "during TLS")
      return direction === "down" ? midHandshake : Number.POSITIVE_INFINITY;
    return typeof pending.at === "object" && pending.at.direction === direction
      ? pending.at.bytes
      : Number.POSITIVE_INFINITY;
  };

  const relay = async (from: Socket, to: Socket, direction: "up" | "down"): Promise<void> => {
    let seen = 0;
    try {
      for await (const chunk of from.iterator({
        destroyOnReturn: false,
      }) as AsyncIterable<Buffer>) {
        if (direction === "down") idle = false;
        for (let at = 0; at < chunk.length && !gone[direction]; ) {
          if (seen === before(direction)) now();
          await hold;
          const slow = performance.now() < slowUntil;
          const piece = chunk.subarray(
            at,
            at + Math.min(slow ? trickle : chunk.length, before(direction) - seen),
          );
          if (slow) await delay(3);
          if (!gone[direction]) await send(to, piece);
          at += piece.length;
          seen += piece.length;
        }
        if (direction === "down") idle = true;
      }
      await hold;
      if (!gone[direction]) to.end();
    } catch {
      // The other end must learn of a broken connection, unless we broke it.
      if (!gone[direction]) to.resetAndDestroy();
    } finally {
      if (direction === "down") idle = true;
    }
  };

  for (const socket of [near, far]) socket.on("error", () => undefined);
  return {
    start() {
      if (pending?.at === "before TLS") now();
      void relay(near, far, "up");
      void relay(far, near, "down");
    },
    harm,
    reached(stage) {
      if (pending?.at === stage) now();
    },
    async passed(next) {
      // The kernel acknowledges late, so this asks only if the answer matters.
      const isPlanned = pending?.at === next;
      const isQuiet = (): boolean =>
        idle && far.readableLength === 0 && !(isPlanned && isUnderWay(far));
      // Twice, since a write that did not fit into the kernel goes on later.
      for (let quiet = 0; quiet < 2; quiet = isQuiet() ? quiet + 1 : 0) await delay(2);
    },
  };
}

/**
 * Whether bytes sent to this socket are still unread. The kernel keeps them in
 * the sender's queue until they are acknowledged, and in the receiver's until
 * they are read. proc(5), net/tcp.
 */
function isUnderWay({ localPort = 0, remotePort = 0 }: Socket): boolean {
  const [here, there] = [localPort, remotePort].map(
    (port) => `:${port.toString(16).toUpperCase().padStart(4, "0")}`,
  ) as [string, string];
  return readFileSync("/proc/self/net/tcp", "latin1")
    .split("\n")
    .some((line) => {
      const [, local = "", remote = "", , queues = ""] = line.trim().split(/\s+/);
      const [sent, received] = queues.split(":").map((hex) => Number.parseInt(hex, 16));
      if (local.endsWith(there) && remote.endsWith(here)) return sent !== 0;
      return local.endsWith(here) && remote.endsWith(there) && received !== 0;
    });
}

function send(socket: Socket, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    if (socket.destroyed) reject(new Error("the connection is gone"));
    else socket.write(bytes, (error) => (error ? reject(error) : resolve()));
  });
}
