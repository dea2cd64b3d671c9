import { indexOfText, latin1 } from "../model/latin1.ts";
import type { Budget } from "./budget.ts";
import type { Framing } from "./heads.ts";

/** Receives the messages of one direction, in order. */
export interface Messages {
  /**
   * The head without the empty line, and its size with that. Returns how the
   * body ends, or the reason if the head is not understood.
   */
  head(text: string, size: number): Framing | string;
  /** The next bytes of the body; they stay the sender's. */
  body(bytes: Uint8Array): void;
  end(): void;
}

/**
 * The reason if a message cannot begin with these bytes. It must be undefined
 * for each head that is understood.
 */
export type Beginning = (text: string) => string | undefined;

/** Where the next byte belongs. */
type Place =
  | { readonly kind: "head" | LineKind | "close" | "opaque" }
  | { readonly kind: "length" | "chunk"; left: number };

/** The size of a chunk, the line end behind it, a line behind the last one. */
type LineKind = "chunk-line" | "chunk-end" | "trailer";

/**
 * Cuts the bytes of one direction of an HTTP/1 connection into messages, in
 * whatever pieces they come. It holds an unfinished head or line, and nothing
 * else.
 */
export class Scanner {
  private readonly messages: Messages;
  private readonly beginning: Beginning;
  private readonly gathered: Gathered;
  private place: Place = atHead;

  constructor(messages: Messages, beginning: Beginning, budget: Budget) {
    this.messages = messages;
    this.beginning = beginning;
    this.gathered = new Gathered(budget);
  }

  /** Whether only the end of the connection ends the message. */
  get untilClose(): boolean {
    return this.place.kind === "close";
  }

  /** Returns the reason if these bytes are not understood. */
  take(bytes: Uint8Array): string | undefined {
    // Most bytes are those of a long body: they cost a comparison.
    const { place } = this;
    if ((place.kind === "length" || place.kind === "chunk") && place.left > bytes.length) {
      place.left -= bytes.length;
      this.messages.body(bytes);
      return undefined;
    }
    for (let rest = bytes; rest.length > 0; ) {
      const used = this.step(rest);
      if (typeof used === "string") return used;
      if (used === rest.length) return undefined;
      rest = rest.subarray(used);
    }
    return undefined;
  }

  /** Gives back what it holds, and reads nothing more. */
  stop(): void {
    this.place = atEnd;
    this.gathered.clear();
  }

  /** Returns the number of used bytes, or the reason. */
  private step(bytes: Uint8Array): number | string {
    const { place } = this;
    switch (place.kind) {
      case "opaque":
        return bytes.length;
      case "close":
        this.messages.body(bytes);
        return bytes.length;
      case "length":
      case "chunk": {
        const used = Math.min(place.left, bytes.length);
        this.messages.body(used === bytes.length ? bytes : bytes.subarray(0, used));
        place.left -= used;
        if (place.left === 0) {
          if (place.kind === "chunk") this.place = atChunkEnd;
          else this.ended();
        }
        return used;
      }
      case "head":
        return this.head(bytes);
      case "chunk-line":
      case "chunk-end":
      case "trailer":
        return this.line(bytes, place.kind);
    }
  }

  private head(bytes: Uint8Array): number | string {
    // Servers skip empty lines before a request.
    if (this.gathered.length === 0 && (bytes[0] === 0x0d || bytes[0] === 0x0a)) return 1;
    const found = this.gathered.until("\r\n\r\n", bytes, longestHead);
    if (typeof found === "string") return `a head is ${found}`;
    if (found.text === undefined) return this.beginning(this.gathered.start(40)) ?? found.used;
    const { text, used } = found;
    const framing = this.messages.head(text.slice(0, -4), text.length);
    if (typeof framing === "string") return this.beginning(text.slice(0, 40)) ?? framing;
    if (framing.kind === "length" && framing.n === 0) this.ended();
    else if (framing.kind === "length") this.place = { kind: "length", left: framing.n };
    else this.place = framing.kind === "chunked" ? atChunkLine : { kind: framing.kind };
    return used;
  }

