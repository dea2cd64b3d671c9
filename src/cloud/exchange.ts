// ofetch: one client for Bun and Deno that works over a fetch of our own.

import { createFetch } from "ofetch";
import { readLimited } from "../files/limited.ts";
import { onAbort } from "../model/abort.ts";
import { NgrokdError, withoutAdvice } from "../model/error.ts";

/**
 * A server's answer with any status. The body is complete and within the limit.
 */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  /** The body; empty if there was none. */
  readonly bytes: Uint8Array;
  /** The body as UTF-8. */
  readonly text: string;
}

export interface Outgoing {
  /**
   * The beginning of a message about a failure, such as `Cannot register this
   * machine`.
   */
  readonly action: string;
  readonly method: "GET" | "POST" | "PATCH" | "DELETE";
  readonly url: URL;
  readonly body?: object;
  /** A limit for this answer alone. */
  readonly maxBytes?: number;
  readonly signal?: AbortSignal;
}

/** What to do if an answer is not as ngrok's API gives it. */
export const notNgroksHint =
  "this does not look like ngrok's API: check `api.url` in the configuration, and proxies on the way";

/** The part of the web's fetch in use; tests pass their own. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

export interface ExchangeOptions {
  readonly fetch: Fetch;
  readonly headers: Readonly<Record<string, string>>;
  /**
   * The deadline of one request, from its start to the last byte of the body.
   * Milliseconds.
   */
  readonly timeoutMs: number;
  /** The limit of a body, unless a request has its own. */
  readonly maxBytes: number;
  /** Makes a text from outside fit for a message. */
  readonly safe: (text: string) => string;
}

/**
 * One HTTP request with a deadline and a limit on the body. A redirect comes
 * back as an answer, since following it could send the headers to another
 * server. Nothing is retried. Rejects with NgrokdError `network`
 * (`details.kind`: "refused", "name", "tls", "cut", "garbled" or "other"),
 * `timeout`, `protocol` (body too large), or the reason of
 * {@link Outgoing.signal} (`cancelled` if that is not an NgrokdError).
 */
export function createExchange(options: ExchangeOptions): (outgoing: Outgoing) => Promise<Answer> {
  const send = createFetch({ fetch: options.fetch as typeof fetch });
  return async ({ action, method, url, body, signal, maxBytes = options.maxBytes }) => {
    const cancelled = (): NgrokdError =>
      signal?.reason instanceof NgrokdError
        ? signal.reason
        : new NgrokdError("cancelled", `${action}: cancelled`);
    if (signal?.aborted) throw cancelled();
    const request = new AbortController();
    // Raced, and also passed to fetch: so even a stuck body ends at the
    // deadline.
    const stopped = Promise.withResolvers<never>();
    const stop = (error: NgrokdError): void => {
      stopped.reject(error);
      request.abort(error);
    };
    const late = (): void =>
      stop(
        new NgrokdError(
          "timeout",
          `${action}: "${url.origin}" did not answer within ${options.timeoutMs / 1000} s`,
          { hint: wayHint },
        ),
      );
    const timer = setTimeout(late, options.timeoutMs);
    const unhook = onAbort(signal, () => stop(cancelled()));
    try {
      return await Promise.race([answerOf(), stopped.promise]);
    } catch (error) {
      throw error instanceof NgrokdError ? error : networkFailure(action, url, error, options.safe);
    } finally {
      clearTimeout(timer);
      unhook();
    }

    async function answerOf(): Promise<Answer> {
      const response = await send.raw<unknown, "stream">(url.href, {
        method,
        headers: options.headers,
        body,
        signal: request.signal,
        redirect: "manual",
        retry: false,
        ignoreResponseError: true,
        responseType: "stream",
        ...alwaysVerified,
      });
      const bytes =
        response.body === null ? new Uint8Array(0) : await readLimited(response.body, maxBytes);
      if (bytes === undefined) {
        request.abort();
        throw new NgrokdError(
          "protocol",
          `${action}: "${url.origin}" answered with more than ${maxBytes} bytes`,
          { hint: notNgroksHint },
        );
      }
      const { status, headers } = response;
      return {
        status,
        headers,
        bytes,
        get text() {
          return new TextDecoder().decode(bytes);
        },
      };
    }
  };
}

