import { refusalAdvice } from "../ingress/advice.ts";
import type { PodIdentity } from "../ingress/frame.ts";
import { createIngress } from "../ingress/ingress.ts";
import type { IngressSettings } from "../ingress/ingress-dialer.ts";
import { noticesText } from "../ingress/notices.ts";
import { describeTlsFailure } from "../ingress/tls-failure.ts";
import { upgrade } from "../ingress/upgrade.ts";
import { hintOf, isNgrokdError, NgrokdError, reasonOf } from "../model/error.ts";
import { hostPortText } from "../model/host-port.ts";
import { quote } from "../model/parsed.ts";
import { askResolver, resolverSilent } from "../net/resolver.ts";
import type { Conn, Net, PeerCertificate } from "../net/types.ts";
import { type Attempt, attempt, type Pace, paced } from "./attempt.ts";
import { type Check, type Finding, failure, notChecked, ok, warning } from "./finding.ts";

/** An endpoint in a request to the ingress. */
export interface Target {
  readonly host: string;
  readonly port: number;
}

/** The ingress's response to a request for one endpoint. */
export interface EndpointTrial {
  readonly target: Target;
  readonly answer: Attempt<
    | { kind: "accepted"; notices: readonly string[] }
    | { kind: "refused"; code: string; message: string; notices: readonly string[] }
  >;
}

export interface IngressFacts {
  /** host:port */
  readonly address: string;
  readonly verified: boolean;
  readonly dial: Attempt<PeerCertificate | undefined>;
  /**
   * The first request. It shows whether the ingress accepts our certificate.
   * Undefined if the dial failed.
   */
  readonly first: EndpointTrial | undefined;
  /** One for each target, in the order of the targets. */
  readonly trials: readonly EndpointTrial[];
}

/**
 * No endpoint can have this name (RFC 6761). Any response to it shows that the
 * ingress accepts our certificate.
 */
const nobody: Target = { host: "doctor.ngrokd.invalid", port: 443 };
const dialMs = 5000;
/** The deadline for closing a trial connection. */
const closeMs = 500;

/**
 * Dials the ingress, then opens and closes a connection to each target without
 * sending a byte. `identity` is who asks. Never rejects.
 */
export async function tryIngress(
  net: Net,
  settings: IngressSettings,
  targets: readonly Target[],
  { pace, identity }: { pace: Pace; identity: PodIdentity | undefined },
): Promise<IngressFacts> {
  const { host, port, via, resume: _, ...tls } = settings;
  const address = hostPortText({ host, port });
  const verified = !settings.insecureSkipVerify;
  let conn: Conn | undefined;
  const looked = via?.host ?? host;
  const question = askResolver(looked);
  const tried = await attempt(`Cannot connect to "${address}"`, dialMs, async (signal) => {
    conn = await net
      .dial({ host, port }, { tls: { serverName: host, ...tls }, via, signal })
      .catch((error: unknown) => {
        throw isNgrokdError(error, "tls") ? describeTlsFailure(error) : error;
      });
    return conn.peer;
  });
  const dial = tried.ok || !question.pending ? tried : { ...tried, error: resolverSilent(looked) };
  if (conn === undefined || !dial.ok)
    return { address, verified, dial, first: undefined, trials: [] };
  const ready = conn;
  const [target = nobody, ...others] = targets;
  const first = await ask(target, (signal) => upgrade(ready, target, signal, { identity }));
  const ingress = createIngress(net, () => settings);
  const rest = await paced(others, pace, (one) =>
    ask(one, (signal) => ingress.open(one, signal, { identity })),
  );
  ingress.close();
  return { address, verified, dial, first, trials: targets.length === 0 ? [] : [first, ...rest] };
}

async function ask(
  target: Target,
  open: (signal: AbortSignal) => ReturnType<typeof upgrade>,
): Promise<EndpointTrial> {
  const opened = await attempt(
    `Cannot open a connection to "${hostPortText(target)}"`,
    dialMs,
    open,
  );
  if (!opened.ok) return { target, answer: opened };
  const { value, tookMs } = opened;
  if (value.kind === "refused") return { target, answer: { ok: true, value, tookMs } };
  await letGo(value.conn);
  const { kind, notices } = value;
  return { target, answer: { ok: true, value: { kind, notices }, tookMs } };
}

async function letGo(conn: Conn): Promise<void> {
  conn.close();
  const impatient = setTimeout(() => conn.abort(), closeMs);
  await conn.closed;
  clearTimeout(impatient);
}

/** Pure: whether the ingress responds, and its certificate's issuer. */
export function judgeIngress({ address, verified, dial }: IngressFacts): Finding {
  if (!dial.ok) {
    const fix =
      hintOf(dial.error) || "does a firewall block it, or require a proxy (`forward.proxy_url`)?";
    return failure("ingress", reasonOf(dial.error), fix);
  }
  const issuer =
    dial.value === undefined ? "" : `, certificate issued by ${quote(dial.value.issuer)}`;
  const ms = Math.ceil(dial.tookMs);
  const text = `"${address}" answered within ${ms} ms${issuer}`;
  if (verified) return { ...ok("ingress", text), took_ms: ms };
  const fix =
    "remove `server.insecure_skip_verify`: anyone on the network path can read and change the traffic";
  return warning("ingress", `${text}, which is NOT verified`, fix);
}

/**
 * Pure: whether the ingress accepts our certificate. Any response to a request
 * shows that it does, a refusal too.
 */
export function judgeOurCertificate({ first, trials }: IngressFacts): Finding {
  const check = "client-certificate";
  if (first === undefined) return notChecked(check, "the ingress cannot be reached");
  if (first.answer.ok || trials.some(({ answer }) => answer.ok))
    return ok(check, "the ingress accepts it");
  const { error } = first.answer;
  if (isNgrokdError(error, "tls") || isNgrokdError(error, "aborted")) {
    // How ngrok's ingress treats an unknown name is not documented, so an abort
    // after such a request proves little.
    const judged = first.target === nobody ? warning : failure;
    return judged(check, reasonOf(error), hintOf(error));
  }
  return notChecked(check, `the ingress gave an invalid answer: ${reasonOf(error)}`);
}

/** Pure: whether one endpoint can be reached through the ingress. */
export function judgeEndpointTrial(check: Check, { target, answer }: EndpointTrial): Finding {
  const about = hostPortText(target);
  if (!answer.ok) {
    const { error } = answer;
    return {
      ...failure(check, `${about}: ${reasonOf(error)}`, hintOf(error) || fixOf(error)),
      about,
    };
  }
  const ms = Math.ceil(answer.tookMs);
  const notices = noticesText(answer.value.notices);
  const more = notices === "" ? "" : `; ngrok says: ${notices}`;
  if (answer.value.kind === "accepted")
    return {
      ...ok(check, `${about} was opened through ngrok within ${ms} ms${more}`),
      about,
      took_ms: ms,
    };
  const { code, message } = answer.value;
  const said = message === "" ? "without a reason" : `with ${quote(message)}`;
  const text = `${about}: ngrok refuses it ${said}${code === "" ? "" : ` (${code})`}${more}`;
  return { ...failure(check, text, refusalAdvice(code) ?? ""), about, took_ms: ms };
}

const fixOf = (error: unknown): string =>
  error instanceof NgrokdError && error.code === "timeout"
    ? "does the agent behind the endpoint answer? try again"
    : "";
