/**
 * linux/ has messages of Linux's kernel, as bytes and values. Everything in
 * this room is pure. This file is for netlink(7) and rtnetlink(7). All numbers
 * are in the byte order of this machine; those that Bun and Deno run on are
 * little-endian.
 */

/** One message of a reply. */
export interface NetlinkMessage {
  readonly type: number;
  /** The content after the header. */
  readonly body: Uint8Array;
}

/** The messages of a reply, up to its end or its error. */
export interface NetlinkReply {
  readonly messages: readonly NetlinkMessage[];
  /** The number of the error; 0 if there is none. */
  readonly errno: number;
}

const headerLength = 16;
const [errorType, doneType] = [2, 3];

/** NLM_F_REQUEST and NLM_F_ACK; the others by name. */
const requestFlags = 0x1 | 0x4;
export const netlinkFlags = {
  dump: 0x300,
  create: 0x400,
  exclusive: 0x200,
  append: 0x800,
} as const;

export interface NetlinkRequest {
  readonly type: number;
  /** Of {@link netlinkFlags}, beside a request with an acknowledgement. */
  readonly flags?: number;
  /** The fixed part, such as a struct rtmsg. */
  readonly head: Uint8Array;
  readonly attributes?: readonly Attribute[];
}

export interface Attribute {
  readonly type: number;
  readonly value: Uint8Array;
}

export function netlinkBytes({
  type,
  flags = 0,
  head,
  attributes = [],
}: NetlinkRequest): Uint8Array {
  const rest = attributeBytes(attributes);
  const bytes = new Uint8Array(headerLength + aligned(head.length) + rest.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, bytes.length, true);
  view.setUint16(4, type, true);
  view.setUint16(6, requestFlags | flags, true);
  view.setUint32(8, 1, true);
  bytes.set(head, headerLength);
  bytes.set(rest, headerLength + aligned(head.length));
  return bytes;
}

function attributeBytes(attributes: readonly Attribute[]): Uint8Array {
  const parts = attributes.map(({ type, value }) => {
    const part = new Uint8Array(aligned(4 + value.length));
    const view = new DataView(part.buffer);
    view.setUint16(0, 4 + value.length, true);
    view.setUint16(2, type, true);
    part.set(value, 4);
    return part;
  });
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

/**
 * The messages in one datagram. `end` is undefined if further datagrams follow;
 * otherwise it is the number of the error, or 0.
 */
export function messagesIn(datagram: Uint8Array): {
  readonly messages: readonly NetlinkMessage[];
  readonly end: number | undefined;
} {
  const messages: NetlinkMessage[] = [];
  const view = viewOf(datagram);
  for (let at = 0; at + headerLength <= datagram.length; ) {
    const length = view.getUint32(at, true);
    if (length < headerLength || at + length > datagram.length) break;
    const type = view.getUint16(at + 4, true);
    const body = datagram.subarray(at + headerLength, at + length);
    if (type === errorType || type === doneType)
      return { messages, end: body.length < 4 ? 0 : Math.abs(viewOf(body).getInt32(0, true)) };
    messages.push({ type, body });
    at += aligned(length);
  }
  return { messages, end: undefined };
}

/** The attributes after the first `skip` bytes; the last of a type counts. */
export function attributesIn(body: Uint8Array, skip: number): ReadonlyMap<number, Uint8Array> {
  const found = new Map<number, Uint8Array>();
  const view = viewOf(body);
  for (let at = aligned(skip); at + 4 <= body.length; ) {
    const length = view.getUint16(at, true);
    if (length < 4 || at + length > body.length) break;
    // The two highest bits are flags.
    found.set(view.getUint16(at + 2, true) & 0x3fff, body.subarray(at + 4, at + length));
    at += aligned(length);
  }
  return found;
}

/** A number of 32 bits as the value of an attribute, and back. */
export const u32 = (n: number): Uint8Array => new Uint8Array(Uint32Array.of(n).buffer);
export const numberIn = (value: Uint8Array | undefined): number | undefined =>
  value === undefined || value.length < 4 ? undefined : viewOf(value).getUint32(0, true);

const aligned = (length: number): number => (length + 3) & ~3;
const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
