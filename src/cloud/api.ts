import type { ApiKey } from "../model/api-key.ts";
import type { ApiEndpoint } from "../model/endpoint.ts";
import { NgrokdError, oneLine } from "../model/error.ts";
import { quote } from "../model/parsed.ts";
import { type Answer, createExchange, type Fetch, type Outgoing } from "./exchange.ts";
import { bodyText, jsonOf, refusal } from "./refusal.ts";
import {
  endpointOf,
  isOperatorId,
  type Operator,
  type OperatorPatch,
  type OperatorRequest,
  operatorOf,
  pageOf,
} from "./wire.ts";

/**
 * ngrok's REST API, as far as it is used (docs/protocol.md, "ngrok's API").
 * Nothing is retried. Every call rejects with NgrokdError: `network`, `timeout`
 * (30 s a request, body included), `cancelled` or the signal's own,
 * `unauthorized`, `not-found`, `rate-limited`, `api` (any other refusal or
 * nonsense), `protocol` (a redirect, paging that leads astray, a body over 64
 * MiB), `state` (an id that is none). The details of refusals are those of
 * `refusal`. The key is in none of them.
 */
export interface Api {
  /**
   * Asks for one operator and drops the answer: settles if ngrok accepts the
   * key.
   */
  checkKey(signal?: AbortSignal): Promise<void>;
  createOperator(request: OperatorRequest, signal?: AbortSignal): Promise<Operator>;
  getOperator(id: string, signal?: AbortSignal): Promise<Operator>;
  /** With `binding.csr`, the answer carries a freshly signed certificate. */
  updateOperator(id: string, patch: OperatorPatch, signal?: AbortSignal): Promise<Operator>;
  deleteOperator(id: string, signal?: AbortSignal): Promise<void>;
  /** All of the account's; items without a usable id are left out. */
  operators(signal?: AbortSignal): Promise<Operator[]>;
  /**
   * What is bound to this operator; can lag behind deletions. Items that make
   * no sense come as endpoints without id and URL.
   */
  boundEndpoints(operatorId: string, signal?: AbortSignal): Promise<readonly ApiEndpoint[]>;
  /** All endpoints of the account, bound or not. */
  endpoints(signal?: AbortSignal): Promise<readonly ApiEndpoint[]>;
}

/**
 * The lists as they were last, by the URL of their first page. A page with the
 * same bytes is not read again, and a list of which every page is the same
 * comes back as the same array: that is how its reader sees that nothing has
 * changed.
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

export interface ApiOptions {
  /** `https://api.ngrok.com`, or a stand-in's; a path in it is kept. */
  readonly url: string;
  readonly key: ApiKey;
  /** `ngrokd/<version> (<os>; <arch>)` */
  readonly userAgent: string;
  readonly fetch?: Fetch;
  /** Deadline of one request with its body; 30,000 ms unless told. */
  readonly timeoutMs?: number;
  /** Limit of one body; 64 MiB unless told. */
  readonly maxBytes?: number;
  /** Outlives the api: an empty one at first. */
  readonly memory?: ListMemory;
}

