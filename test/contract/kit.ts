/**
 * Helpers for the cases of the seam's contract. Runs under Bun, Deno and
 * Node.js.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { createHash, type Hash } from "node:crypto";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type ErrorCode, NgrokdError } from "../../src/model/error.ts";
import type {
  Address,
  Conn,
  DialOptions,
  Listener,
  ListenOptions,
  Net,
  TlsClientOptions,
} from "../../src/net/types.ts";
import {
  type Authority,
  hours,
  type Identity,
  intermediateCa,
  issue,
  rootCa,
} from "../support/pki.ts";

/** One requirement on every implementation of the seam. */
export interface Case {
  readonly name: string;
  run(world: World): Promise<void>;
}

export interface World {
  readonly net: Net;
  readonly peer: Peer;
  readonly pki: Pki;
  /** A separate folder of the suite, for sockets. */
  readonly folder: string;
}

/** Starts the peer for the cases; `end` stops it. */
export async function createWorld(net: Net): Promise<World & { end(): void }> {
  const peer = startPeer();
  const folder = mkdtempSync(join(tmpdir(), "net-"));
  const end = () => {
    peer.stop();
    rmSync(folder, { recursive: true, force: true });
  };
  return { net, peer, pki: await createPki(), folder, end };
}

/** The Node.js process of peers/peer.mjs; the verbs are described there. */
export interface Peer {
  listen(options?: {
    host?: string;
    path?: string;
    tls?: object;
    greeting?: string;
  }): Promise<{ server: number; port: number }>;
  proxy(options: ProxyOptions): Promise<{ proxy: number; port: number }>;
  asked(proxy: number): Promise<{ target: string; login: string | null }[]>;
  clients(proxy: number): Promise<number>;
  front(port: number): Promise<{ front: number; port: number }>;
  shorten(front: number, drop: number | "record"): Promise<void>;
  accept(server: number): Promise<number>;
  handshakes(server: number): Promise<{ secured: number; failures: string[] }>;
  connect(options: { host?: string; port?: number; path?: string; tls?: object }): Promise<number>;
  send(socket: number, what: { text: string } | { size: number }): Promise<string>;
  chatter(socket: number, every: number): Promise<void>;
  finish(socket: number): Promise<void>;
  reset(socket: number): Promise<void>;
  destroy(socket: number): Promise<void>;
  receive(socket: number, options?: { size?: number; pause?: number }): Promise<Received>;
  taken(socket: number): Promise<number>;
  ended(socket: number): Promise<string>;
  peerName(socket: number): Promise<string | null>;
  askedFor(socket: number): Promise<string | null>;
}

/** Described in peers/proxy.mjs. */
export interface ProxyOptions {
  readonly kind: "http" | "socks5";
  readonly names?: Readonly<Record<string, string>>;
  readonly login?: string;
  readonly mode?: "hang" | "close" | "cut" | "503" | "drip" | "flood" | "joined";
  readonly extra?: string;
}

export interface Received {
  readonly length: number;
  readonly sha256: string;
  readonly text: string;
  readonly ended: string | null;
}

function startPeer(): Peer & { stop(): void } {
  const script = fileURLToPath(new URL("peers/peer.mjs", import.meta.url).href);
  const child: ChildProcess = spawn("node", [script], { stdio: ["pipe", "pipe", "inherit"] });
  const waiting = new Map<
    number,
    { resolve: (value: unknown) => void; reject: (error: Error) => void; verb: string }
  >();
  let lastId = 0;
  assert(child.stdin && child.stdout);
  const { stdin } = child;
  createInterface({ input: child.stdout }).on("line", (line) => {
    const { id, result, error } = JSON.parse(line) as {
      id: number;
      result?: unknown;
      error?: string;
    };
    const call = waiting.get(id);
    waiting.delete(id);
    if (error === undefined) call?.resolve(result);
    else
      call?.reject(
        Object.assign(new Error(`the peer could not ${call.verb}: ${error}`), { code: error }),
      );
  });
  const call = <T>(verb: string, args: object): Promise<T> =>
    new Promise((resolve, reject) => {
      const id = ++lastId;
      waiting.set(id, { resolve: resolve as (value: unknown) => void, reject, verb });
      stdin.write(`${JSON.stringify({ id, verb, ...args })}\n`);
    });
  return {
    listen: (options = {}) => call("listen", options),
    proxy: (options) => call("proxy", options),
    asked: (proxy) => call("asked", { proxy }),
    clients: (proxy) => call("clients", { proxy }),
    front: (port) => call("front", { port }),
    shorten: (front, drop) => call("shorten", { front, drop }),
    accept: (server) => call("accept", { server }),
    handshakes: (server) => call("handshakes", { server }),
    connect: (options) => call("connect", options),
    send: (socket, what) => call("send", { socket, ...what }),
    chatter: (socket, every) => call("chatter", { socket, every }),
    finish: (socket) => call("finish", { socket }),
    reset: (socket) => call("reset", { socket }),
    destroy: (socket) => call("destroy", { socket }),
    receive: (socket, options = {}) => call("receive", { socket, ...options }),
    taken: (socket) => call("taken", { socket }),
    ended: (socket) => call("ended", { socket }),
    peerName: (socket) => call("peerName", { socket }),
    askedFor: (socket) => call("askedFor", { socket }),
    stop: () => stdin.end(),
  };
}

