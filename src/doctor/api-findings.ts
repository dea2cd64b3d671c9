import { type Api, createApi } from "../cloud/api.ts";
import { createExchange, type Fetch } from "../cloud/exchange.ts";
import type { Operator } from "../cloud/wire.ts";
import type { ApiKey } from "../model/api-key.ts";
import { type ApiEndpoint, living } from "../model/endpoint.ts";
import { hintOf, isNgrokdError, NgrokdError, reasonOf } from "../model/error.ts";
import type { Parsed } from "../model/parsed.ts";
import { askResolver, resolverSilent } from "../net/resolver.ts";
import { userAgent } from "../version.ts";
import { type Attempt, attempt } from "./attempt.ts";
import { type Finding, failure, notChecked, ok, warning } from "./finding.ts";

export interface ApiFacts {
  readonly url: string;
  /** The first response, with any status; undefined without one. */
  readonly answer: { readonly tookMs: number; readonly skewMs: number | undefined } | undefined;
  /** A request with the key, or without one if there is no key. */
  readonly trial: Attempt<unknown>;
  /** Undefined without a key or without an operator id. */
  readonly operator: Attempt<Operator> | undefined;
  /**
   * The endpoints of this operator. Undefined without a key, without an
   * operator id, or if they were not asked for.
   */
  readonly bound: Attempt<readonly ApiEndpoint[]> | undefined;
}

export interface ApiQuestions {
  readonly url: string;
  readonly key: Parsed<ApiKey>;
  readonly operatorId: string | undefined;
  readonly fetch: Fetch;
  /** The host that has to be looked up for it: the API's, or the proxy's. */
  readonly lookedUp: string;
  readonly withBound: boolean;
}

/**
 * The deadline of one request. `patienceMs` is for the case that this deadline
 * does not work.
 */
const deadlineMs = 4000;
const patienceMs = deadlineMs + 500;

/** Sends all requests at once. Never rejects. */
export async function askApi(questions: ApiQuestions): Promise<ApiFacts> {
  const question = askResolver(questions.lookedUp);
  const facts = await sendAll(questions);
  if (facts.trial.ok || facts.answer !== undefined || !question.pending) return facts;
  return { ...facts, trial: { ...facts.trial, error: resolverSilent(questions.lookedUp) } };
}

async function sendAll({
  url,
  key,
  operatorId,
  fetch,
  withBound,
}: ApiQuestions): Promise<ApiFacts> {
  let answer: ApiFacts["answer"];
  const watched: Fetch = async (to, init) => {
    const [started, clock] = [performance.now(), Date.now()];
    const response = await fetch(to, init);
    answer ??= {
      tookMs: performance.now() - started,
      skewMs: skewOf(response.headers.get("date"), clock, Date.now()),
    };
    return response;
  };
  if (!key.ok) {
    const trial = await attempt("Cannot reach ngrok's API", patienceMs, async (signal) => {
      const send = createExchange({
        fetch: watched,
        headers: { accept: "application/json", "ngrok-version": "2", "user-agent": userAgent() },
        timeoutMs: deadlineMs,
        maxBytes: 1024 * 1024,
        safe: (text) => text,
      });
      await send({
        action: "Cannot reach ngrok's API",
        method: "GET",
        url: new URL(`${url.replace(/\/$/, "")}/endpoints?limit=1`),
        signal,
      });
    });
    return { url, answer, trial, operator: undefined, bound: undefined };
  }
  const api = createApi({
    url,
    key: key.value,
    userAgent: userAgent(),
    fetch: watched,
    timeoutMs: deadlineMs,
  });
  const [trial, operator, bound] = await Promise.all([
    attempt("Cannot check the API key", patienceMs, (signal) => api.checkKey(signal)),
    operatorId &&
      attempt("Cannot look up the operator", patienceMs, (signal) =>
        api.getOperator(operatorId, signal),
      ),
    operatorId && withBound && listBound(api, operatorId),
  ]);
  return { url, answer, trial, operator: operator || undefined, bound: bound || undefined };
}

/**
 * The bound endpoints as the daemon sees them. Deleted endpoints stay in that
 * list for a while; the account's own list, if it loads, takes them out.
 */
async function listBound(api: Api, operatorId: string): Promise<ApiFacts["bound"]> {
  const [bound, all] = await Promise.all([
    attempt("Cannot list the endpoints", patienceMs, (signal) =>
      api.boundEndpoints(operatorId, signal),
    ),
    attempt("Cannot list the account's endpoints", patienceMs, (signal) => api.endpointIds(signal)),
  ]);
  if (!bound.ok || !all.ok) return bound;
  return { ...bound, value: living(bound.value, all.value) };
}

