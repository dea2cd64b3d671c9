import type { Hostname } from "../../model/hostname.ts";
import { latin1 } from "../../model/latin1.ts";
import { quote } from "../../model/parsed.ts";
import { longestHead, type RequestHead, readHead, withHost } from "./request-head.ts";

/** What is asked of each request of a connection. */
export interface Manners {
  /** The only hosts that requests may name; undefined: any. */
  readonly only: readonly Hostname[] | undefined;
  /** Whether requests may name this host, as sent; undefined: any. */
  readonly mayName?: ((authority: string) => boolean) | undefined;
  /** The host that requests get; undefined: they keep theirs. */
  readonly rewrite: string | undefined;
}

/**
 * The requests of one HTTP/1 connection, as they pass. Pure but for its own
 * state.
 */
export interface RequestStream {
  /** Returns the bytes to pass on now. Without a change they are not copied. */
  take(bytes: Uint8Array): Uint8Array;
  /**
   * The client has finished. Returns the bytes of an unfinished head or line.
   * If requests are judged, it returns none: a server might read a request.
   */
  finish(): Uint8Array | undefined;
  /** Sees the server's bytes. Only the reply to a request to switch counts. */
  answer(bytes: Uint8Array): void;
  readonly state: StreamState;
  /** No later byte of either side will be looked at. */
  readonly isOpaque: boolean;
}

/** A request whose head was read before, at the start of these bytes. */
export interface FirstRequest {
  readonly head: RequestHead;
  readonly bytes: Uint8Array;
}

/**
 * `held`: bytes wait here until the server has answered a request to switch
 * protocols, and no more should be read. `over`: nothing more is passed on.
 */
export type StreamState =
  | { readonly kind: "open" | "held" }
  | { readonly kind: "over"; readonly reason: string };

/** Where the next byte of the client belongs. */
type Place =
  | { readonly kind: "head" | LineKind | "answer" | "opaque" }
  | { readonly kind: "body" | "chunk"; left: number };

/** The size of a chunk, the line end behind it, a line behind the last one. */
type LineKind = "chunk-line" | "chunk-end" | "trailer";

/**
 * A stream that is not HTTP as we know it ends, or passes unchanged if any host
 * may be named. If its first bytes are those of `first`, its head counts.
 */
export function createRequestStream(manners: Manners, first?: FirstRequest): RequestStream {
  return new Requests(manners, first);
}

class Requests implements RequestStream {
  private readonly manners: Manners;
  private first: FirstRequest | undefined;
  private place: Place = atHead;
  /** Bytes of an incomplete head or line. */
  private pending: Uint8Array = nothing;
  /** How many of them have no end of a head. */
  private seen = 0;
  private over: StreamState | undefined;
  private switches: RequestHead["switches"];
  /** A request has passed, and no byte of the server since. */
  private unanswered = false;
  private status: StatusWatch | undefined;
  /** A head that has another host than it was sent with. */
  private changed: Uint8Array | undefined;

  constructor(manners: Manners, first: FirstRequest | undefined) {
    this.manners = manners;
    this.first = first;
  }

  get state(): StreamState {
    const { over, place, pending } = this;
    return over ?? (place.kind === "answer" && pending.length > 0 ? held : open);
  }

  get isOpaque(): boolean {
    return this.place.kind === "opaque";
  }

  answer(bytes: Uint8Array): void {
    this.unanswered = false;
    const status = this.status?.see(bytes);
    if (status === undefined) return;
    const switched = this.switches === "upgrade" ? status === 101 : status >= 200 && status < 300;
    this.switches = undefined;
    this.status = undefined;
    if (switched) this.place = opaque;
    else if (this.place.kind === "answer") this.place = atHead;
  }

  take(bytes: Uint8Array): Uint8Array {
    const all = this.pending.length === 0 ? bytes : Buffer.concat([this.pending, bytes]);
    this.pending = nothing;
    // Most bytes are those of a long body, or pass untouched.
    const { place } = this;
    if (place.kind === "opaque") return all;
    if ((place.kind === "body" || place.kind === "chunk") && place.left > all.length) {
      place.left -= all.length;
      return all;
    }
    return this.passed(all);
  }

  /** Changed heads, and what lies between them. */
  private passed(all: Uint8Array): Uint8Array {
    const parts: Uint8Array[] = [];
    let [from, at] = [0, 0];
    while (at < all.length && this.over === undefined) {
      const rest = at === 0 ? all : all.subarray(at);
      const used = this.step(rest);
      if (used === undefined) {
        this.pending = rest;
        this.seen = this.place.kind === "head" ? rest.length : 0;
        break;
      }
      this.seen = 0;
      if (this.changed !== undefined) {
        parts.push(all.subarray(from, at), this.changed);
        this.changed = undefined;
        from = at + used;
      }
      at += used;
    }
    if (from === 0) return at === all.length ? all : all.subarray(0, at);
    return Buffer.concat([...parts, all.subarray(from, at)]);
  }

  finish(): Uint8Array | undefined {
    const { pending, manners } = this;
    this.pending = nothing;
    const judged = manners.only !== undefined || manners.mayName !== undefined;
    return judged || pending.length === 0 ? undefined : pending;
  }

