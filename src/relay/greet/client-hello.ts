import { parseHostname } from "../../model/hostname.ts";
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
    const size = sizeOfRecord(bytes.subarray(at, start));
    if (size === undefined) return damaged;
    at = start + size;
    if (bytes.length < at) return more(Math.max(at, start + end - length));
    parts.push(bytes.subarray(start, at));
    if (length < 4 && length + size >= 4) {
      const header = new Reader(Buffer.concat(parts));
      if (header.number(1) !== clientHello) return damaged;
      end = 4 + header.number(3);
    }
    length += size;
  }
  const [first] = parts;
  return (parts.length === 1 && first !== undefined ? first : Buffer.concat(parts)).subarray(
    0,
    end,
  );
}

const more = (atLeast: number): Naming => ({ kind: "more", atLeast, from: 0 });

/** Undefined if this is no header of a handshake record. */
function sizeOfRecord(header: Uint8Array): number | undefined {
  const [type, major, , high = 0, low = 0] = header;
  const size = high * 256 + low;
  const isRight = type === handshakeRecord && major === 3 && size > 0 && size <= 16_384;
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
  const name = parseHostname(Buffer.from(bytes).toString("latin1"));
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
    return this.bytes(size).reduce((sum, byte) => sum * 256 + byte, 0);
  }

  bytes(size: number): Uint8Array {
    if (this.at + size > this.source.length) this.failed = true;
    if (this.failed) return new Uint8Array(0);
    this.at += size;
    return this.source.subarray(this.at - size, this.at);
  }

  skip(size: number): void {
    this.bytes(size);
  }

  part(size: number): Reader {
    return new Reader(this.bytes(size));
  }
}