/**
 * Milliseconds by which the server's clock is ahead of ours. A Date header has
 * whole seconds, so half a second is added. Undefined without a valid header.
 */
export function skewOf(
  header: string | null,
  sentAt: number,
  receivedAt: number,
): number | undefined {
  const at = header === null ? Number.NaN : Date.parse(header);
  return Number.isNaN(at) ? undefined : at + 500 - (sentAt + receivedAt) / 2;
}

/** Pure: whether ngrok's API responds. A refusal of the key is a response. */
export function judgeApi({ url, answer, trial }: ApiFacts): Finding {
  const refusedKey = !trial.ok && isNgrokdError(trial.error, "unauthorized");
  if (answer !== undefined && (trial.ok || refusedKey)) {
    const ms = Math.ceil(answer.tookMs);
    return { ...ok("api", `"${url}" answered within ${ms} ms`), took_ms: ms };
  }
  if (trial.ok) return ok("api", `"${url}" answered`);
  return failure("api", reasonOf(trial.error), hintOf(trial.error) || reachFix(trial.error));
}

function reachFix(error: unknown): string {
  if (isNgrokdError(error, "timeout") || isNgrokdError(error, "network"))
    return "does a firewall require a proxy? set it as `forward.proxy_url`";
  return "see https://status.ngrok.com";
}

/** TLS and certificates tolerate seconds, not minutes. */
const skewLimits = { warningMs: 30_000, failureMs: 300_000 } as const;

/** Pure: how far this machine's clock is from ngrok's. */
export function judgeClock({ answer }: ApiFacts): Finding {
  if (answer === undefined)
    return notChecked("clock", "ngrok's API, whose clock it is compared with, did not answer");
  const { skewMs } = answer;
  if (skewMs === undefined) return notChecked("clock", "ngrok's API sent no time");
  const seconds = Math.round(Math.abs(skewMs) / 1000);
  // The header has whole seconds, so less than two may be rounding.
  if (Math.abs(skewMs) < skewLimits.warningMs)
    return ok("clock", seconds < 2 ? "right" : `right to ${seconds} s`);
  const far =
    seconds < 120
      ? `${seconds} s`
      : seconds < 7200
        ? `${Math.round(seconds / 60)} minutes`
        : `${Math.round(seconds / 3600)} hours`;
  const text = `this machine's clock is ${far} ${skewMs > 0 ? "behind" : "ahead of"} ngrok's`;
  const fix = "set it, for example with `timedatectl set-ntp true`; certificates depend on it";
  return Math.abs(skewMs) < skewLimits.failureMs
    ? warning("clock", text, fix)
    : failure("clock", text, fix);
}

/**
 * Pure: whether ngrok accepts the API key. `present`: the configuration has a
 * key. `elsewhere`: a registered daemon runs, so its key must come from its own
 * environment.
 */
export function judgeKey(
  key: Parsed<ApiKey>,
  present: boolean,
  elsewhere: boolean,
  { trial }: Pick<ApiFacts, "trial">,
): Finding {
  if (!key.ok && present)
    return failure("key", key.reason, "set it again with `sudo ngrokd set-api-key`");
  if (!key.ok && elsewhere) {
    return warning(
      "key",
      "the configuration has none; the daemon has one from its own environment, which cannot be checked from here",
    );
  }
  if (!key.ok) return failure("key", "there is none", "run `sudo ngrokd set-api-key`");
  if (trial.ok) return ok("key", "ngrok accepts it");
  if (isNgrokdError(trial.error, "unauthorized"))
    return failure("key", reasonOf(trial.error), hintOf(trial.error));
  return notChecked("key", "ngrok's API cannot be asked");
}

/** Pure: whether ngrok knows the operator of this machine. */
export function judgeOperator(
  operatorId: string | undefined,
  { operator, trial }: Pick<ApiFacts, "operator" | "trial">,
): Finding {
  if (operatorId === undefined) return notChecked("operator", "this machine is not registered");
  if (operator === undefined) return notChecked("operator", "there is no API key to ask with");
  if (operator.ok) return ok("operator", `ngrok knows this machine as ${operator.value.id}`);
  const { error } = operator;
  if (
    error instanceof NgrokdError &&
    error.code === "not-found" &&
    error.details.fromNgrok === true
  ) {
    const fix =
      "it was deleted in the dashboard, or the key is of another account; see the log of the daemon";
    return failure(
      "operator",
      `ngrok does not know ${operatorId}, as which this machine is registered`,
      fix,
    );
  }
  if (!trial.ok) return notChecked("operator", "ngrok's API does not answer as it should");
  return failure("operator", reasonOf(error), hintOf(error));
}
