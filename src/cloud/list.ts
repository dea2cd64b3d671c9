import { createHash } from "node:crypto";
import { NgrokdError } from "../model/error.ts";
import { quote } from "../model/parsed.ts";
import type { Caller } from "./caller.ts";
import { type Answer, notNgroksHint } from "./exchange.ts";
import { readPage } from "./page.ts";

/**
 * The last lists, by the URL of their first page. A page with the same bytes is
 * not parsed again. If all pages of a list are the same, the list is the same
 * array, so a reader can tell that nothing has changed.
 */
export type ListMemory = Map<
  string,
  { readonly pages: readonly Page[]; readonly items: readonly unknown[] }
>;

interface Page {
  /** The digest of the page's bytes, which are not kept. */
  readonly digest: string;
  readonly items: readonly unknown[];
  readonly next: string;
}

export interface ListRequest<T> {
  /** The beginning of a message about a failure. */
  readonly action: string;
  /** The first page. */
  readonly url: URL;
  readonly field: "endpoints" | "operators";
  /** Pure; always the same function for a URL. */
  readonly itemOf: (item: unknown) => T;
  readonly signal?: AbortSignal | undefined;
}

/**
 * All items of all pages. A part of a list would look like deletions. So one
 * bad page fails the whole list, and so does a list over a limit. Rejects as
 * `Api` does.
 */
export async function readList<T>(
  caller: Caller,
  memory: ListMemory,
  request: ListRequest<T>,
): Promise<readonly T[]> {
  const { action, url: first, signal } = request;
  const before = memory.get(first.href);
  const began = performance.now();
  const pages: Page[] = [];
  const seen = new Set<string>();
  let bytes = 0;
  let count = 0;
  for (let url: URL | undefined = first; url !== undefined; ) {
    seen.add(url.href);
    const answer = await caller.send({
      action,
      method: "GET",
      url,
      signal,
      maxBytes: caller.maxPageBytes,
    });
    bytes += answer.bytes.length;
    if (bytes > maxBytes) throw tooLong(action, `${maxBytes / 1024 / 1024} MiB`);
    const page = await pageIn(caller, request, answer, before?.pages[pages.length], count);
    pages.push(page);
    count += page.items.length;
    if (count > maxItems) throw tooLong(action, `${maxItems} items`);
    url = page.next === "" ? undefined : nextPage(caller, action, url, page.next);
    if (url !== undefined) checkPaging(caller, action, url, seen, performance.now() - began);
  }
  const isSame =
    before?.pages.length === pages.length && pages.every((page, i) => page === before.pages[i]);
  const items = isSame ? before.items : pages.flatMap((page) => page.items);
  memory.set(first.href, { pages, items });
  return items as readonly T[];
}

/** The previous page if it has the same bytes. */
async function pageIn<T>(
  caller: Caller,
  { action, field, itemOf }: ListRequest<T>,
  answer: Answer,
  before: Page | undefined,
  count: number,
): Promise<Page> {
  const digest = createHash("sha256").update(answer.bytes).digest("base64");
  if (before?.digest === digest) return before;
  const page = await readPage(answer.bytes, field, itemOf, maxItems - count);
  switch (page.kind) {
    case "page":
      return { digest, items: page.items, next: page.next };
    case "too-long":
      throw tooLong(action, `${maxItems} items`);
    case "no-list":
      throw new NgrokdError("api", `${action}: ngrok's answer has no list of ${field}`, {
        hint: notNgroksHint,
      });
    case "no-json":
      throw caller.nonsense(action, answer);
  }
}

function tooLong(action: string, limit: string): NgrokdError {
  return new NgrokdError("protocol", `${action}: the list has more than ${limit}`, {
    hint: "`bound_endpoints.selectors` makes the list of endpoints shorter; served endpoints stay",
  });
}

function checkPaging(
  { listTimeoutMs }: Caller,
  action: string,
  next: URL,
  seen: ReadonlySet<string>,
  tookMs: number,
): void {
  const wrong = (what: string) =>
    new NgrokdError("protocol", `${action}: ${what}`, { hint: notNgroksHint });
  if (seen.has(next.href)) throw wrong("the pages lead in a circle");
  if (seen.size === maxPages) throw wrong(`the list does not end within ${maxPages} pages`);
  if (tookMs > listTimeoutMs) {
    throw new NgrokdError(
      "timeout",
      `${action}: "${next.origin}" has not sent all pages within ${listTimeoutMs / 1000} s`,
      { hint: notNgroksHint },
    );
  }
}

/**
 * `next_page_uri` is absolute, or relative to the base URL. The key is never
 * sent to another origin.
 */
function nextPage({ base, safe }: Caller, action: string, page: URL, next: string): URL {
  // A path without the base's own path, as a stand-in behind a prefix sends it.
  const bare =
    next.startsWith("/") && !next.startsWith("//") && !(page.origin + next).startsWith(`${base}/`);
  const url = bare
    ? URL.parse(base + next)
    : URL.parse(next, next.startsWith("?") ? page.href : `${base}/`);
  if (url?.origin === page.origin) return url;
  throw new NgrokdError(
    "protocol",
    `${action}: the next page ${quote(safe(next))} is not at "${page.origin}", and the API key goes nowhere else`,
    { hint: notNgroksHint },
  );
}

/** The limit of pages in one list. */
const maxPages = 1000;
const maxItems = 50_000;
const maxBytes = 64 * 1024 * 1024;