export interface Pki {
  readonly root: Authority;
  readonly stranger: Authority;
  readonly intermediate: Authority;
  /** For ingress.test, localhost, 127.0.0.1 and ::1. */
  readonly server: Identity;
  readonly expired: Identity;
  /**
   * For ingress.test, signed by the intermediate. Both the leaf alone, and the
   * leaf with the intermediate after it.
   */
  readonly leafOnly: Identity;
  readonly withChain: Identity;
  readonly client: Identity;
  readonly strangersClient: Identity;
}

async function createPki(): Promise<Pki> {
  const [root, stranger] = await Promise.all([rootCa(), rootCa("Stranger CA")]);
  const intermediate = await intermediateCa(root);
  const names = ["ingress.test", "localhost", "127.0.0.1", "::1"];
  const leafOnly = await issue(intermediate, "ingress.test", {
    names: ["ingress.test"],
    usage: ["server"],
  });
  return {
    root,
    stranger,
    intermediate,
    server: await issue(root, "ingress.test", { names, usage: ["server"] }),
    expired: await issue(root, "ingress.test", {
      names,
      notBefore: hours(-3),
      notAfter: hours(-2),
    }),
    leafOnly,
    withChain: { cert: leafOnly.cert + intermediate.cert, key: leafOnly.key },
    client: await issue(root, "client.test", { usage: ["client"] }),
    strangersClient: await issue(stranger, "client.test", { usage: ["client"] }),
  };
}

/** The TLS options of a client of `pki.server`. */
export function trusting({ pki }: World, more: Partial<TlsClientOptions> = {}): TlsClientOptions {
  return { serverName: "ingress.test", ca: [pki.root.cert], ...more };
}

/**
 * The two ends of one connection, ours and the peer's. Either end may have
 * dialled.
 */
export interface Pair {
  readonly conn: Conn;
  readonly socket: number;
}

/**
 * The origins of a connection, for cases that hold for all of them. The labels
 * complete "over …".
 */
export const kinds: readonly { label: string; pair(world: World): Promise<Pair> }[] = [
  { label: "a dialed TCP connection", pair: (world) => dialed(world, false) },
  { label: "an accepted TCP connection", pair: (world) => accepted(world, false) },
  { label: "a dialed TLS connection", pair: (world) => dialed(world, true) },
  { label: "an accepted TLS connection", pair: (world) => accepted(world, true) },
];

async function dialed(world: World, secure: boolean): Promise<Pair> {
  const { net, peer, pki } = world;
  const { server, port } = await peer.listen(secure ? { tls: pki.server } : {});
  const conn = await net.dial({ host: "127.0.0.1", port }, secure ? { tls: trusting(world) } : {});
  return { conn, socket: await peer.accept(server) };
}

async function accepted(world: World, secure: boolean): Promise<Pair> {
  const { peer, pki } = world;
  const { listener, next } = await listening(
    world,
    { host: "127.0.0.1", port: 0 },
    secure ? { tls: pki.server } : {},
  );
  const socket = await peer.connect({
    port: portOf(listener),
    ...(secure ? { tls: { ca: [pki.root.cert], servername: "ingress.test" } } : {}),
  });
  const conn = await next();
  listener.close();
  return { conn, socket };
}