/**
 * With NODE_TLS_REJECT_UNAUTHORIZED=0 in the environment, Bun's fetch would
 * otherwise skip verification and send the API key to any server. Deno has no
 * such switch and ignores the option.
 */
const alwaysVerified = { tls: { rejectUnauthorized: true } };

/**
 * Without a `cause`: the runtimes' errors can contain the request with its
 * headers, and so the API key.
 */
function networkFailure(
  action: string,
  url: URL,
  error: unknown,
  safe: (text: string) => string,
): NgrokdError {
  const chain = causes(error);
  const text = chain.map(({ code, message }) => `${code} ${message}`).join("\n");
  const kind = kinds.find(({ pattern }) => pattern.test(text)) ?? {
    kind: "other",
    said: "the request failed",
    pattern: /./,
  };
  const plain = kind.kind !== "tls" && kind.kind !== "other";
  const ours = chain.find(({ own }) => own !== undefined)?.own;
  const reason =
    plain && ours === undefined
      ? ""
      : `: ${safe(ours?.message ?? withoutAdvice(chain.at(-1)?.message ?? String(error)))}`;
  const what =
    kind.kind === "garbled"
      ? `the answer of "${url.origin}" is no valid HTTP`
      : `cannot reach "${url.origin}", ${kind.said}${reason}`;
  return new NgrokdError("network", `${action}: ${what}`, {
    hint: ours?.hint ?? kind.hint ?? wayHint,
    details: { kind: kind.kind },
  });
}

interface Kind {
  readonly kind: string;
  readonly said: string;
  readonly pattern: RegExp;
  readonly hint?: string;
}

const wayHint =
  "check this machine's network, `api.url` in the configuration, and proxies on the way";

/** Bun's errors have codes, Deno's have words. */
const kinds: readonly Kind[] = [
  {
    kind: "tls",
    said: "TLS failed",
    pattern:
      /\b[A-Z_]*(?:CERT|ISSUER|SELF_SIGNED)[A-Z_]*\b|EPROTO|certificate|InvalidContentType|handshake/,
    hint: "does a proxy on the way inspect TLS? Name its CA's PEM file in NODE_EXTRA_CA_CERTS (under Deno: DENO_CERT)",
  },
  {
    kind: "refused",
    said: "connection refused",
    pattern: /ECONNREFUSED|ConnectionRefused|Connection refused/,
  },
  {
    kind: "name",
    said: "its name cannot be resolved",
    pattern: /ENOTFOUND|EAI_AGAIN|dns error|getaddrinfo|Cannot look up/,
    hint: "is this machine online, and does its DNS work?",
  },
  {
    kind: "cut",
    said: "the connection was cut",
    pattern: /ECONNRESET|EPIPE|closed before|reading a body|socket hang up|reset by peer/,
  },
  {
    kind: "garbled",
    said: "its answer is no valid HTTP",
    pattern:
      /Malformed_HTTP|InvalidHTTP|InvalidContentLength|UnrequestedUpgrade|Zlib|Brotli|Decompress|HPE_|Parse Error|invalid HTTP|decoding response body|incorrect header check/i,
    hint: notNgroksHint,
  },
];

/**
 * The error and its causes, outermost first; ofetch and Deno wrap the original.
 */
function causes(error: unknown): { code: string; message: string; own: NgrokdError | undefined }[] {
  const chain: { code: string; message: string; own: NgrokdError | undefined }[] = [];
  for (let at = error; at instanceof Error && chain.length < 8; at = at.cause) {
    const own = at instanceof NgrokdError ? at : undefined;
    chain.push({ code: "code" in at ? String(at.code) : "", message: at.message, own });
  }
  return chain;
}
