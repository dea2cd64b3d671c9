import { setImmediate } from "node:timers/promises";
import { z } from "zod";

/** The result of reading a body as a page of a list. */
export type PageRead<T> =
  /** `next` is "" on the last page. */
  | { readonly kind: "page"; readonly items: readonly T[]; readonly next: string }
  /** More items than the limit allows. */
  | { readonly kind: "too-long" }
  | { readonly kind: "no-list" }
  | { readonly kind: "no-json" };

/**
 * Reads a page of a list in pieces, and lets other work run between them. At
 * once, a page full of brackets would take seconds and gigabytes. `itemOf`
 * parses and validates the items, some at a time.
 */
export async function readPage<T>(
  bytes: Uint8Array,
  field: "endpoints" | "operators",
  itemOf: (item: unknown) => T,
  room: number,
): Promise<PageRead<T>> {
  const cutter = createCutter(bytes);
  for (let at = 0; at < bytes.length && !cutter.refuses; ) {
    if (at > 0) await setImmediate();
    at = cutter.walk(at, Math.min(at + walkBytes, bytes.length));
  }
  const frame = jsonIn(cutter.frame());
  if (cutter.refuses) return { kind: "no-list" };
  if (typeof frame !== "object" || frame === null) return { kind: "no-json" };
  const page = pageShape.safeParse(frame).data;
  const list = listShape.safeParse(page?.[field]).data;
  if (page === undefined || list === undefined) return { kind: "no-list" };
  const next = page.next_page_uri ?? "";
  const pieces = list === null ? [] : (cutter.lists[list[0]] ?? []);
  const items: T[] = [];
  for (const [i, { start, end }] of pieces.entries()) {
    if (i > 0) await setImmediate();
    const found = jsonIn(`[${textIn(bytes, start, end)}]`);
    // A comma without an item after it is not JSON. Only the first piece can be
    // empty.
    if (!Array.isArray(found) || (i > 0 && found.length === 0)) return { kind: "no-json" };
    if (items.length + found.length > room) return { kind: "too-long" };
    for (const [k, item] of found.entries()) {
      if (k > 0 && k % itemsAtOnce === 0) await setImmediate();
      items.push(itemOf(item));
    }
  }
  return { kind: "page", items, next };
}

/** Bytes that are scanned, and items that are validated, at once. */
const walkBytes = 512 * 1024;
const itemsAtOnce = 250;
/** A piece ends at the first comma after this number of bytes. */
const pieceBytes = 32 * 1024;
/**
 * Limits in bytes of one item, and of everything outside the lists. ngrok sends
 * far less.
 */
const itemLimit = 4 * 1024 * 1024;
const frameLimit = 64 * 1024;
const depthLimit = 100;

/** Some items of a list, with the commas between them. */
interface Piece {
  readonly start: number;
  readonly end: number;
}

interface Cutter {
  /** Scans from a position, and returns the next one. */
  walk(from: number, until: number): number;
  /** Too deep, an item too large, or too much outside the lists. */
  readonly refuses: boolean;
  /** The pieces of each list that is a value of the page itself. */
  readonly lists: readonly (readonly Piece[])[];
  /** The page's text, with `[n]` for the list n. */
  frame(): string;
}

/**
 * Finds the positions where a page can be cut. It knows no other rule of JSON.
 */
function createCutter(bytes: Uint8Array): Cutter {
  const lists: Piece[][] = [];
  const frame: string[] = [];
  let frameSize = 0;
  let frameFrom = 0;
  let pieceFrom = 0;
  let list: Piece[] | undefined;
  let depth = 0;
  let inString = false;
  let refuses = false;

  const addFrame = (end: number, more: string): void => {
    frameSize += end - frameFrom;
    if (frameSize > frameLimit) refuses = true;
    else frame.push(textIn(bytes, frameFrom, end), more);
  };
  const addPiece = (end: number): void => {
    if (end - pieceFrom > itemLimit) refuses = true;
    list?.push({ start: pieceFrom, end });
    pieceFrom = end + 1;
  };
  const open = (at: number): void => {
    addFrame(at + 1, `${lists.length}`);
    frameFrom = at + 1;
    list = [];
    lists.push(list);
    pieceFrom = at + 1;
  };
  const close = (at: number): void => {
    addPiece(at);
    list = undefined;
    frameFrom = at;
  };

  return {
    lists,
    get refuses() {
      return refuses;
    },
    walk(from, until) {
      let at = from;
      for (; at < until && !refuses; at++) {
        const byte = bytes[at];
        if (inString) {
          if (byte === char.backslash) at++;
          else if (byte === char.quote) inString = false;
        } else if (byte === char.quote) inString = true;
        else if (byte === char.openList || byte === char.openObject) {
          if (byte === char.openList && depth === 1) open(at);
          depth += 1;
          refuses ||= depth > depthLimit;
        } else if (byte === char.closeList || byte === char.closeObject) {
          depth -= 1;
          if (depth === 1 && list !== undefined) close(at);
        } else if (byte === char.comma && depth === 2 && list !== undefined) {
          if (at - pieceFrom >= pieceBytes) addPiece(at);
        }
      }
      return at;
    },
    frame() {
      addFrame(bytes.length, "");
      return frame.join("");
    },
  };
}

const char = {
  quote: 0x22,
  comma: 0x2c,
  openList: 0x5b,
  backslash: 0x5c,
  closeList: 0x5d,
  openObject: 0x7b,
  closeObject: 0x7d,
} as const;

const utf8 = new TextDecoder();
const textIn = (bytes: Uint8Array, start: number, end: number): string =>
  utf8.decode(bytes.subarray(start, end));

function jsonIn(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const pageShape = z.looseObject({ next_page_uri: z.string().nullish() });
/** A list of the frame; Go writes an empty one as null. */
const listShape = z.tuple([z.number()]).nullable();
