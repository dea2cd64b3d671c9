import { NgrokdError } from "../model/error.ts";
import { quote } from "../model/parsed.ts";
import type { Caller } from "./caller.ts";
import type { Answer } from "./exchange.ts";
import { pageOf } from "./wire.ts";

/**
 * The last lists, by the URL of their first page. A page with the same bytes is
 * not parsed again. A list whose pages are all the same comes back as the same
 * array: by that, its reader sees that nothing has changed.
 */
export type ListMemory = Map<
  string,
  { readonly pages: readonly Page[]; readonly items: readonly unknown[] }
>;

interface Page {
  readonly bytes: Uint8Array;
  readonly items: readonly unknown[];
  readonly next: string;
}

export interface ListRequest<T> {
  /** How a message about a failure begins. */
  readonly action: string;
  /** The first page. */
  readonly url: URL;
  readonly field: "endpoints" | "operators";
  /** Pure; always the same one for a URL. */
  readonly itemOf: (item: unknown) => T;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Every item of every page. A part of a list would look like deletions, so one
 * bad page fails the whole. Rejects as `Api` says.
 */
export async function readList<T>(
  caller: Caller,
  memory: ListMemory,
  request: ListRequest<T>,
): Promise<readonly T[]> {
  const { action, url: first, signal } = request;
  const before = memory.get(first.href);
  const pages: Page[] = [];
  const seen = new Set<string>();
  let count = 0;
  for (let url: URL | undefined = first; url !== undefined; ) {
    seen.add(url.href);
    const answer = await caller.send({ action, method: "GET", url, signal });
    const page = pageIn(caller, request, answer, before?.pages[pages.length]);
    pages.push(page);
    count += page.items.length;
    url = page.next === "" ? undefined : nextPage(caller, action, url, page.next);
    if (url !== undefined) checkPaging(action, url, seen, count);
  }
  const isSame =
    before?.pages.length === pages.length && pages.every((page, i) => page === before.pages[i]);
  const items = isSame ? before.items : pages.flatMap((page) => page.items);
  memory.set(first.href, { pages, items });
  return items as readonly T[];
}

/** The page of before if it has the same bytes. */
function pageIn<T>(
  { parse }: Caller,
  { action, field, itemOf }: ListRequest<T>,
  answer: Answer,
  before: Page | undefined,
): Page {
  if (before !== undefined && Buffer.compare(before.bytes, answer.bytes) === 0) return before;
  const page = pageOf(parse(action, answer), field);
  if (page === undefined)
    throw new NgrokdError("api", `${action}: ngrok's answer has no list of ${field}`);
  return { bytes: answer.bytes, items: page.items.map(itemOf), next: page.next };
}

function checkPaging(action: string, next: URL, seen: ReadonlySet<string>, count: number): void {
  if (seen.has(next.href))
    throw new NgrokdError("protocol", `${action}: the pages lead in a circle`);
  if (seen.size === maxPages || count > maxItems) {
    throw new NgrokdError(
      "protocol",
      `${action}: the list does not end within ${maxPages} pages and ${maxItems} items`,
    );
  }
}

/**
 * `next_page_uri` is absolute, or relative to the base URL. The key never
 * follows it to another origin.
 */
function nextPage({ base, safe }: Caller, action: string, page: URL, next: string): URL {
  // A path without the base's own path, as a stand-in behind a prefix writes
  // it.
  const bare =
    next.startsWith("/") && !next.startsWith("//") && !(page.origin + next).startsWith(`${base}/`);
  const url = bare
    ? URL.parse(base + next)
    : URL.parse(next, next.startsWith("?") ? page.href : `${base}/`);
  if (url?.origin === page.origin) return url;
  throw new NgrokdError(
    "protocol",
    `${action}: the next page ${quote(safe(next))} is not at "${page.origin}", and the API key goes nowhere else`,
  );
}

const maxPages = 1000;
const maxItems = 100_000;
