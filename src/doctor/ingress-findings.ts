import { refusalAdvice } from "../ingress/advice.ts";
import { createIngress, type IngressSettings, upgrade } from "../ingress/ingress.ts";
import { describeTlsFailure } from "../ingress/trust.ts";
import { hintOf, isNgrokdError, NgrokdError, reasonOf } from "../model/error.ts";
import { hostPortText } from "../model/host-port.ts";
import { quote } from "../model/parsed.ts";
import type { Conn, Net, PeerCertificate } from "../net/types.ts";
import { type Attempt, attempt, type Pace, paced } from "./attempt.ts";
import { type Check, type Finding, failure, notChecked, ok, warning } from "./finding.ts";

/** A host and port to ask the ingress for. */
export interface Target {
  readonly host: string;
  readonly port: number;
}

/** What the ingress said to a request for one endpoint. */
export interface Asked {
  readonly target: Target;
  readonly answer: Attempt<
    { kind: "accepted" } | { kind: "refused"; code: string; message: string }
  >;
}

export interface IngressFacts {
  /** host:port */
  readonly address: string;
  readonly verified: boolean;
  readonly dialed: Attempt<PeerCertificate | undefined>;
  /**
   * What came to a first request, which shows whether our certificate is let
   * in; undefined where the dial failed.
   */
  readonly first: Asked | undefined;
  /** For the endpoints that were asked for, in their order. */
  readonly asked: readonly Asked[];
}

/**
 * By RFC 6761 nobody's name: any answer at all shows that our certificate is
 * let in.
 */
const nobody: Target = { host: "doctor.ngrokd.invalid", port: 443 };
const dialMs = 5000;
/** How long a connection that was opened for the test may take to close. */
const closeMs = 500;

/**
 * Dials once, looks at who answers, and then opens and closes a connection to
 * each target without sending a byte. Never rejects.
 */
export async function tryIngress(
  net: Net,
  settings: IngressSettings,
  targets: readonly Target[],
  pace: Pace,
): Promise<IngressFacts> {
  const { host, port, via, resume: _, ...tls } = settings;
  const address = hostPortText({ host, port });
  const verified = !settings.insecureSkipVerify;
  let conn: Conn | undefined;
  const dialed = await attempt(`Cannot connect to "${address}"`, dialMs, async (signal) => {
    conn = await net
      .dial({ host, port }, { tls: { serverName: host, ...tls }, via, signal })
      .catch((error: unknown) => {
        throw isNgrokdError(error, "tls") ? describeTlsFailure(error) : error;
      });
    return conn.peer;
  });
  if (conn === undefined || !dialed.ok)
    return { address, verified, dialed, first: undefined, asked: [] };
  const ready = conn;
  const [target = nobody, ...others] = targets;
  const first = await ask(target, (signal) => upgrade(ready, target, signal));
  const ingress = createIngress(net, () => settings);
  const rest = await paced(others, pace, (one) => ask(one, (signal) => ingress.open(one, signal)));
  ingress.close();
  return { address, verified, dialed, first, asked: targets.length === 0 ? [] : [first, ...rest] };
}

async function ask(
  target: Target,
  open: (signal: AbortSignal) => ReturnType<typeof upgrade>,
): Promise<Asked> {
  const opened = await attempt(
    `Cannot open a connection to "${hostPortText(target)}"`,
    dialMs,
    open,
  );
  if (!opened.ok) return { target, answer: opened };
  const { value, tookMs } = opened;
  if (value.kind === "refused") return { target, answer: { ok: true, value, tookMs } };
  await letGo(value.conn);
  return { target, answer: { ok: true, value: { kind: "accepted" }, tookMs } };
}

async function letGo(conn: Conn): Promise<void> {
  conn.close();
  const impatient = setTimeout(() => conn.abort(), closeMs);
  await conn.closed;
  clearTimeout(impatient);
}

/** Pure: whether the ingress can be reached, and who it proves to be. */
export function judgeIngress({ address, verified, dialed }: IngressFacts): Finding {
  if (!dialed.ok) {
    const fix =
      hintOf(dialed.error) || "does a firewall block it, or want a proxy (`forward.proxy_url`)?";
    return failure("ingress", reasonOf(dialed.error), fix);
  }
  const issuer =
    dialed.value === undefined ? "" : `, certificate issued by ${quote(dialed.value.issuer)}`;
  const ms = Math.ceil(dialed.tookMs);
  const text = `"${address}" answered within ${ms} ms${issuer}`;
  if (verified) return { ...ok("ingress", text), took_ms: ms };
  const fix =
    "remove `server.insecure_skip_verify`: anybody on the way can read and change the traffic";
  return warning("ingress", `${text}, which is NOT verified`, fix);
}

/**
 * Pure: whether the ingress lets our certificate in. Any answer to a request, a
 * refusal too, shows that it does.
 */
export function judgeOurCertificate({ first, asked }: IngressFacts): Finding {
  const check = "client-certificate";
  if (first === undefined) return notChecked(check, "the ingress cannot be reached");
  if (first.answer.ok || asked.some(({ answer }) => answer.ok))
    return ok(check, "the ingress accepts it");
  const { error } = first.answer;
  if (isNgrokdError(error, "tls") || isNgrokdError(error, "aborted")) {
    // Nobody has seen what ngrok's ingress does with a name that no endpoint
    // has, so its silence then proves little.
    const judged = first.target === nobody ? warning : failure;
    return judged(check, reasonOf(error), hintOf(error));
  }
  return notChecked(check, `the ingress gave no sensible answer: ${reasonOf(error)}`);
}

/** Pure: whether one endpoint can be reached through the ingress. */
export function judgeAsked(check: Check, { target, answer }: Asked): Finding {
  const about = hostPortText(target);
  if (!answer.ok) {
    const { error } = answer;
    return {
      ...failure(check, `${about}: ${reasonOf(error)}`, hintOf(error) || fixOf(error)),
      about,
    };
  }
  const ms = Math.ceil(answer.tookMs);
  if (answer.value.kind === "accepted")
    return {
      ...ok(check, `${about} was opened through ngrok within ${ms} ms`),
      about,
      took_ms: ms,
    };
  const { code, message } = answer.value;
  const said = message === "" ? "without a reason" : `with ${quote(message)}`;
  const text = `${about}: ngrok refuses it ${said}${code === "" ? "" : ` (${code})`}`;
  return { ...failure(check, text, refusalAdvice(code) ?? ""), about, took_ms: ms };
}

const fixOf = (error: unknown): string =>
  error instanceof NgrokdError && error.code === "timeout"
    ? "does the agent behind the endpoint answer? try again"
    : "";
