import { connect, createServer, type Socket } from "node:net";
import { bytesAt, checker } from "./pattern.ts";

/**
 * The plan of one connection. Both sides check every number of bytes and every
 * byte.
 */
export interface Plan {
  /** Numbers both of its streams: 2n goes up, 2n + 1 comes down. */
  readonly n: number;
  readonly kind: "ping-pong" | "up" | "down" | "duplex" | "patient" | "abort";
  readonly up: number;
  readonly down: number;
  /** Largest write. */
  readonly chunk: number;
}

export type Ending =
  | { readonly kind: "complete" }
  /** The connection was reset, or could not be made. */
  | { readonly kind: "broken"; readonly reason: string }
  /** Bytes were wrong, or missing at a clean end. This must never happen. */
  | { readonly kind: "wrong"; readonly reason: string };

export interface Result {
  readonly plan: Plan;
  readonly ending: Ending;
  /** The number of bytes that came down. */
  readonly received: number;
  /**
   * The longest silence while bytes were due: milliseconds, with its start and
   * end by performance.now(). The reply to an upload is due when the last byte
   * has left; until then each write is.
   */
  readonly silence: { readonly ms: number; readonly from: number; readonly to: number };
}

const headerBytes = 24;

export function choosePlan(n: number, random: () => number): Plan {
  const kinds = ["ping-pong", "ping-pong", "up", "down", "duplex", "patient", "abort"] as const;
  const kind = kinds[Math.floor(random() * kinds.length)] ?? "ping-pong";
  const size = (): number => Math.floor(random() ** 4 * 8_000_000) + 1;
  const chunk = random() < 0.3 ? 1 + Math.floor(random() * 100) : 65_521;
  if (kind === "ping-pong" || kind === "patient") {
    const bytes = 1 + Math.floor(random() * 60);
    return { n, kind, up: bytes, down: bytes, chunk: 1 };
  }
  const large = chunk > 1000;
  const up = kind === "down" ? 0 : Math.min(size(), large ? 8_000_000 : 20_000);
  const down = kind === "up" ? 10 : Math.min(size(), large ? 8_000_000 : 20_000);
  return { n, kind, up, down, chunk };
}

/**
 * The service behind the endpoint. It reads the plan from the connection's
 * first bytes, checks the rest and sends its part.
 */