  private line(bytes: Uint8Array, kind: LineKind): number | string {
    const found = this.gathered.until("\n", bytes, longestLine);
    if (typeof found === "string") return `a line of a body is ${found}`;
    const { text, used } = found;
    if (text === undefined) return used;
    const next = placeAfter(kind, text);
    if (typeof next === "string") return next;
    if (next === undefined) this.ended();
    else this.place = next;
    return used;
  }

  private ended(): void {
    this.place = atHead;
    this.messages.end();
  }
}

const atHead: Place = { kind: "head" };
const atEnd: Place = { kind: "opaque" };
const atChunkLine: Place = { kind: "chunk-line" };
const atChunkEnd: Place = { kind: "chunk-end" };

const longestHead = 64 * 1024;
const longestLine = 8 * 1024;

/**
 * Pure: the place behind a line of a body; undefined at the end of the body.
 * For a line that is not valid, a text says so.
 */
function placeAfter(kind: LineKind, text: string): Place | string | undefined {
  if (kind === "chunk-end")
    return text === "\r\n" ? atChunkLine : "a chunk has another length than its size";
  if (!/^[^\r\n]*\r\n$/.test(text)) return "a line of a body is not valid";
  if (kind === "trailer") return text === "\r\n" ? undefined : { kind };
  const size = /^([\da-f]{1,12})[ \t]*(?:;.*)?\r\n$/i.exec(text)?.[1];
  if (size === undefined) return "the size of a chunk is not valid";
  const left = Number.parseInt(size, 16);
  return left === 0 ? { kind: "trailer" } : { kind: "chunk", left };
}

/** Bytes of an unfinished head or line, in one buffer that doubles. */
class Gathered {
  length = 0;
  private readonly budget: Budget;
  private buffer = nothing;

  constructor(budget: Budget) {
    this.budget = budget;
  }

  start(length: number): string {
    return this.buffer.toString("latin1", 0, Math.min(length, this.length));
  }

  /**
   * The text up to the end of `mark`, and how many of `bytes` it uses. Without
   * the mark, all bytes are kept and there is no text. A text alone is the
   * reason if that cannot be.
   */
  until(mark: string, bytes: Uint8Array, most: number): Found | string {
    if (this.length === 0) {
      const at = indexOfText(bytes, mark);
      const end = at + mark.length;
      if (at >= 0 && at < most) return { text: latin1(bytes, 0, end), used: end };
    }
    const before = this.length;
    const added = bytes.subarray(0, most + mark.length - before);
    if (!this.add(added)) return "not kept, since there is no memory for it";
    const from = Math.max(0, before - mark.length + 1);
    const at = this.buffer.subarray(0, this.length).indexOf(mark, from, "latin1");
    if (at >= 0) {
      const end = at + mark.length;
      const text = this.buffer.toString("latin1", 0, end);
      this.clear();
      return { text, used: end - before };
    }
    return this.length >= most + mark.length
      ? `longer than ${most / 1024} KiB`
      : { text: undefined, used: added.length };
  }

  clear(): void {
    this.budget.give(this.buffer.length);
    this.buffer = nothing;
    this.length = 0;
  }

  private add(bytes: Uint8Array): boolean {
    const length = this.length + bytes.length;
    if (length > this.buffer.length) {
      const size = Math.max(length, 2 * this.buffer.length, 256);
      if (!this.budget.take(size - this.buffer.length)) return false;
      const wider = Buffer.allocUnsafeSlow(size);
      this.buffer.copy(wider, 0, 0, this.length);
      this.buffer = wider;
    }
    this.buffer.set(bytes, this.length);
    this.length = length;
    return true;
  }
}

type Found = { readonly text: string | undefined; readonly used: number };

const nothing = Buffer.alloc(0);
