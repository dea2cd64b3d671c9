import { connect, createServer, isIP, type Socket } from "node:net";
import { atEnd } from "./story.ts";

/**
 * The address of a name from this machine's resolver, which reads /etc/hosts.
 * Undefined if there is none. Nothing is cached.
 */
export async function resolve(name: string): Promise<string | undefined> {
  const child = Bun.spawn(["getent", "hosts", name], { stdout: "pipe", stderr: "ignore" });
  const text = await child.stdout.text();
  return text === "" ? undefined : text.split(/\s/)[0];
}

/** One end of a connection, for a test to control. */
export interface Peer {
  readonly socket: Socket;
  /** Resolves when there is room for more. */
  write(data: string | Uint8Array): Promise<void>;
  /** Finishes our half. */
  end(): void;
  /** Sends a RST. */
  reset(): void;
  /** Resolves to the next `length` bytes, or fewer at the end. */
  read(length: number): Promise<string>;
  /** Resolves to all bytes up to the other side's end. Rejects on a reset. */
  rest(): Promise<string>;
  /** How the other side left: by finishing its half, or by a reset. */
  readonly left: Promise<"end" | "reset">;
}

/**
 * Connects by name as any program would, or to an IP address. A reset can
 * arrive before the connect event. That counts as a connection that was reset.
 * Rejects if there was no connection.
 */
export async function dial(name: string, port: number): Promise<Peer> {
  const host = isIP(name) > 0 ? name : await resolve(name);
  if (host === undefined) throw new Error(`no address for ${name}`);
  return await new Promise((done, fail) => {
    const failed = (error: NodeJS.ErrnoException): void =>
      error.code === "ECONNRESET" ? done(peer(socket, "reset")) : fail(error);
    const socket = connect({ host, port, allowHalfOpen: true }, () => {
      socket.off("error", failed);
      done(peer(socket));
    });
    socket.once("error", failed);
  });
}

export interface Upstream {
  /** `127.0.0.1:PORT` */
  readonly address: string;
  /** The open connections. */
  readonly open: ReadonlySet<Socket>;
  /** The number of connections so far. */
  readonly accepted: () => number;
}

/**
 * A service behind an endpoint. `serve` gets each connection and must end it.
 */
export async function upstream(serve: (socket: Socket) => unknown): Promise<Upstream> {
  const open = new Set<Socket>();
  let accepted = 0;
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    accepted += 1;
    open.add(socket);
    // A reset shows as an error first. For an upstream both mean that the
    // client is gone.
    socket.on("error", () => socket.destroy());
    socket.on("close", () => open.delete(socket));
    serve(socket);
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  atEnd(() => {
    server.close();
    for (const socket of open) socket.destroy();
  });
  const address = server.address();
  if (address === null || typeof address === "string")
    throw new Error("the upstream has no address");
  return { address: `127.0.0.1:${address.port}`, open, accepted: () => accepted };
}

/** A service that echoes, and ends when the client has ended. */
export const echo = (): Promise<Upstream> => upstream((socket) => socket.pipe(socket));

/** `gone`: how the other side has already left. */
export function peer(socket: Socket, gone?: "end" | "reset"): Peer {
  const waiting: Buffer[] = [];
  let size = 0;
  let end: "end" | "reset" | undefined;
  let wake = (): void => {};
  let leave: (how: "end" | "reset") => void = () => {};
  const left = new Promise<"end" | "reset">((resolve) => {
    leave = resolve;
  });
  const finish = (how: "end" | "reset"): void => {
    end ??= how;
    leave(end);
    wake();
  };
  socket.on("data", (bytes: Buffer) => {
    waiting.push(bytes);
    size += bytes.length;
    wake();
  });
  socket.on("end", () => finish("end"));
  socket.on("error", () => finish("reset"));
  socket.on("close", () => finish("end"));
  if (gone !== undefined) finish(gone);

  const take = (length: number): string => {
    const all = Buffer.concat(waiting.splice(0));
    size = Math.max(0, all.length - length);
    if (size > 0) waiting.push(all.subarray(length));
    return all.subarray(0, length).toString("latin1");
  };
  const enough = async (length: number): Promise<void> => {
    while (size < length && end === undefined) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    // The bytes before a reset have arrived.
    if (size < length && end === "reset")
      throw new Error(`the connection was reset after ${size} unread bytes`);
  };
  return {
    socket,
    left,
    write: (data) =>
      new Promise((resolve, reject) => {
        socket.write(data, (error) => (error ? reject(error) : resolve()));
      }),
    end: () => void socket.end(),
    reset: () => void socket.resetAndDestroy(),
    async read(length) {
      await enough(length);
      return take(length);
    },
    async rest() {
      await enough(Number.POSITIVE_INFINITY);
      return take(size);
    },
  };
}
