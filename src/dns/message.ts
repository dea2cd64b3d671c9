import { Buffer } from "node:buffer";
import packet from "dns-packet";

/** One question of a client, with all that its reply depends on. */
export interface Query {
  readonly id: number;
  /** The name as it was asked, with its upper and lower case. */
  readonly name: string;
  /** The numbers of RFC 1035; see {@link types}. */
  readonly type: number;
  readonly klass: number;
  /** Flags that a reply repeats: recursion desired, checking disabled. */
  readonly flags: number;
  /** The question's own bytes, which a reply repeats as they are. */
  readonly question: Uint8Array;
  /** The version of EDNS (RFC 6891); undefined without it. */
  readonly edns: number | undefined;
  /** The longest reply that the client takes in one datagram. */
  readonly room: number;
}

/** The meaning of a client's bytes. */
export type Reading =
  | { readonly kind: "query"; readonly query: Query }
  /** It cannot be answered; `reply` has the reason. */
  | { readonly kind: "bad"; readonly reply: Uint8Array }
  /** A reply to it could be answered again without end, or lead nowhere. */
  | { readonly kind: "none" };

/** A record of a reply. The owner is the question's name or its zone. */
export interface DnsRecord {
  readonly type: "A" | "AAAA" | "PTR" | "SOA";
  readonly data: string;
  /**
   * The owner of an `SOA` is the zone; that of other records is the question's
   * name.
   */
  readonly owner?: string;
}

export interface Reply {
  readonly rcode: number;
  readonly authoritative: boolean;
  readonly answers: readonly DnsRecord[];
  readonly authorities: readonly DnsRecord[];
}

export const types = { A: 1, SOA: 6, PTR: 12, AAAA: 28, IXFR: 251, AXFR: 252, ANY: 255 } as const;
export const classes = { IN: 1, ANY: 255 } as const;
export const rcodes = {
  NOERROR: 0,
  FORMERR: 1,
  SERVFAIL: 2,
  NXDOMAIN: 3,
  NOTIMP: 4,
  REFUSED: 5,
  BADVERS: 16,
} as const;

/** The time in seconds for which a client may keep a record. */
export const ttl = 5;
/** RFC 1035: a datagram without EDNS. */
const plainRoom = 512;
/** The size that the DNS flag day of 2020 recommends. */
const ednsRoom = 1232;
const headerSize = 12;

const response = 0x8000;
const opcodeMask = 0x7800;
const authoritative = 0x0400;
const truncated = 0x0200;
const recursionDesired = 0x0100;
const recursionAvailable = 0x0080;
const checkingDisabled = 0x0010;

/** Pure: reads a client's message. Never throws, whatever the bytes are. */
export function readQuery(bytes: Uint8Array): Reading {
  if (bytes.length < headerSize) return { kind: "none" };
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const flags = buffer.readUInt16BE(2);
  // An answer to an answer could go on for ever.
  if ((flags & response) !== 0) return { kind: "none" };
  const bad = (rcode: number): Reading => ({ kind: "bad", reply: headerOnly(buffer, rcode) });
  if ((flags & opcodeMask) !== 0) return bad(rcodes.NOTIMP);
  if (buffer.readUInt16BE(4) !== 1) return bad(rcodes.FORMERR);
  try {
    const { questions = [], additionals = [] } = packet.decode(buffer);
    const end = endOfQuestion(buffer);
    const options = additionals.filter((one) => one.type === "OPT");
    const [opt, another] = options;
    if (end === undefined || another !== undefined) return bad(rcodes.FORMERR);
    const name = questions[0]?.name ?? ".";
    return {
      kind: "query",
      query: {
        id: buffer.readUInt16BE(0),
        name: name === "." ? "" : name,
        type: buffer.readUInt16BE(end - 4),
        klass: buffer.readUInt16BE(end - 2),
        flags: flags & (recursionDesired | checkingDisabled),
        question: bytes.slice(headerSize, end),
        edns: opt?.ednsVersion,
        room:
          opt === undefined
            ? plainRoom
            : Math.min(ednsRoom, Math.max(plainRoom, opt.udpPayloadSize)),
      },
    };
  } catch {
    return bad(rcodes.FORMERR);
  }
}