export async function startService(
  /** `n` is the plan's number; undefined if the connection ended before it. */
  onWrong: (reason: string, n: number | undefined) => void,
): Promise<{ port: number; readonly open: number; close(): Promise<void> }> {
  const open = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    open.add(socket);
    socket.on("close", () => open.delete(socket));
    socket.on("error", () => undefined);
    let n: number | undefined;
    const knowing = (plan: Plan): void => {
      n = plan.n;
    };
    serve(socket, knowing).catch((error: unknown) => {
      // The client judges broken connections. A wrong byte is always an error.
      if (error instanceof Error && error.message.startsWith("stream ")) onWrong(error.message, n);
      socket.destroy();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    get open() {
      return open.size;
    },
    close() {
      for (const socket of open) socket.destroy();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

async function serve(socket: Socket, knowing: (plan: Plan) => void): Promise<void> {
  const reader = readerOf(socket);
  const header = await reader.exactly(headerBytes);
  const plan = planIn(header);
  knowing(plan);
  const up = checker(2 * plan.n);
  if (plan.kind === "ping-pong" || plan.kind === "patient") {
    for (let i = 0; i < plan.up; i += 1) {
      up.take(await reader.exactly(1));
      await send(socket, bytesAt(2 * plan.n + 1, i, 1));
    }
    socket.end();
    return;
  }
  const sending =
    plan.kind === "up" ? undefined : sendStream(socket, 2 * plan.n + 1, plan.down, plan.chunk);
  // Awaited below. Until then a failure shows in the reads as well.
  sending?.catch(() => undefined);
  for (;;) {
    const bytes = await reader.next();
    if (bytes === null) break;
    up.take(bytes);
  }
  if (up.position !== plan.up)
    throw new Error(`stream ${2 * plan.n} ended cleanly after ${up.position} of ${plan.up} bytes`);
  await sending;
  // The reply to an upload comes after the client has finished: half-close has
  // to hold.
  if (plan.kind === "up") await sendStream(socket, 2 * plan.n + 1, plan.down, plan.chunk);
  socket.end();
}

/** One client connection from start to end; never rejects. */
export async function play(address: { host: string; port: number }, plan: Plan): Promise<Result> {
  const socket = connect({ ...address, allowHalfOpen: true, noDelay: true });
  // Reported by the operation that waits on the socket then.
  socket.on("error", () => undefined);
  const down = checker(2 * plan.n + 1);
  const silence = { ms: 0, from: 0, to: 0 };
  let lastWrite = 0;
  const waiting = async <T>(wait: Promise<T>): Promise<T> => {
    const began = performance.now();
    const value = await wait;
    const from = Math.max(began, lastWrite);
    const to = performance.now();
    if (to - from > silence.ms) Object.assign(silence, { ms: to - from, from, to });
    return value;
  };
  const writing = async (write: Promise<void>): Promise<void> => {
    await waiting(write);
    lastWrite = performance.now();
  };
  const done = (ending: Ending): Result => {
    socket.destroy();
    return { plan, ending, received: down.position, silence };
  };
  try {
    const reader = readerOf(socket);
    await send(socket, headerOf(plan));
    if (plan.kind === "ping-pong" || plan.kind === "patient") {
      for (let i = 0; i < plan.up; i += 1) {
        if (plan.kind === "patient" && i % 8 === 7) await Bun.sleep(150);
        await send(socket, bytesAt(2 * plan.n, i, 1));
        down.take(await waiting(reader.exactly(1)));
      }
      socket.end();
      const rest = await reader.next();
      return done(
        rest === null
          ? { kind: "complete" }
          : { kind: "wrong", reason: `${rest.length} bytes too many came` },
      );
    }
    if (plan.kind === "abort") {
      await sendStream(socket, 2 * plan.n, Math.floor(plan.up / 2), plan.chunk);
      socket.resetAndDestroy();
      return done({ kind: "complete" });
    }
    const sending = sendStream(
      socket,
      2 * plan.n,
      plan.up,
      plan.chunk,
      plan.kind === "up" ? writing : undefined,
    ).then(() => socket.end());
    sending.catch(() => undefined);
    for (;;) {
      const bytes = await waiting(reader.next());
      if (bytes === null) break;
      down.take(bytes);
    }
    if (down.position !== plan.down) {
      return done({
        kind: "wrong",
        reason: `stream ${2 * plan.n + 1} (${plan.kind}) ended cleanly after ${down.position} of ${plan.down} bytes`,
      });
    }
    await sending;
    return done({ kind: "complete" });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return done(
      reason.startsWith("stream ") ? { kind: "wrong", reason } : { kind: "broken", reason },
    );
  }
}

/** The first bytes of a connection, which tell the service its plan. */
export function headerOf({ n, kind, up, down, chunk }: Plan): Uint8Array {
  const header = new DataView(new ArrayBuffer(headerBytes));
  header.setUint32(0, n);
  header.setUint32(4, kinds.indexOf(kind));
  header.setUint32(8, up);
  header.setUint32(12, down);
  header.setUint32(16, chunk);
  header.setUint32(20, 0x5041544e);
  return new Uint8Array(header.buffer);
}

function planIn(bytes: Uint8Array): Plan {
  const header = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (header.getUint32(20) !== 0x5041544e) throw new Error("stream header is damaged");
  const kind = kinds[header.getUint32(4)] ?? "abort";
  return {
    n: header.getUint32(0),
    kind,
    up: header.getUint32(8),
    down: header.getUint32(12),
    chunk: header.getUint32(16),
  };
}

const kinds = ["ping-pong", "up", "down", "duplex", "patient", "abort"] as const;

async function sendStream(
  socket: Socket,
  stream: number,
  total: number,
  chunk: number,
  waiting: (write: Promise<void>) => Promise<void> = (write) => write,
): Promise<void> {
  for (let position = 0; position < total; ) {
    const bytes = bytesAt(stream, position, Math.min(chunk, total - position));
    await waiting(send(socket, bytes));
    position += bytes.length;
  }
}

/** Resolves when the bytes are written; rejects when the connection is gone. */
function send(socket: Socket, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    if (socket.destroyed) return reject(socket.errored ?? new Error("the connection is gone"));
    socket.write(bytes, (error) => (error ? reject(error) : resolve()));
  });
}

/** Reads on request: the next chunk, or an exact number of bytes. */
function readerOf(socket: Socket): {
  next(): Promise<Uint8Array | null>;
  exactly(n: number): Promise<Uint8Array>;
} {
  // At the end of what is read, a plain iterator would destroy the half that
  // still sends.
  const chunks = socket.iterator({ destroyOnReturn: false }) as AsyncIterator<Buffer>;
  let left: Uint8Array = new Uint8Array(0);
  const next = async (): Promise<Uint8Array | null> => {
    if (left.length > 0) {
      const bytes = left;
      left = new Uint8Array(0);
      return bytes;
    }
    const { value, done } = await chunks.next();
    return done ? null : value;
  };
  return {
    next,
    async exactly(n) {
      let bytes: Uint8Array = new Uint8Array(0);
      while (bytes.length < n) {
        const more = await next();
        if (more === null)
          throw new Error(`stream ended cleanly after ${bytes.length} of ${n} bytes`);
        bytes = Buffer.concat([bytes, more]);
      }
      left = bytes.subarray(n);
      return bytes.subarray(0, n);
    },
  };
}