  /** Returns the number of used bytes; undefined if more are needed. */
  private step(bytes: Uint8Array): number | undefined {
    const { place } = this;
    switch (place.kind) {
      case "opaque":
        return bytes.length;
      case "answer":
        return undefined;
      case "head":
        return this.head(bytes);
      case "body":
      case "chunk": {
        const used = Math.min(place.left, bytes.length);
        place.left -= used;
        if (place.left === 0) {
          if (place.kind === "chunk") this.place = atChunkEnd;
          else this.requestEnded();
        }
        return used;
      }
      case "chunk-line":
      case "chunk-end":
      case "trailer":
        return this.line(bytes, place.kind);
    }
  }

  private head(bytes: Uint8Array): number | undefined {
    const { only, mayName, rewrite } = this.manners;
    const head = this.headIn(bytes);
    if (head === undefined) return undefined;
    if (typeof head === "string") return this.give(head, bytes);
    if (only !== undefined && head.host !== undefined && !only.some((one) => one === head.host)) {
      return this.end(
        `it names ${head.host === "" ? "another host" : `the host "${head.host}"`} on a connection to "${only[0]}"`,
      );
    }
    if (head.authority !== undefined && mayName?.(head.authority) === false) {
      return this.end(
        `it names the host ${quote(head.authority)}, which is not the endpoint's; access.hosts can allow it`,
      );
    }
    if (head.switches !== undefined && this.unanswered)
      return this.give("it switches protocols before an earlier reply has come", bytes);
    if (rewrite !== undefined) this.changed = withHost(bytes.subarray(0, head.end), rewrite);
    this.unanswered = true;
    this.switches = head.switches;
    this.status = head.switches === undefined ? undefined : new StatusWatch();
    const { framing } = head;
    if (framing.kind === "chunked") this.place = atChunkLine;
    else if (framing.n > 0) this.place = { kind: "body", left: framing.n };
    else this.requestEnded();
    return head.end;
  }

  /** Undefined if more bytes are needed. A text says why it is not read. */
  private headIn(bytes: Uint8Array): RequestHead | string | undefined {
    const { first } = this;
    this.first = undefined;
    if (first?.bytes === bytes) return first.head;
    const head = readHead(bytes, this.seen);
    if (head.kind === "more") return undefined;
    return head.kind === "bad" ? head.reason : head;
  }

  private line(bytes: Uint8Array, kind: LineKind): number | undefined {
    const end = bytes.indexOf(0x0a) + 1;
    if (end === 0 && bytes.length <= longestLine) return undefined;
    const text = latin1(bytes, 0, end);
    const next = placeAfter(kind, text);
    if (typeof next === "string") return this.give(next, bytes);
    if (next === undefined) this.requestEnded();
    else this.place = next;
    return end;
  }

  private requestEnded(): void {
    this.place = this.switches === undefined ? atHead : atAnswer;
  }

  /** Gives up: what follows cannot be understood. */
  private give(reason: string, bytes: Uint8Array): number | undefined {
    if (this.manners.only !== undefined) return this.end(reason);
    this.place = opaque;
    return bytes.length;
  }

  private end(reason: string): undefined {
    this.over = { kind: "over", reason };
  }
}

const open: StreamState = { kind: "open" };
const held: StreamState = { kind: "held" };
const atHead: Place = { kind: "head" };
const atChunkLine: Place = { kind: "chunk-line" };
const atChunkEnd: Place = { kind: "chunk-end" };
const atAnswer: Place = { kind: "answer" };
const opaque: Place = { kind: "opaque" };

/**
 * Pure: the place behind a line of a body; undefined at the end of the body.
 * For a line that is not valid, a text says so.
 */
function placeAfter(kind: LineKind, text: string): Place | string | undefined {
  if (kind === "chunk-end")
    return text === "\r\n" ? atChunkLine : "a chunk has another length than its size";
  if (!/^[^\r\n]*\r\n$/.test(text)) return "a line of its body is not valid";
  if (kind === "trailer") return text === "\r\n" ? undefined : { kind };
  const size = /^([\da-f]{1,12})[ \t]*(?:;.*)?\r\n$/i.exec(text)?.[1];
  if (size === undefined) return "the size of a chunk is not valid";
  const left = Number.parseInt(size, 16);
  return left === 0 ? { kind: "trailer" } : { kind: "chunk", left };
}

/** The most bytes of a line in a body. */
const longestLine = 8 * 1024;

/** Reads the status of one reply. Interim replies come before it. */
class StatusWatch {
  private text = "";

  /** Undefined until the status is known; 0 if this is no reply. */
  see(bytes: Uint8Array): number | undefined {
    this.text += latin1(bytes);
    for (;;) {
      const code = /^HTTP\/1\.[01] (\d{3})/.exec(this.text)?.[1];
      if (code === undefined) return this.text.length < 12 ? undefined : 0;
      const status = Number(code);
      if (status >= 200 || status === 101) return status;
      const end = this.text.indexOf("\r\n\r\n");
      if (end < 0) return this.text.length > longestHead ? 0 : undefined;
      this.text = this.text.slice(end + 4);
    }
  }
}

const nothing = new Uint8Array(0);