/** A listener that returns its accepted connections in order. */
export async function listening(
  { net }: World,
  address: Address,
  options?: ListenOptions,
): Promise<{ listener: Listener; next(): Promise<Conn> }> {
  const arrived: Conn[] = [];
  const waiting: ((conn: Conn) => void)[] = [];
  const onConn = (conn: Conn) => {
    const waiter = waiting.shift();
    if (waiter === undefined) arrived.push(conn);
    else waiter(conn);
  };
  const listener = await net.listen(address, onConn, options);
  return {
    listener,
    next: async () => arrived.shift() ?? new Promise((resolve) => waiting.push(resolve)),
  };
}

/** Both ends on our own side, for cases that do not examine the wire. */
export async function ownPair(
  world: World,
  options: DialOptions = {},
): Promise<{ ours: Conn; theirs: Conn }> {
  const { listener, next } = await listening(world, { host: "127.0.0.1", port: 0 });
  const ours = await world.net.dial(listener.address, options);
  const theirs = await next();
  listener.close();
  return { ours, theirs };
}

export function portOf({ address }: Listener): number {
  assert("port" in address);
  return address.port;
}

/** Reads everything up to the peer's end. */
export async function readAll(conn: Conn): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for (let bytes = await conn.read(); bytes !== null; bytes = await conn.read()) parts.push(bytes);
  return Buffer.concat(parts);
}

/**
 * Reads exactly `size` bytes in any number of reads. More bytes are an error of
 * the test.
 */
export async function readExactly(conn: Conn, size: number): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  while (length < size) {
    const bytes = await conn.read();
    assert(bytes !== null, `the connection ended after ${length} of ${size} bytes`);
    parts.push(bytes);
    length += bytes.length;
  }
  assert.equal(length, size);
  return Buffer.concat(parts);
}

/** Reads to the end, and keeps only the number of bytes and their SHA-256. */
export async function digest(conn: Conn): Promise<{ length: number; sha256: string }> {
  const hash = createHash("sha256");
  let length = 0;
  for (let bytes = await conn.read(); bytes !== null; bytes = await conn.read()) {
    hash.update(bytes);
    length += bytes.length;
  }
  return { length, sha256: hash.digest("hex") };
}

/**
 * Writes `size` bytes, without two equal blocks, in blocks of odd sizes.
 * Returns their SHA-256.
 */
export async function pour(conn: Conn, size: number): Promise<string> {
  const hash: Hash = createHash("sha256");
  for (let left = size, n = 0; left > 0; n++) {
    const block = Buffer.alloc(Math.min(left, 1 + ((n * 7919) % 300_000)), n);
    block.writeUInt8(n % 251, block.length - 1);
    hash.update(block);
    left -= block.length;
    await conn.write(block);
  }
  return hash.digest("hex");
}

export const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
export const textOf = (bytes: Uint8Array | null): string =>
  bytes === null ? "(end)" : Buffer.from(bytes).toString("latin1");

/**
 * Asserts that work fails with an NgrokdError of this code, even if it throws
 * at once. Returns the error.
 */
export async function rejects(code: ErrorCode, work: () => unknown): Promise<NgrokdError> {
  try {
    await work();
  } catch (error) {
    assert(error instanceof NgrokdError, `expected a NgrokdError, got ${error}`);
    assert.equal(error.code, code, error.message);
    return error;
  }
  assert.fail(`expected a NgrokdError "${code}", but it went well`);
}

/**
 * Settles with the promise, or fails after `ms`, for promises that could
 * otherwise hang the suite.
 */
export async function soon<T>(promise: Promise<T>, what: string, ms = 15_000): Promise<T> {
  const stop = new AbortController();
  const late = sleep(ms, undefined, { signal: stop.signal }).then(() =>
    assert.fail(`${what}: not within ${ms} ms`),
  );
  try {
    return await Promise.race([promise, late]);
  } finally {
    stop.abort();
    late.catch(() => undefined);
  }
}

/** Calls the probe again and again until it returns true. */
export async function until(
  what: string,
  ask: () => boolean | Promise<boolean>,
  ms = 15_000,
): Promise<void> {
  for (const end = Date.now() + ms; Date.now() < end; await sleep(10)) if (await ask()) return;
  assert.fail(`${what}: not within ${ms} ms`);
}

/** Open descriptors of this process; undefined on systems without /proc. */
export function descriptors(): number | undefined {
  try {
    return readdirSync("/proc/self/fd").length;
  } catch {
    return undefined;
  }
}

export { sleep };
