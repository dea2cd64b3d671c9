import { type Look, type Named, type Naming, unreadable } from "./naming.ts";
import { namedIn } from "./request-head.ts";

/** The first bytes of HTTP/2 without TLS (RFC 9113, section 3.4). */
export const prefaceOfHttp2 = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");

/** An empty SETTINGS frame, for clients that wait for the server's. */
export const settingsFrame = new Uint8Array([0, 0, 0, 4, 0, 0, 0, 0, 0]);

/** Whether these are the first bytes of HTTP/2. */
export function isHttp2(bytes: Uint8Array): boolean | "perhaps" {
  const length = Math.min(bytes.length, prefaceOfHttp2.length);
  for (let at = 0; at < length; at += 1) if (bytes[at] !== prefaceOfHttp2[at]) return false;
  return length === prefaceOfHttp2.length ? true : "perhaps";
}

interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly start: number;
  readonly end: number;
  readonly payload: Uint8Array;
}

const types = { headers: 1, settings: 4, continuation: 9 } as const;
const flags = { ack: 0x1, endHeaders: 0x4, padded: 0x8, priority: 0x20 } as const;

/** The whole frames from a place on; the first is behind the preface. */
function* framesIn(bytes: Uint8Array, from: number): Generator<Frame, Look> {
  for (let at = Math.max(from, prefaceOfHttp2.length); ; ) {
    const [a = 0, b = 0, c = 0, type = 0, flags = 0] = bytes.subarray(at, at + 9);
    const end = at + 9 + a * 65_536 + b * 256 + c;
    if (bytes.length < at + 9) return { atLeast: at + 9, from: at };
    if (bytes.length < end) return { atLeast: end, from: at };
    yield { type, flags, start: at, end, payload: bytes.subarray(at + 9, end) };
    at = end;
  }
}

/**
 * The most frames of one header block. The 64 KiB of a greeting fit into five
 * large ones.
 */
const mostFragments = 16;

/**
 * Pure: the host in the first request of a connection. Before `from` there are
 * only whole frames of other kinds.
 */
export function authorityInHttp2(bytes: Uint8Array, from: number): Naming {
  const block: Uint8Array[] = [];
  let first = 0;
  const frames = framesIn(bytes, from);
  for (;;) {
    const { done, value } = frames.next();
    if (done) return { kind: "more", ...value, ...(block.length > 0 && { from: first }) };
    const { type, flags: set, payload, start } = value;
    if (block.length === 0) {
      if (type !== types.headers) continue;
      first = start;
      block.push(fragmentIn(payload, set));
    } else {
      if (type !== types.continuation) return unreadable("its HTTP/2 headers are damaged");
      if (block.length === mostFragments)
        return unreadable("its HTTP/2 headers are in too many frames");
      block.push(payload);
    }
    if ((set & flags.endHeaders) !== 0)
      return { kind: "http2", host: authorityIn(Buffer.concat(block)) };
  }
}

/** Pure: whether the client has sent its SETTINGS, and may wait for ours. */
export const mayWait = (bytes: Uint8Array): boolean => !(framesIn(bytes, 0).next().done ?? false);

/**
 * Pure: the bytes without the first SETTINGS ACK, which is not before `from`.
 * Only the client and we know of {@link settingsFrame}, and the server must not
 * get the ACK of it. The next look if there is none yet.
 */
export function withoutAck(bytes: Uint8Array, from: number): Uint8Array | Look {
  const frames = framesIn(bytes, from);
  for (;;) {
    const { done, value } = frames.next();
    if (done) return value;
    const { type, flags: set, start, end } = value;
    if (type === types.settings && (set & flags.ack) !== 0)
      return Buffer.concat([bytes.subarray(0, start), bytes.subarray(end)]);
  }
}

/** A HEADERS frame without its padding and priority. */
function fragmentIn(payload: Uint8Array, set: number): Uint8Array {
  const padded = (set & flags.padded) !== 0;
  const start = (padded ? 1 : 0) + ((set & flags.priority) !== 0 ? 5 : 0);
  return payload.subarray(start, payload.length - (padded ? (payload[0] ?? 0) : 0));
}

/**
 * The host in the first header block of a connection (HPACK, RFC 7541). Values
 * of other fields are skipped, so no table is needed: the first block refers
 * to nothing earlier.
 */
function authorityIn(block: Uint8Array): Named {
  const source = new Hpack(block);
  let host: Named;
  while (!source.atEnd) {
    const first = source.peek();
    if (first >= 0x80) source.integer(7);
    else if (first >= 0x20 && first < 0x40) source.integer(5);
    else {
      const index = source.integer(first >= 0x40 ? 6 : 4);
      const name = index === 0 ? source.text() : names[index];
      const value = source.text();
      if (name === ":authority") return namedIn(value);
      if (name === "host") host = namedIn(value);
    }
  }
  return host;
}

/** Of the static table, by index. */
const names: Readonly<Record<number, string>> = { 1: ":authority", 38: "host" };

class Hpack {
  private at = 0;
  private readonly source: Uint8Array;

  constructor(source: Uint8Array) {
    this.source = source;
  }

  get atEnd(): boolean {
    return this.at >= this.source.length;
  }

  peek(): number {
    return this.source[this.at] ?? 0;
  }

  /** An integer whose first `bits` are in this byte. */
  integer(bits: number): number {
    const most = 2 ** bits - 1;
    let value = this.byte() & most;
    if (value < most) return value;
    for (let factor = 1; factor < 2 ** 28; factor *= 128) {
      const byte = this.byte();
      value += (byte & 127) * factor;
      if (byte < 128) break;
    }
    return value;
  }

  /** Undefined if it has characters that no host name has. */
  text(): string | undefined {
    const coded = this.peek() >= 0x80;
    const length = this.integer(7);
    const bytes = this.source.subarray(this.at, this.at + length);
    this.at += length;
    return coded ? decoded(bytes) : Buffer.from(bytes).toString("latin1");
  }

  private byte(): number {
    const byte = this.peek();
    this.at += 1;
    return byte;
  }
}

/**
 * The characters whose Huffman codes have 5, 6, 7 and 8 bits, in the order of
 * their codes. All characters of host names are among them.
 */
const byLength: Readonly<Record<number, string>> = {
  5: "012aceiost",
  6: " %-./3456789=A_bdfghlmnpru",
  7: ":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz",
  8: "&*,;XZ",
};

/**
 * The characters by their codes with a 1 before the first bit. The codes are
 * canonical: those of one length follow each other.
 */
const characters: readonly (string | undefined)[] = tableOf(byLength);

function tableOf(lengths: Readonly<Record<number, string>>): string[] {
  const table: string[] = [];
  let code = 0;
  for (const [bits, text] of Object.entries(lengths)) {
    for (const character of text) {
      table[2 ** Number(bits) + code] = character;
      code += 1;
    }
    code *= 2;
  }
  return table;
}

function decoded(bytes: Uint8Array): string | undefined {
  let text = "";
  let code = 1;
  for (const byte of bytes) {
    for (let bit = 7; bit >= 0; bit -= 1) {
      code = code * 2 + ((byte >> bit) & 1);
      const character = characters[code];
      if (character !== undefined) {
        text += character;
        code = 1;
      } else if (code > 511) return undefined;
    }
  }
  // The rest of the last byte is filled with ones.
  return Number.isInteger(Math.log2(code + 1)) ? text : undefined;
}
