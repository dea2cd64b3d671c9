import { parseHostname } from "../../model/hostname.ts";
import { latin1 } from "../../model/latin1.ts";
import { type Named, type Naming, noName, unreadable } from "./naming.ts";

/** The record type of a TLS handshake, and so the first byte of TLS. */
export const handshakeRecord = 22;

/**
 * Pure: the name in a ClientHello (RFC 8446, RFC 6066). The message may be in
 * several records, and `bytes` may end anywhere.
 */
export function nameInClientHello(bytes: Uint8Array): Naming {
  const message = messageIn(bytes);
  if (!(message instanceof Uint8Array)) return message;
  const hello = new Reader(message);
  hello.skip(4 + 2 + 32); // The header of the message, the version, the random.
  hello.skip(hello.number(1)); // The session.
  hello.skip(hello.number(2)); // The cipher suites.
  hello.skip(hello.number(1)); // The compression methods.
  if (hello.atEnd) return hello.failed ? damaged : noName;
  const extensions = hello.part(hello.number(2));
  while (!extensions.atEnd) {
    const type = extensions.number(2);
    const extension = extensions.part(extensions.number(2));
    if (type === serverName && !extensions.failed) return nameInExtension(extension);
  }
  return hello.failed || extensions.failed ? damaged : noName;
}

const serverName = 0;
const hostNameType = 0;
const clientHello = 1;
const damaged = unreadable("its TLS ClientHello is damaged");

/**
 * The first handshake message in these records, or why there is none yet. A
 * record may have one byte, so each look must need many more bytes than the one
 * before.
 */
function messageIn(bytes: Uint8Array): Uint8Array | Naming {
  const parts: Uint8Array[] = [];
  let length = 0;
  let end = 4;
  for (let at = 0; length < end; ) {
    const start = at + 5;
    if (bytes.length < start) return more(start + end - length);
    const size = sizeOfRecord(bytes, at);
    if (size === undefined) return damaged;
    at = start + size;
    if (bytes.length < at) return more(Math.max(at, start + end - length));
    parts.push(bytes.subarray(start, at));
    if (length < 4 && length + size >= 4) {
      const header = new Reader(joined(parts));
      if (header.number(1) !== clientHello) return damaged;
      end = 4 + header.number(3);
    }
    length += size;
  }
  return joined(parts).subarray(0, end);
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const [first] = parts;
  return parts.length === 1 && first !== undefined ? first : Buffer.concat(parts);
}

const more = (atLeast: number): Naming => ({ kind: "more", atLeast, from: 0 });

/** Undefined if no header of a handshake record is there. */
function sizeOfRecord(bytes: Uint8Array, at: number): number | undefined {
  const size = (bytes[at + 3] ?? 0) * 256 + (bytes[at + 4] ?? 0);
  const isRight =
    bytes[at] === handshakeRecord && bytes[at + 1] === 3 && size > 0 && size <= 16_384;
  return isRight ? size : undefined;
}

function nameInExtension(extension: Reader): Naming {
  const names = extension.part(extension.number(2));
  while (!names.atEnd) {
    const type = names.number(1);
    const name = names.bytes(names.number(2));
    if (names.failed) return damaged;
    if (type === hostNameType) return { kind: "tls", host: namedIn(name) };
  }
  return damaged;
}

function namedIn(bytes: Uint8Array): Named {
  const name = parseHostname(latin1(bytes));
  return name.ok ? name.value : "";
}

/** Reads numbers and parts; a read beyond the end fails and returns nothing. */
class Reader {
  failed = false;
  private at = 0;
  private readonly source: Uint8Array;

  constructor(source: Uint8Array) {
    this.source = source;
  }

  get atEnd(): boolean {
    return this.failed || this.at >= this.source.length;
  }

  number(size: number): number {
    let sum = 0;
    const start = this.at;
    if (this.skip(size))
      for (let at = start; at < this.at; at += 1) sum = sum * 256 + (this.source[at] ?? 0);
    return sum;
  }

  bytes(size: number): Uint8Array {
    return this.skip(size) ? this.source.subarray(this.at - size, this.at) : nothing;
  }

  /** Returns false if there are not so many bytes. */
  skip(size: number): boolean {
    if (this.at + size > this.source.length) this.failed = true;
    if (!this.failed) this.at += size;
    return !this.failed;
  }

  part(size: number): Reader {
    return new Reader(this.bytes(size));
  }
}

const nothing = new Uint8Array(0);