/** Undefined for a name that is not a plain list of labels. */
function endOfQuestion(buffer: Buffer): number | undefined {
  let at = headerSize;
  for (;;) {
    const length = buffer.readUInt8(at);
    if (length > 63) return undefined;
    at += length + 1;
    if (length === 0) return at + 4 <= buffer.length ? at + 4 : undefined;
  }
}

/**
 * Pure: the bytes of a reply. A reply that is longer than `room` has no records
 * and the mark that the client should ask by TCP.
 */
export function writeReply(
  query: Query,
  reply: Reply,
  { room, recursion }: { readonly room: number; readonly recursion: boolean },
): Uint8Array {
  const whole = written(query, reply, recursion, false);
  if (whole.length <= room) return whole;
  return written(query, { ...reply, answers: [], authorities: [] }, recursion, true);
}

function written(query: Query, reply: Reply, recursion: boolean, isCut: boolean): Uint8Array {
  const { question, edns } = query;
  const records = [...reply.answers, ...reply.authorities].map((one) => recordBytes(query, one));
  const header = Buffer.alloc(headerSize);
  header.writeUInt16BE(query.id, 0);
  header.writeUInt16BE(
    response |
      query.flags |
      (reply.authoritative ? authoritative : 0) |
      (recursion ? recursionAvailable : 0) |
      (isCut ? truncated : 0) |
      (reply.rcode & 0xf),
    2,
  );
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(reply.answers.length, 6);
  header.writeUInt16BE(reply.authorities.length, 8);
  header.writeUInt16BE(edns === undefined ? 0 : 1, 10);
  const extra = edns === undefined ? [] : [optBytes(reply.rcode >> 4)];
  return Buffer.concat([header, question, ...records, ...extra]);
}

/**
 * The owner is written as a pointer into the question. So the client sees the
 * name in its own upper and lower case, and the record is short.
 */
function recordBytes(query: Query, record: DnsRecord): Buffer {
  const { type, owner } = record;
  const encoded = packet.encode({ answers: [encodable(record)] });
  return Buffer.concat([
    type === "SOA" ? ownerBytes(query, owner ?? "") : pointer(headerSize),
    // Behind the header and the root's name, which is one byte.
    encoded.subarray(headerSize + 1),
  ]);
}

function encodable({ type, data }: DnsRecord): packet.Answer {
  const common = { name: ".", ttl, class: "IN" } as const;
  if (type !== "SOA") return { ...common, type, data };
  return {
    ...common,
    type,
    data: {
      mname: data,
      rname: `hostmaster.${data}`,
      serial: 1,
      refresh: 3600,
      retry: 600,
      expire: 86_400,
      // How long a client may keep the answer that there is no record (RFC
      // 2308).
      minimum: ttl,
    },
  };
}

const pointer = (offset: number): Buffer => Buffer.from([0xc0 | (offset >> 8), offset & 0xff]);

/** The zone is the end of the question's name, so a pointer leads into it. */
function ownerBytes({ name, question }: Query, zone: string): Buffer {
  const length = question.length - 4;
  const cut = length - (zone.length + 2);
  const isEnd = name.toLowerCase() === zone || name.toLowerCase().endsWith(`.${zone}`);
  // A name with bytes that are no text has another length.
  if (isEnd && Buffer.byteLength(name) + 2 === length) return pointer(headerSize + cut);
  const encoded = packet.encode({ questions: [{ name: zone, type: "A" }] });
  return encoded.subarray(headerSize, -4);
}

/** Type, size of datagrams, upper part of the code, version, flags, length. */
function optBytes(extendedRcode: number): Buffer {
  const opt = Buffer.alloc(11);
  opt.writeUInt16BE(41, 1);
  opt.writeUInt16BE(ednsRoom, 3);
  opt.writeUInt8(extendedRcode, 5);
  return opt;
}

/** For bytes whose question cannot be read or repeated. */
function headerOnly(buffer: Buffer, rcode: number): Uint8Array {
  const reply = Buffer.alloc(headerSize);
  reply.writeUInt16BE(buffer.readUInt16BE(0), 0);
  const kept = buffer.readUInt16BE(2) & (opcodeMask | recursionDesired);
  reply.writeUInt16BE(response | kept | rcode, 2);
  return reply;
}
