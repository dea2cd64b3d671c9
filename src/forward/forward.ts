import { refusalAdvice } from "../ingress/advice.ts";
import type { Ingress, Opened } from "../ingress/ingress.ts";
import { describeTlsFailure } from "../ingress/trust.ts";
import type { Binding } from "../model/binding.ts";
import { isNgrokdError, NgrokdError, oneLine, reasonOf } from "../model/error.ts";
import type { Log } from "../model/log.ts";
import { addressText, type Conn } from "../net/types.ts";
import type { Meter } from "./meter.ts";
import { splice } from "./splice.ts";

export interface ForwardDeps {
  readonly ingress: Pick<Ingress, "open">;
  readonly log: Log;
  /** One deadline for dial, TLS and header, in milliseconds. */
  readonly openTimeoutMs: number;
}

/**
 * One local connection from accept to close (design.md, "One connection"). Never rejects: what goes wrong ends this connection with a
 * reset, is counted in `meter` and told once in the log.
 */
export async function forward(client: Conn, binding: Binding, meter: Meter, deps: ForwardDeps): Promise<void> {
  const { log } = deps;
  const { key } = binding;
  meter.active += 1;
  meter.total += 1;
  meter.lastActivity = Date.now();
  try {
    const opened = await open(client, binding, deps);
    if (opened.kind === "refused") {
      meter.refused += 1;
      meter.lastError = refusalText(opened);
      log.warn(`${key}: the ingress refused: ${meter.lastError}`, { endpoint: key, code: opened.code });
      client.abort();
      return;
    }
    let resetBy = "the client";
    if (opened.kind === "accepted") {
      meter.lastError = "";
      for (const notice of opened.notices) log.info(`${key}: ngrok says: ${short(notice)}`, { endpoint: key });
      const end = await carry(client, opened, meter);
      if (end.kind === "finished") return;
      if (end.side === "b") resetBy = "the ingress";
    }
    // A reset by one of the two ends is their business; it is passed on, counted, and no cause for alarm.
    meter.errors += 1;
    log.debug(`${key}: connection from ${addressText(client.remote)} reset by ${resetBy}`);
  } catch (error) {
    meter.errors += 1;
    meter.lastError = reasonOf(error);
    client.abort();
    log.warn(`${key}: cannot reach the endpoint: ${meter.lastError}`, { endpoint: key, ...hintOf(error) });
  } finally {
    await client.closed;
    meter.active -= 1;
    meter.lastActivity = Date.now();
  }
}

/** `left`: the client was gone before there was an answer, so nobody waits for one. */
async function open(client: Conn, binding: Binding, { ingress, openTimeoutMs }: ForwardDeps): Promise<Opened | { kind: "left" }> {
  const attempt = new AbortController();
  const late = new NgrokdError("timeout", `No answer from the ingress within ${openTimeoutMs / 1000} s`);
  const left = new NgrokdError("cancelled", "The client left");
  const timer = setTimeout(() => attempt.abort(late), openTimeoutMs);
  void client.closed.then(() => attempt.abort(left));
  try {
    return await ingress.open(binding, attempt.signal);
  } catch (error) {
    if (error === left) return { kind: "left" };
    throw isNgrokdError(error, "tls") ? describeTlsFailure(error) : error;
  } finally {
    clearTimeout(timer);
  }
}

function carry(client: Conn, { conn, first }: Extract<Opened, { kind: "accepted" }>, meter: Meter) {
  return splice(client, conn, {
    first,
    onBytes(direction, bytes) {
      if (direction === "a->b") meter.bytesUp += bytes;
      else meter.bytesDown += bytes;
    },
  });
}

function refusalText(refused: Extract<Opened, { kind: "refused" }>): string {
  const advice = refusalAdvice(refused.code);
  const text = short(refused.code === "" ? refused.message : `${refused.code}: ${refused.message}`);
  return advice === undefined ? text : `${text} (${advice})`;
}

/** What the ingress says can be 64 KB long, and of any characters. */
const short = (text: string): string => oneLine(text.slice(0, 500));

const hintOf = (error: unknown): { hint?: string } =>
  error instanceof NgrokdError && error.hint !== undefined ? { hint: error.hint } : {};
