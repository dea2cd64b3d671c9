/**
 * greet/ finds the endpoint of a connection that comes to a shared door: by
 * the SNI of TLS, or the Host of HTTP. Nothing is decrypted, and every byte
 * that was read is passed on.
 */
import type { NgrokdError } from "../../model/error.ts";
import type { Conn, Waiter } from "../../net/types.ts";
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
import { type RequestHead, readHead } from "./request-head.ts";

/** The most bytes that are read before the name. */
export const longestGreeting = 64 * 1024;
/**
 * The most bytes before the ACK of our SETTINGS. Until a client has read those,
 * it may send 64 KiB of a body behind its greeting.
 */
const longestBeforeAck = 2 * longestGreeting;

/**
 * Pure: the name in the first bytes of a connection, with the head of an HTTP/1
 * request, so that it is not read twice. `from` is that of the look before,
 * which had no result.
 */
export function lookAt(bytes: Uint8Array, from = 0): { naming: Naming; head?: RequestHead } {
  if (bytes.length === 0) return { naming: { kind: "more", ...firstLook } };
  if (bytes[0] === handshakeRecord) return { naming: nameInClientHello(bytes) };
  const http2 = isHttp2(bytes);
  if (http2 === "perhaps")
    return { naming: { kind: "more", atLeast: prefaceOfHttp2.length, from: 0 } };
  if (http2) return { naming: authorityInHttp2(bytes, from) };
  const head = readHead(bytes, from);
  switch (head.kind) {
    case "more":
      return { naming: { kind: "more", atLeast: bytes.length + 1, from: bytes.length } };
    case "head":
      return { naming: { kind: "http", host: head.host }, head };
    case "bad":
      return { naming: { kind: "unreadable", reason: head.reason, http: true } };
  }
}

const firstLook: Look = { atLeast: 1, from: 0 };

/** A decided naming, with the bytes that were read for it. */
export interface Greeted {
  readonly naming: Exclude<Naming, { kind: "more" }>;
  readonly bytes: Uint8Array;
  /** Of the first request, if it is HTTP/1. */
  readonly head?: RequestHead | undefined;
}

/** Receives the result of a greeting, once. The methods must not throw. */
export interface GreetingUser {
  greeted(greeted: Greeted): void;
  /** The client has finished, or its connection is broken. */
  left(error: NgrokdError | undefined): void;
}

/**
 * Reads until the name is known. Clients of gRPC send no request before they
 * have the server's SETTINGS, so an HTTP/2 client gets empty ones. Every client
 * of a shared door has a greeting, so it is one object and no promise.
 */
export const greet = (conn: Conn, user: GreetingUser): void => new Greeting(conn, user).goOn();

class Greeting implements Waiter {
  private readonly conn: Conn;
  private readonly user: GreetingUser;
  private readonly read = new Gathered();
  private look = firstLook;
  /** The client has our SETTINGS; `named` waits for the ACK of them. */
  private settingsSent = false;
  private named: Greeted["naming"] | undefined;

  constructor(conn: Conn, user: GreetingUser) {
    this.conn = conn;
    this.user = user;
  }

  goOn(): void {
    let found: Greeted | "waits" | "left";
    try {
      found = this.next();
    } catch (error) {
      this.failed(error as NgrokdError);
      return;
    }
    if (found === "left") this.user.left(undefined);
    else if (found !== "waits") this.user.greeted(found);
  }

  arrived(bytes: Uint8Array | null): void {
    if (bytes === null) {
      this.user.left(undefined);
      return;
    }
    this.read.add(bytes);
    this.goOn();
  }

  drained(): void {
    this.goOn();
  }

  moved(): void {}

  failed(error: NgrokdError): void {
    this.user.left(error);
  }

  /** Reads and looks until there is a result, or something to wait for. */
  private next(): Greeted | "waits" | "left" {
    const { conn, read } = this;
    for (;;) {
      while (read.length < this.look.atLeast) {
        const chunk = conn.readFor(this);
        if (chunk === undefined) return "waits";
        if (chunk === null) return "left";
        read.add(chunk);
      }
      const { bytes } = read;
      const { named } = this;
      const found = named === undefined ? this.decided(bytes) : this.acknowledged(bytes, named);
      if (found !== undefined) return found;
      if (this.settingsSent || isHttp2(bytes) !== true || !mayWait(bytes)) continue;
      this.settingsSent = true;
      if (!conn.writeFor(settingsFrame, this)) return "waits";
    }
  }

  private decided(bytes: Uint8Array): Greeted | undefined {
    const { naming, head } = lookAt(bytes, this.look.from);
    if (naming.kind === "http2" && this.settingsSent) {
      this.named = naming;
      this.look = firstLook;
      return this.acknowledged(bytes, naming);
    }
    if (naming.kind !== "more") return { naming, bytes, head };
    this.look = naming;
    return naming.atLeast > longestGreeting ? { naming: tooLong, bytes } : undefined;
  }

  /** The ACK of our SETTINGS is left out. */
  private acknowledged(bytes: Uint8Array, naming: Greeted["naming"]): Greeted | undefined {
    const found = withoutAck(bytes, this.look.from);
    if (found instanceof Uint8Array) return { naming, bytes: found };
    this.look = found;
    return found.atLeast > longestBeforeAck ? { naming: unanswered, bytes } : undefined;
  }
}

const tooLong = unreadable("it names no host in its first 64 KiB");
const unanswered = unreadable("it does not answer our HTTP/2 SETTINGS");

/** Bytes in one buffer, which doubles: many small segments cost little. */
class Gathered {
  length = 0;
  private buffer = new Uint8Array(0);

  get bytes(): Uint8Array {
    const { buffer, length } = this;
    return buffer.length === length ? buffer : buffer.subarray(0, length);
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
