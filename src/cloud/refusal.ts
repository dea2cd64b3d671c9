import { z } from "zod";
import { type ErrorCode, isNgrokdError, NgrokdError } from "../model/error.ts";
import { type Answer, notNgroksHint } from "./exchange.ts";

/**
 * An answer with a status of 300 or more, as the NgrokdError to throw:
 * `unauthorized`, `not-found`, `rate-limited` or `api`. Its `details`:
 *
 * - `status`
 * - `errorCode` and `operationId`: "" if ngrok sent none
 * - `fromNgrok`: the body has ngrok's error shape. A 404 without it may come
 *   from a proxy or a wrong URL. ngrok's own 404 for an unknown path also
 *   counts as such.
 * - `retryAfterMs`: only if the answer has a time
 *
 * `safe` makes texts from outside fit for a message. Source of shape and codes:
 * docs/protocol.md, "ngrok's API".
 */
export function refusal(
  action: string,
  answer: Answer,
  safe: (text: string) => string,
  now = Date.now(),
): NgrokdError {
  const { status } = answer;
  const { fromNgrok, msg, errorCode, operationId } = readBody(answer, safe);
  const code = codeOf(status, errorCode);
  const retryAfterMs = retryAfter(answer.headers.get("retry-after"), now);
  const said =
    msg === ""
      ? `answered ${status} ${bodyText(answer)}`
      : `answered ${status}: ${msg.replace(/[.\s]+$/, "")}`;
  const marks = [errorCode, operationId === "" ? "" : `operation ${operationId}`].filter(
    (mark) => mark !== "" && !msg.includes(mark),
  );
  return new NgrokdError(
    code,
    `${action}: ngrok's API ${said}${marks.length === 0 ? "" : ` (${marks.join(", ")})`}`,
    {
      hint: advice[errorCode] ?? hintOf(code, status, fromNgrok, retryAfterMs),
      details: {
        status,
        errorCode,
        operationId,
        fromNgrok,
        ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
      },
    },
  );
}

/** Whether ngrok itself, and not a proxy on the way, reports "not found". */
export function isUnknownToNgrok(error: unknown): error is NgrokdError {
  return isNgrokdError(error, "not-found") && error.details.fromNgrok === true;
}

/** Describes a body without its text. */
export function bodyText({ text }: Answer): string {
  if (text.trim() === "") return "with an empty body";
  return /^\s*</.test(text) ? "with an HTML page" : "with something that is not in ngrok's format";
}

const newKey =
  "make an API key (not an authtoken) at https://dashboard.ngrok.com/api-keys and set it with `ngrokd set-api-key`";

/**
 * Hints for codes that say more than their status. Source: ngrok's public error
 * reference.
 */
const advice: Readonly<Record<string, string>> = {
  // Its text is "Failed to validate Kubernetes Operator! Reason: …". So far,
  // the only known reason is an account without bindings.
  ERR_NGROK_19002:
    "if bindings are not enabled for this account, ask ngrok's support to enable Kubernetes bindings; else see the reason it gave",
  ERR_NGROK_19001:
    "ngrok refused the certificate request: move tls.key away, and ngrokd registers again with a new key",
  ERR_NGROK_19003:
    "`bound_endpoints.selectors` has an expression that is no CEL; `true` takes all endpoints",
  ERR_NGROK_202: `this is not an API key: ${newKey}`,
  ERR_NGROK_205:
    "the account is suspended: write to support@ngrok.com; endpoints come back by themselves when it is active again",
  ERR_NGROK_206: `this is an authtoken: ${newKey}`,
  ERR_NGROK_207: `this is an authtoken: ${newKey}`,
};

/**
 * 225 limits concurrent calls. 226, 734 and 1214 limit calls in a period. 734
 * says that it resets within a minute.
 */
const rateLimits: ReadonlySet<string> = new Set([
  "ERR_NGROK_225",
  "ERR_NGROK_226",
  "ERR_NGROK_734",
  "ERR_NGROK_1214",
]);

function codeOf(status: number, errorCode: string): ErrorCode {
  if (status === 429 || rateLimits.has(errorCode)) return "rate-limited";
  // A refused registration says nothing about the key.
  if ((status === 401 || status === 403) && errorCode !== "ERR_NGROK_19002") return "unauthorized";
  return status === 404 ? "not-found" : "api";
}

function hintOf(
  code: ErrorCode,
  status: number,
  fromNgrok: boolean,
  retryAfterMs: number | undefined,
): string {
  if (code === "rate-limited")
    return `${retryAfterMs === undefined ? "wait a little" : `ngrok asks to wait ${Math.ceil(retryAfterMs / 1000)} s`}; the limit counts all that uses this account, and a longer \`bound_endpoints.poll_interval\` helps`;
  if (status >= 500) return "the trouble is on ngrok's side; see https://status.ngrok.com";
  if (code === "unauthorized")
    return `${newKey}${fromNgrok ? "" : "; or did a proxy on the way refuse? This is not how ngrok does it"}`;
  if (!fromNgrok) return notNgroksHint;
  return code === "not-found"
    ? "it may have been deleted in ngrok's dashboard"
    : "https://ngrok.com/docs/errors explains ngrok's codes";
}

const word = (pattern: RegExp) => z.string().regex(pattern).catch("");
/** `details.path` is set if ngrok has no route for the request. */
const errorBody = z.object({
  error_code: word(/^ERR_NGROK_\d{1,6}$/),
  status_code: z.unknown(),
  msg: z.string().catch(""),
  details: z
    .object({ operation_id: word(/^[\w-]{1,64}$/), path: z.unknown().optional() })
    .catch({ operation_id: "", path: undefined }),
});

/** The limit of a body in bytes. ngrok's own have some hundred. */
const maxErrorText = 256 * 1024;

function readBody({ text, status }: Answer, safe: (text: string) => string) {
  const body = errorBody.safeParse(text.length > maxErrorText ? undefined : jsonOf(text)).data;
  const fromNgrok =
    body !== undefined &&
    (body.error_code !== "" ||
      (body.msg !== "" && body.status_code === status && body.details.path === undefined));
  return {
    fromNgrok,
    msg: safe(body?.msg ?? ""),
    errorCode: body?.error_code ?? "",
    operationId: safe(body?.details.operation_id ?? ""),
  };
}

/** The parsed text; undefined if it is not JSON. */
export function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const dayMs = 24 * 3_600_000;

/**
 * `Retry-After` (seconds or an HTTP date) in milliseconds from now, 0 to a day.
 * Undefined if it is missing or not valid.
 */
function retryAfter(header: string | null, now: number): number | undefined {
  if (header === null) return undefined;
  const text = header.trim();
  const ms = /^\d{1,15}$/.test(text)
    ? Number(text) * 1000
    : /^[A-Z][a-z]{2},? .*GMT$/.test(text)
      ? Date.parse(text) - now
      : Number.NaN;
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(ms, 0), dayMs);
}
