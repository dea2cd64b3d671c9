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
import type { Naming } from "./naming.ts";
import { readHead } from "./request-head.ts";

/** The most bytes that are read before the name. */
export const longestGreeting = 64 * 1024;

/**
 * Pure: the name in the first bytes of a connection. The first `seen` of them
 * have been looked at before, without a result.
 */
export function nameIn(bytes: Uint8Array, seen = 0): Naming {
  if (bytes.length === 0) return { kind: "more", atLeast: 1 };
  if (bytes[0] === handshakeRecord) return nameInClientHello(bytes);
  const http2 = isHttp2(bytes);
  if (http2 === "perhaps") return { kind: "more", atLeast: prefaceOfHttp2.length };
  if (http2) return authorityInHttp2(bytes);
  const head = readHead(bytes, seen);
  switch (head.kind) {
    case "more":
      return { kind: "more", atLeast: bytes.length + 1 };
    case "head":
      return { kind: "http", host: head.host };
    case "bad":
      return { kind: "unreadable", reason: head.reason, http: true };
  }
}

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
  let seen = 0;
  let settingsSent = false;
  for (;;) {
    const chunk = await conn.read();
    if (chunk === null) return undefined;
    read.add(chunk);
    if (read.length <= seen) continue;
    const { bytes } = read;
    const naming = nameIn(bytes, seen);
    if (naming.kind !== "more") {
      const passed = settingsSent ? withoutAck(bytes) : bytes;
      if (passed !== undefined) return { naming, bytes: passed };
    }
    const needed = naming.kind === "more" ? naming.atLeast : bytes.length + 1;
    if (needed > longestGreeting) return { naming: tooLong, bytes };
    seen = needed - 1;
    if (!settingsSent && isHttp2(bytes) === true && mayWait(bytes)) {
      settingsSent = true;
      await conn.write(settingsFrame);
    }
  }
}

const tooLong = { kind: "unreadable", reason: "it names no host in its first 64 KiB" } as const;

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
