import type { ApiKey } from "../model/api-key.ts";
import { NgrokdError, oneLine } from "../model/error.ts";
import { quote } from "../model/parsed.ts";
import {
  type Answer,
  createExchange,
  type Fetch,
  notNgroksHint,
  type Outgoing,
} from "./exchange.ts";
import { bodyText, jsonOf, refusal } from "./refusal.ts";
import { isOperatorId, type Operator, operatorOf } from "./wire.ts";

/** Requests to one API with one key. They reject as `Api` says. */
export interface Caller {
  /** The API's base URL, without a slash at the end. */
  readonly base: string;
  /** A text from outside, short enough for a message and without the key. */
  safe(text: string): string;
  at(path: string): URL;
  /** Throws NgrokdError `state` if the id is not valid. */
  atOperator(id: string, rest?: string): URL;
  /** Resolves only with answers of a status from 200 to 299. */
  send(outgoing: Outgoing): Promise<Answer>;
  /** The error for an answer that is not a JSON object or array. */
  nonsense(action: string, answer: Answer): NgrokdError;
  /** Limits of {@link CallerOptions}. */
  readonly maxPageBytes: number;
  readonly listTimeoutMs: number;
  json(outgoing: Outgoing): Promise<object>;
  operator(outgoing: Outgoing): Promise<Operator>;
}

export interface CallerOptions {
  readonly url: string;
  readonly key: ApiKey;
  readonly userAgent: string;
  readonly fetch?: Fetch;
  /** Default 30,000 ms. */
  readonly timeoutMs?: number;
  /** Default: 8 MiB for a page of a list, and 1 MiB for other answers. */
  readonly maxBytes?: number;
  /** Deadline for all pages of a list, checked between pages; default 5 min. */
  readonly listTimeoutMs?: number;
}

/** Throws NgrokdError `config` if `url` is not an http(s) URL. */
export function createCaller(options: CallerOptions): Caller {
  const { url, key, userAgent, fetch } = options;
  const base = baseUrl(url);
  // ngrok's own texts quote a refused credential (ERR_NGROK_202, 203, 206,
  // 207).
  const safe = (text: string): string => short(text.replaceAll(key, "[API key]"));
  const exchange = createExchange({
    fetch: fetch ?? ((to, init) => globalThis.fetch(to, init)),
    headers: {
      accept: "application/json",
      authorization: `Bearer ${key}`,
      "ngrok-version": "2",
      "user-agent": userAgent,
    },
    timeoutMs: options.timeoutMs ?? 30_000,
    maxBytes: options.maxBytes ?? mib,
    safe,
  });
  const at = (path: string): URL => new URL(base + path);
  const send = async (outgoing: Outgoing): Promise<Answer> =>
    accepted(outgoing.action, await exchange(outgoing), { base, safe });
  const nonsense = (action: string, answer: Answer): NgrokdError => notNgrok(action, answer, base);
  const json = async (outgoing: Outgoing): Promise<object> => {
    const answer = await send(outgoing);
    const found = jsonOf(answer.text);
    if (typeof found === "object" && found !== null) return found;
    throw nonsense(outgoing.action, answer);
  };

  return {
    base,
    safe,
    at,
    // Another text, such as "" or "..", would change the path of the call.
    atOperator(id, rest = "") {
      if (isOperatorId(id)) return at(`/kubernetes_operators/${id}${rest}`);
      throw new NgrokdError(
        "state",
        `Cannot ask for the operator ${quote(id)}: this is not an operator id`,
      );
    },
    send,
    nonsense,
    maxPageBytes: options.maxBytes ?? 8 * mib,
    listTimeoutMs: options.listTimeoutMs ?? 5 * 60_000,
    json,
    async operator(outgoing) {
      const operator = operatorOf(await json(outgoing));
      if (operator !== undefined) return operator;
      throw new NgrokdError("api", `${outgoing.action}: ngrok's answer carries no operator id`, {
        hint: notNgroksHint,
      });
    },
  };
}

/** Returns an answer with a status from 200 to 299. Throws for others. */
function accepted(
  action: string,
  answer: Answer,
  { base, safe }: Pick<Caller, "base" | "safe">,
): Answer {
  if (answer.status >= 200 && answer.status < 300) return answer;
  if (answer.status >= 400) throw refusal(action, answer, safe);
  const to = answer.headers.get("location") ?? "";
  throw new NgrokdError(
    "protocol",
    to === ""
      ? `${action}: ${quote(base)} answered ${answer.status}, which is no answer to this request`
      : `${action}: ${quote(base)} redirects to ${quote(safe(to))}, and the API key goes nowhere else`,
    {
      hint:
        to === ""
          ? notNgroksHint
          : "if that is the right address, set it as `api.url` in the configuration",
      details: { status: answer.status },
    },
  );
}

const mib = 1024 * 1024;

function notNgrok(action: string, answer: Answer, base: string): NgrokdError {
  return new NgrokdError(
    "api",
    `${action}: ${quote(base)} answered ${answer.status} ${bodyText(answer)}`,
    {
      hint: notNgroksHint,
      details: { status: answer.status },
    },
  );
}

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
