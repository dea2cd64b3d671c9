/**
 * greet/ finds the endpoint of a connection that comes to a shared door: by
 * the SNI of TLS, or the Host of HTTP. Nothing is decrypted, and every byte
 * that was read is passed on.
 */
import type { Conn } from "../../net/types.ts";
import { handshakeRecord, nameInClientHello } from "./client-hello.ts";
import {
  authorityInHttp2,
  isHttp2,
  mayWait,
  prefaceOfHttp2,
  settingsFrame,
  withoutAck,
} from "./http2.ts";
import { type Look, type Naming, unreadable } from "./naming.ts";
import { readHead } from "./request-head.ts";

/** The most bytes that are read before the name. */
export const longestGreeting = 64 * 1024;
/**
 * The most bytes before the ACK of our SETTINGS. Until a client has read those,
 * it may send 64 KiB of a body behind its greeting.
 */
const longestBeforeAck = 2 * longestGreeting;

/**
 * Pure: the name in the first bytes of a connection. `from` is that of the look
 * before, which had no result.
 */
export function nameIn(bytes: Uint8Array, from = 0): Naming {
  if (bytes.length === 0) return { kind: "more", ...firstLook };
  if (bytes[0] === handshakeRecord) return nameInClientHello(bytes);
  const http2 = isHttp2(bytes);
  if (http2 === "perhaps") return { kind: "more", atLeast: prefaceOfHttp2.length, from: 0 };
  if (http2) return authorityInHttp2(bytes, from);
  const head = readHead(bytes, from);
  switch (head.kind) {
    case "more":
      return { kind: "more", atLeast: bytes.length + 1, from: bytes.length };
    case "head":
      return { kind: "http", host: head.host };
    case "bad":
      return { kind: "unreadable", reason: head.reason, http: true };
  }
}

const firstLook: Look = { atLeast: 1, from: 0 };

/** A decided naming, with the bytes that were read for it. */
export interface Greeted {
  readonly naming: Exclude<Naming, { kind: "more" }>;
  readonly bytes: Uint8Array;
}

/**
 * Reads until the name is known. Undefined if the client finishes before that.
 * Rejects as {@link Conn.read} does. Clients of gRPC send no request before
 * they have the server's SETTINGS, so an HTTP/2 client gets empty ones.
 */
export async function greet(conn: Conn): Promise<Greeted | undefined> {
  const read = new Gathered();
  let look = firstLook;
  let settingsSent = false;
  while (await readFor(look, conn, read)) {
    const { bytes } = read;
    const naming = nameIn(bytes, look.from);
    if (naming.kind === "http2" && settingsSent) return await acknowledged(conn, read, naming);
    if (naming.kind !== "more") return { naming, bytes };
    look = naming;
    if (look.atLeast > longestGreeting) return { naming: tooLong, bytes };
    if (!settingsSent && isHttp2(bytes) === true && mayWait(bytes)) {
      settingsSent = true;
      await conn.write(settingsFrame);
    }
  }
  return undefined;
}

/** Reads until the ACK of our SETTINGS, and leaves it out. */
async function acknowledged(
  conn: Conn,
  read: Gathered,
  naming: Greeted["naming"],
): Promise<Greeted | undefined> {
  let look = firstLook;
  while (await readFor(look, conn, read)) {
    const found = withoutAck(read.bytes, look.from);
    if (found instanceof Uint8Array) return { naming, bytes: found };
    look = found;
    if (look.atLeast > longestBeforeAck) return { naming: unanswered, bytes: read.bytes };
  }
  return undefined;
}

/** False if the client finishes before that. */
async function readFor({ atLeast }: Look, conn: Conn, read: Gathered): Promise<boolean> {
  while (read.length < atLeast) {
    const chunk = await conn.read();
    if (chunk === null) return false;
    read.add(chunk);
  }
  return true;
}

const tooLong = unreadable("it names no host in its first 64 KiB");
const unanswered = unreadable("it does not answer our HTTP/2 SETTINGS");

/** Bytes in one buffer, which doubles: many small segments cost little. */
class Gathered {
  length = 0;
  private buffer = new Uint8Array(0);

  get bytes(): Uint8Array {
    return this.buffer.subarray(0, this.length);
  }

  add(chunk: Uint8Array): void {
    const length = this.length + chunk.length;
    if (this.length === 0) this.buffer = chunk as Uint8Array<ArrayBuffer>;
    else if (length > this.buffer.length) {
      const wider = new Uint8Array(2 * length);
      wider.set(this.bytes);
      this.buffer = wider;
    }
    if (this.length > 0) this.buffer.set(chunk, this.length);
    this.length = length;
  }
}
