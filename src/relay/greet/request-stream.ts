import type { Hostname } from "../../model/hostname.ts";
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
  /** Returns the bytes to pass on now. */
  take(bytes: Uint8Array): readonly Uint8Array[];
  /**
   * The client has finished. Returns the bytes of an unfinished head or line.
   * If requests are judged, it returns none: a server might read a request.
   */
  finish(): Uint8Array | undefined;
  /** Sees the server's bytes. Only the reply to a request to switch counts. */
  answer(bytes: Uint8Array): void;
  readonly state: StreamState;
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
  | { readonly kind: "head" }
  | { readonly kind: "body"; readonly left: number }
  | { readonly kind: LineKind }
  | { readonly kind: "chunk"; readonly left: number }
  | { readonly kind: "answer" }
  | { readonly kind: "opaque" };

/** The size of a chunk, the line end behind it, a line behind the last one. */
type LineKind = "chunk-line" | "chunk-end" | "trailer";

/**
 * A stream that is not HTTP as we know it ends, or passes unchanged if any host
 * may be named.
 */
export function createRequestStream(manners: Manners): RequestStream {
  return new Requests(manners);
}

class Requests implements RequestStream {
  private readonly manners: Manners;
  private place: Place = { kind: "head" };
  /** Bytes of an incomplete head or line. */
  private pending: Uint8Array = nothing;
  /** How many of them have no end of a head. */
  private seen = 0;
  private over: string | undefined;
  private switches: RequestHead["switches"];
  /** A request has passed, and no byte of the server since. */
  private unanswered = false;
  private readonly status = new StatusWatch();

  constructor(manners: Manners) {
    this.manners = manners;
  }

  get state(): StreamState {
    if (this.over !== undefined) return { kind: "over", reason: this.over };
    const held = this.place.kind === "answer" && this.pending.length > 0;
    return { kind: held ? "held" : "open" };
  }

  answer(bytes: Uint8Array): void {
    this.unanswered = false;
    if (this.switches === undefined) return;
    const status = this.status.see(bytes);
    if (status === undefined) return;
    const switched = this.switches === "upgrade" ? status === 101 : status >= 200 && status < 300;
    this.switches = undefined;
    if (switched) this.place = { kind: "opaque" };
    else if (this.place.kind === "answer") this.place = { kind: "head" };
  }

  take(bytes: Uint8Array): readonly Uint8Array[] {
    const passed: Uint8Array[] = [];
    let rest = this.pending.length === 0 ? bytes : Buffer.concat([this.pending, bytes]);
    this.pending = nothing;
    while (rest.length > 0 && this.over === undefined) {
      const used = this.step(rest, passed);
      if (used === undefined) {
        this.pending = rest;
        this.seen = this.place.kind === "head" ? rest.length : 0;
        break;
      }
      rest = rest.subarray(used);
      this.seen = 0;
    }
    return passed;
  }

  finish(): Uint8Array | undefined {
    const { pending, manners } = this;
    this.pending = nothing;
    const judged = manners.only !== undefined || manners.mayName !== undefined;
    return judged || pending.length === 0 ? undefined : pending;
  }

  /** Returns the number of used bytes; undefined if more are needed. */
  private step(bytes: Uint8Array, passed: Uint8Array[]): number | undefined {
    const { place } = this;
    switch (place.kind) {
      case "opaque":
        passed.push(bytes);
        return bytes.length;
      case "answer":
        return undefined;
      case "head":
        return this.head(bytes, passed);
      case "body":
      case "chunk": {
        const used = Math.min(place.left, bytes.length);
        passed.push(bytes.subarray(0, used));
        const left = place.left - used;
        if (left > 0) this.place = { kind: place.kind, left };
        else if (place.kind === "chunk") this.place = { kind: "chunk-end" };
        else this.requestEnded();
        return used;
      }
      case "chunk-line":
      case "chunk-end":
      case "trailer":
        return this.line(bytes, place.kind, passed);
    }
  }

  private head(bytes: Uint8Array, passed: Uint8Array[]): number | undefined {
    const { only, mayName, rewrite } = this.manners;
    const head = readHead(bytes, this.seen);
    if (head.kind === "more") return undefined;
    if (head.kind === "bad") return this.give(head.reason, bytes, passed);
    if (only !== undefined && head.host !== undefined && !only.some((one) => one === head.host)) {
      this.over = `it names ${head.host === "" ? "another host" : `the host "${head.host}"`} on a connection to "${only[0]}"`;
      return undefined;
    }
    if (head.authority !== undefined && mayName?.(head.authority) === false) {
      this.over = `it names the host ${quote(head.authority)}, which is not the endpoint's; access.hosts can allow it`;
      return undefined;
    }
    if (head.switches !== undefined && this.unanswered)
      return this.give("it switches protocols before an earlier reply has come", bytes, passed);
    const raw = bytes.subarray(0, head.end);
    passed.push(rewrite === undefined ? raw : withHost(raw, rewrite));
    this.unanswered = true;
    this.switches = head.switches;
    this.status.reset();
    const { framing } = head;
    if (framing.kind === "chunked") this.place = { kind: "chunk-line" };
    else if (framing.n > 0) this.place = { kind: "body", left: framing.n };
    else this.requestEnded();
    return head.end;
  }

  private line(bytes: Uint8Array, kind: LineKind, passed: Uint8Array[]): number | undefined {
    const end = bytes.indexOf(0x0a) + 1;
    if (end === 0 && bytes.length <= longestLine) return undefined;
    const text = Buffer.from(bytes.subarray(0, end)).toString("latin1");
    const next = placeAfter(kind, text);
    if (typeof next === "string") return this.give(next, bytes, passed);
    passed.push(bytes.subarray(0, end));
    if (next === undefined) this.requestEnded();
    else this.place = next;
    return end;
  }

  private requestEnded(): void {
    this.place = { kind: this.switches === undefined ? "head" : "answer" };
  }

  /** Gives up: what follows cannot be understood. */
  private give(reason: string, bytes: Uint8Array, passed: Uint8Array[]): number | undefined {
    if (this.manners.only !== undefined) {
      this.over = reason;
      return undefined;
    }
    this.place = { kind: "opaque" };
    passed.push(bytes);
    return bytes.length;
  }
}

/**
 * Pure: the place behind a line of a body; undefined at the end of the body.
 * For a line that is not valid, a text says so.
 */
function placeAfter(kind: LineKind, text: string): Place | string | undefined {
  if (kind === "chunk-end")
    return text === "\r\n" ? { kind: "chunk-line" } : "a chunk has another length than its size";
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

  reset(): void {
    this.text = "";
  }

  /** Undefined until the status is known; 0 if this is no reply. */
  see(bytes: Uint8Array): number | undefined {
    this.text += Buffer.from(bytes).toString("latin1");
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