/** Throws NgrokdError `config` where `url` is not an http(s) URL. */
export function createApi(options: ApiOptions): Api {
  const {
    url,
    key,
    userAgent,
    fetch,
    timeoutMs = 30_000,
    maxBytes = 64 * 1024 * 1024,
    memory = new Map() as ListMemory,
  } = options;
  const base = baseUrl(url);
  // ngrok's own texts quote the credential that they refuse (ERR_NGROK_202,
  // 203, 206, 207).
  const safe = (text: string): string => short(text.replaceAll(key, "[API key]"));
  const exchange = createExchange({
    fetch: fetch ?? ((to, init) => globalThis.fetch(to, init)),
    headers: {
      accept: "application/json",
      authorization: `Bearer ${key}`,
      "ngrok-version": "2",
      "user-agent": userAgent,
    },
    timeoutMs,
    maxBytes,
    safe,
  });

  return {
    async checkKey(signal) {
      await call({
        action: "Cannot check the API key",
        method: "GET",
        url: at("/kubernetes_operators?limit=1"),
        signal,
      });
    },
    createOperator: (body, signal) =>
      operator({
        action: "Cannot register this machine",
        method: "POST",
        url: at("/kubernetes_operators"),
        body,
        signal,
      }),
    getOperator: async (id, signal) =>
      operator({
        action: `Cannot look up the operator ${quote(id)}`,
        method: "GET",
        url: atOperator(id),
        signal,
      }),
    updateOperator: async (id, body, signal) =>
      operator({
        action: `Cannot update the operator ${quote(id)}`,
        method: "PATCH",
        url: atOperator(id),
        body,
        signal,
      }),
    async deleteOperator(id, signal) {
      await send({
        action: `Cannot delete the operator ${quote(id)}`,
        method: "DELETE",
        url: atOperator(id),
        signal,
      });
    },
    async operators(signal) {
      const found = await list(
        "Cannot list the account's operators",
        at("/kubernetes_operators"),
        "operators",
        operatorOf,
        signal,
      );
      return found.filter((item) => item !== undefined);
    },
    boundEndpoints: async (id, signal) =>
      list(
        `Cannot list the endpoints bound to ${quote(id)}`,
        atOperator(id, "/bound_endpoints"),
        "endpoints",
        endpointOf,
        signal,
      ),
    endpoints: (signal) =>
      list(
        "Cannot list the account's endpoints",
        at("/endpoints"),
        "endpoints",
        endpointOf,
        signal,
      ),
  };

  function at(path: string): URL {
    return new URL(base + path);
  }

  /**
   * An id that is none, such as "" or "..", would make another call out of this
   * one.
   */
  function atOperator(id: string, rest = ""): URL {
    if (isOperatorId(id)) return at(`/kubernetes_operators/${id}${rest}`);
    throw new NgrokdError(
      "state",
      `Cannot ask for the operator ${quote(id)}: this is not an operator id`,
    );
  }

  async function operator(outgoing: Outgoing): Promise<Operator> {
    const found = operatorOf(await call(outgoing));
    if (found === undefined)
      throw new NgrokdError("api", `${outgoing.action}: ngrok's answer carries no operator id`);
    return found;
  }

  async function call(outgoing: Outgoing): Promise<unknown> {
    return parse(outgoing.action, await send(outgoing));
  }

  function parse(action: string, answer: Answer): object {
    const json = jsonOf(answer.text);
    if (typeof json === "object" && json !== null) return json;
    throw new NgrokdError(
      "api",
      `${action}: ${quote(base)} answered ${answer.status} ${bodyText(answer)}`,
      {
        hint: "this does not look like ngrok's API: check `api.url` in the configuration, and proxies on the way",
        details: { status: answer.status },
      },
    );
  }

  async function send(outgoing: Outgoing): Promise<Answer> {
    const answer = await exchange(outgoing);
    if (answer.status >= 200 && answer.status < 300) return answer;
    if (answer.status >= 400) throw refusal(outgoing.action, answer, safe);
    const to = answer.headers.get("location") ?? "";
    throw new NgrokdError(
      "protocol",
      `${outgoing.action}: ${quote(base)} redirects to ${quote(safe(to))}, and the API key goes nowhere else`,
      {
        hint: "if that is the right address, set it as `api.url` in the configuration",
        details: { status: answer.status },
      },
    );
  }

  /**
   * Every item of every page. A part of a list would look like deletions, so
   * one bad page fails the whole.
   */
  async function list<T>(
    action: string,
    first: URL,
    field: "endpoints" | "operators",
    itemOf: (item: unknown) => T,
    signal: AbortSignal | undefined,
  ): Promise<readonly T[]> {
    const before = memory.get(first.href);
    const pages: Page[] = [];
    const seen = new Set<string>();
    let count = 0;
    for (let url: URL | undefined = first; url !== undefined; ) {
      seen.add(url.href);
      const answer = await send({ action, method: "GET", url, signal });
      const known = before?.pages[pages.length];
      const page =
        known !== undefined && Buffer.compare(known.bytes, answer.bytes) === 0
          ? known
          : readPage(answer);
      pages.push(page);
      count += page.items.length;
      url = page.next === "" ? undefined : nextPage(action, url, page.next);
      if (url !== undefined && seen.has(url.href))
        throw new NgrokdError("protocol", `${action}: the pages lead in a circle`);
      if (url !== undefined && (seen.size === maxPages || count > maxItems)) {
        throw new NgrokdError(
          "protocol",
          `${action}: the list does not end within ${maxPages} pages and ${maxItems} items`,
        );
      }
    }
    const same =
      before?.pages.length === pages.length && pages.every((page, i) => page === before.pages[i]);
    const items = same ? before.items : pages.flatMap((page) => page.items);
    memory.set(first.href, { pages, items });
    // What a URL answers is read in one way only.
    return items as readonly T[];

    function readPage(answer: Answer): Page {
      const page = pageOf(parse(action, answer), field);
      if (page === undefined)
        throw new NgrokdError("api", `${action}: ngrok's answer has no list of ${field}`);
      return { bytes: answer.bytes, items: page.items.map(itemOf), next: page.next };
    }
  }

  /**
   * `next_page_uri` is absolute or relative to the base URL; the key never
   * follows it to another origin.
   */
  function nextPage(action: string, page: URL, next: string): URL {
    // A path that leaves out the base's own, as a stand-in behind a prefix
    // would write it.
    const bare =
      next.startsWith("/") &&
      !next.startsWith("//") &&
      !(page.origin + next).startsWith(`${base}/`);
    const url = bare
      ? URL.parse(base + next)
      : URL.parse(next, next.startsWith("?") ? page.href : `${base}/`);
    if (url?.origin === page.origin) return url;
    throw new NgrokdError(
      "protocol",
      `${action}: the next page ${quote(safe(next))} is not at "${page.origin}", and the API key goes nowhere else`,
    );
  }
}

const maxPages = 1000;
const maxItems = 100_000;

/** Without a slash at the end. */
function baseUrl(text: string): string {
  const url = URL.parse(text);
  if (url?.protocol === "http:" || url?.protocol === "https:")
    return url.origin + url.pathname.replace(/\/+$/, "");
  throw new NgrokdError(
    "config",
    `Cannot use ${quote(text)} as the address of ngrok's API: it is not an http or https URL`,
    {
      hint: "`api.url` in the configuration is https://api.ngrok.com unless you run your own stand-in",
    },
  );
}

/** At most 500 characters in one line. */
function short(text: string): string {
  const line = oneLine(text.slice(0, 2000));
  return line.length > 500 ? `${line.slice(0, 497)}...` : line;
}
