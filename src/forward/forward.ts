import { refusalAdvice } from "../ingress/advice.ts";
import type { Ingress, Opened } from "../ingress/ingress.ts";
import { describeTlsFailure } from "../ingress/trust.ts";
import type { Binding } from "../model/binding.ts";
import { type ErrorCode, isNgrokdError, NgrokdError, oneLine, reasonOf } from "../model/error.ts";
import type { Log } from "../model/log.ts";
import { addressText, type Conn } from "../net/types.ts";
import { record } from "./histogram.ts";
import { countError, countRefusal, type ErrorKind, type Meter } from "./meter.ts";
import type { QuietWatch } from "./quiet.ts";
import { type SpliceEnd, splice } from "./splice.ts";

export interface ForwardDeps {
  readonly ingress: Pick<Ingress, "open">;
  readonly log: Log;
  /** One deadline for dial, TLS and header, in milliseconds. */
  readonly openTimeoutMs: number;
  /** Ends connections on which nothing moves; without it they may be silent for ever. */
  readonly quiet?: QuietWatch;
}

/**
 * One local connection from accept to close (design.md, "One connection"). Never rejects: what goes wrong ends this connection with a
 * reset, is counted in `meter` and told once in the log.
 */
export async function forward(client: Conn, binding: Binding, meter: Meter, deps: ForwardDeps): Promise<void> {
  const { log } = deps;
  const { key } = binding;
  const since = performance.now();
  meter.active += 1;
  meter.total += 1;
  meter.lastActivity = Date.now();
  try {
    const opened = await open(client, binding, deps);
    switch (opened.kind) {
      case "left":
        countError(meter, "reset");
        log.debug(`${key}: connection from ${addressText(client.remote)} reset by the client`);
        return;
      case "refused":
        countRefusal(meter, opened.code);
        meter.lastError = refusalText(opened);
        log.warn(`${key}: the ingress refused: ${meter.lastError}`, { endpoint: key, code: opened.code });
        client.abort();
        return;
      case "accepted":
        record(meter.upgrade, (performance.now() - since) / 1000);
        meter.lastError = "";
        // Every connection may bring the same one: at this level repeats are counted and not told.
        for (const notice of opened.notices) log.warn(`${key}: ngrok says: ${short(notice)}`, { endpoint: key });
        tell(await carry(client, opened, meter, deps.quiet), client, key, meter, log);
    }
  } catch (error) {
    countError(meter, kindOf(error));
    meter.lastError = reasonOf(error);
    client.abort();
    log.warn(`${key}: cannot reach the endpoint: ${meter.lastError}`, { endpoint: key, ...hintOf(error) });
  } finally {
    await client.closed;
    meter.active -= 1;
    meter.lastActivity = Date.now();
  }
}

type Accepted = Extract<Opened, { kind: "accepted" }>;
type Refused = Extract<Opened, { kind: "refused" }>;

/** `left`: the client was gone before there was an answer, so nobody waits for one. */
async function open(client: Conn, binding: Binding, { ingress, openTimeoutMs }: ForwardDeps): Promise<Opened | { kind: "left" }> {
  const attempt = new AbortController();
  const timer = setTimeout(() => {
    attempt.abort(new NgrokdError("timeout", `No answer from the ingress within ${openTimeoutMs / 1000} s`));
  }, openTimeoutMs);
  const forget = abortOnceGone(client, attempt);
  try {
    return await ingress.open(binding, attempt.signal);
  } catch (error) {
    if (error === attempt.signal.reason && isNgrokdError(error, "cancelled")) return { kind: "left" };
    throw isNgrokdError(error, "tls") ? describeTlsFailure(error) : error;
  } finally {
    clearTimeout(timer);
    forget();
  }
}

/** Answers what takes it back: nothing can be taken off a promise, and the attempt would stay in memory for as long as the client is there. */
function abortOnceGone(client: Conn, attempt: AbortController): () => void {
  const held: { attempt: AbortController | undefined } = { attempt };
  void client.closed.then(() => held.attempt?.abort(new NgrokdError("cancelled", "The client left")));
  return () => {
    held.attempt = undefined;
  };
}

function carry(client: Conn, { conn, first }: Accepted, meter: Meter, quiet: QuietWatch | undefined): Promise<SpliceEnd> {
  // When the endpoint's turn began; undefined once it has said something.
  let turn: number | undefined = performance.now();
  let asked = false;
  return splice(client, conn, {
    first,
    ...(quiet && { quiet }),
    onBytes(direction, bytes) {
      if (direction === "a->b") {
        meter.bytesUp += bytes;
        if (asked) return;
        asked = true;
        if (turn !== undefined) turn = performance.now();
      } else {
        meter.bytesDown += bytes;
        if (turn === undefined) return;
        record(meter.firstByte, (performance.now() - turn) / 1000);
        turn = undefined;
      }
    },
  });
}

/** Counts how a connection that worked has ended. No fault of the endpoint's, so it is no last error. */
function tell(end: SpliceEnd, client: Conn, key: string, meter: Meter, log: Log): void {
  switch (end.kind) {
    case "finished":
      return;
    case "aborted":
      if (isNgrokdError(end.error, "cancelled")) {
        countError(meter, "timeout");
        log.debug(`${key}: connection from ${addressText(client.remote)} cut, since its time to end was over`);
        return;
      }
      // A reset by one of the two ends is their business; it is passed on, and no cause for alarm.
      countError(meter, isNgrokdError(end.error, "tls") ? "tls" : "reset");
      log.debug(`${key}: connection from ${addressText(client.remote)} reset by ${end.side === "a" ? "the client" : "the ingress"}`);
      return;
    case "silent": {
      const what = end.halfClosed ? "a half-closed connection" : "a connection";
      countError(meter, "timeout");
      log.warn(`${key}: ${what} on which nothing moved for ${end.limitMs / 1000} s was reset`, { endpoint: key });
    }
  }
}

const kinds: Readonly<Partial<Record<ErrorCode, ErrorKind>>> = { tls: "tls", timeout: "timeout", protocol: "header", aborted: "header" };

/** Where opening a connection failed: what is wrong before TLS, on this machine or on the way, is the dial's. */
const kindOf = (error: unknown): ErrorKind => (isNgrokdError(error) ? kinds[error.code] : undefined) ?? "dial";

function refusalText(refused: Refused): string {
  const advice = refusalAdvice(refused.code);
  const text = short(refused.code === "" ? refused.message : `${refused.code}: ${refused.message}`);
  return advice === undefined ? text : `${text} (${advice})`;
}

/** What the ingress says can be 64 KB long, and of any characters. */
const short = (text: string): string => oneLine(text.slice(0, 500));

const hintOf = (error: unknown): { hint?: string } =>
  error instanceof NgrokdError && error.hint !== undefined ? { hint: error.hint } : {};
