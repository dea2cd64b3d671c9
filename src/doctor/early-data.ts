/**
 * `ngrokd doctor --early-data`: whether the ingress hands on the bytes that
 * come in the same flight as the request for an endpoint.
 */
import { createIngress, type Ingress } from "../ingress/ingress.ts";
import type { IngressSettings } from "../ingress/ingress-dialer.ts";
import { describeTlsFailure } from "../ingress/tls-failure.ts";
import { onAbort } from "../model/abort.ts";
import { hintOf, isNgrokdError, NgrokdError, reasonOf } from "../model/error.ts";
import { hostPortText } from "../model/host-port.ts";
import { quote } from "../model/parsed.ts";
import type { Conn, Net } from "../net/types.ts";
import { userAgent } from "../version.ts";
import { type Attempt, attempt } from "./attempt.ts";
import { broken, type Finding, failure, notChecked, ok } from "./finding.ts";
import { gather, type Place, wayToIngress } from "./gather.ts";
import type { Target } from "./ingress-findings.ts";

/** The replies to the same question, asked on connections of their own. */
export interface EarlyTrial {
  readonly target: Target;
  /** The question follows the answer of the ingress. Its reply's first line. */
  readonly ordinary: Attempt<string>;
  /** The question leaves with the request. Empty if the other one failed. */
  readonly early: readonly Attempt<string>[];
}

/** How often the question is asked early: a stream can be cut by chance. */
const times = 5;
const trialMs = 10_000;

/**
 * Asks an HTTP endpoint with HEAD requests, one as usual and a few early ones.
 * Changes nothing at ngrok and on this machine. Never rejects.
 */
export async function examineEarlyData(target: Target, place: Place): Promise<Finding> {
  const local = await gather(place);
  const settings = await attempt("Cannot find the way to the ingress", 4000, () =>
    wayToIngress(local.loaded, local.state),
  );
  if (!settings.ok)
    return isNgrokdError(settings.error, "state")
      ? notChecked("early-data", reasonOf(settings.error))
      : broken("early-data", settings.error);
  return judgeEarlyData(await tryEarlyData(place.net, settings.value, target));
}

export async function tryEarlyData(
  net: Net,
  settings: IngressSettings,
  target: Target,
): Promise<EarlyTrial> {
  // Without a pool each question dials, so none is tried again unnoticed.
  const ingress = createIngress(net, () => settings);
  const ask = (early: boolean) =>
    attempt(`Cannot ask "${hostPortText(target)}"`, trialMs, (signal) =>
      firstLine(ingress, target, early, signal),
    );
  const ordinary = await ask(false);
  const early: Attempt<string>[] = [];
  while (ordinary.ok && early.length < times) early.push(await ask(true));
  ingress.close();
  return { target, ordinary, early };
}

/** Pure: whether early data can be used with this ingress. */
export function judgeEarlyData({ target, ordinary, early }: EarlyTrial): Finding {
  const about = hostPortText(target);
  const check = "early-data";
  if (!ordinary.ok)
    return {
      ...failure(
        check,
        `not tried, since ${about} does not answer an ordinary request: ${reasonOf(ordinary.error)}`,
        hintOf(ordinary.error) || "name an http:// endpoint that works: `ngrokd list` shows them",
      ),
      about,
    };
  const lost = early.find(({ ok }) => !ok);
  if (lost?.ok === false)
    return {
      ...failure(
        check,
        `${about}: the ingress did not hand the early bytes on: ${reasonOf(lost.error)}`,
        "leave `forward.early_data` off",
      ),
      about,
    };
  const took = Math.ceil([...early].sort((a, b) => a.tookMs - b.tookMs)[times >> 1]?.tookMs ?? 0);
  const usual = Math.ceil(ordinary.tookMs);
  return {
    ...ok(
      check,
      `${about}: ${early.length} of ${early.length} early requests were answered, typically within ` +
        `${took} ms with the dial (${usual} ms without early data); \`forward.early_data: on\` works`,
    ),
    about,
    took_ms: took,
  };
}

/** The first line of the reply to a HEAD request. */
async function firstLine(
  { open }: Ingress,
  target: Target,
  early: boolean,
  signal: AbortSignal,
): Promise<string> {
  const question = Buffer.from(
    `HEAD / HTTP/1.1\r\nHost: ${target.host}\r\nUser-Agent: ${userAgent()}\r\nConnection: close\r\n\r\n`,
  );
  const opened = await open(target, signal, early ? { early: () => question } : {}).catch(
    (error: unknown) => {
      throw isNgrokdError(error, "tls") ? describeTlsFailure(error) : error;
    },
  );
  if (opened.kind === "refused")
    throw new NgrokdError("not-found", `ngrok refuses it with ${quote(opened.message)}`);
  const { conn } = opened;
  const unhook = onAbort(signal, () => conn.abort());
  try {
    if (!early) await conn.write(question);
    return await lineOf(conn);
  } finally {
    unhook();
    conn.abort();
  }
}

async function lineOf(conn: Conn): Promise<string> {
  let text = "";
  while (!text.includes("\n") && text.length < 1024) {
    const bytes = await conn.read();
    if (bytes === null) break;
    text += Buffer.from(bytes).toString("latin1");
  }
  const [line = ""] = text.split(/\r?\n/);
  if (/^HTTP\/1\.[01] \d{3}/.test(line)) return line;
  const said = text === "" ? "the connection ended without a reply" : `it sent ${quote(line)}`;
  throw new NgrokdError("protocol", `no HTTP reply: ${said}`);
}
