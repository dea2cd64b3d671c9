import { refusalAdvice } from "../ingress/advice.ts";
import type { Ingress, Opened } from "../ingress/ingress.ts";
import { describeTlsFailure } from "../ingress/trust.ts";
import type { Binding } from "../model/binding.ts";
import { isNgrokdError, NgrokdError, reasonOf } from "../model/error.ts";
import type { Log } from "../model/log.ts";
import { addressText, type Conn } from "../net/types.ts";
import type { Meter } from "./meter.ts";
import { splice } from "./splice.ts";

export interface ForwardDeps {
  readonly ingress: Ingress;
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
  meter.active += 1;
  meter.total += 1;
  meter.lastActivity = Date.now();
  try {
    const opened = await open(binding, deps);
    if (opened.kind === "refused") {
      meter.refused += 1;
      meter.lastError = refusalText(opened);
      log.warn(`${binding.key}: the ingress refused: ${meter.lastError}`, { endpoint: binding.key, code: opened.code });
      client.abort();
      return;
    }
    meter.lastError = "";
    for (const notice of opened.notices) log.info(`${binding.key}: ngrok says: ${notice}`, { endpoint: binding.key });
    const end = await carry(client, opened, meter);
    if (end.kind === "aborted") {
      // A reset by one of the two ends is their business; it is passed on, counted, and no cause for alarm.
      meter.errors += 1;
      log.debug(
        `${binding.key}: connection from ${addressText(client.remote)} reset by the ${end.side === "a" ? "client" : "ingress"}: ${end.error.message}`,
      );
    }
  } catch (error) {
    meter.errors += 1;
    meter.lastError = reasonOf(error);
    client.abort();
    log.warn(`${binding.key}: cannot reach the endpoint: ${meter.lastError}`, { endpoint: binding.key, ...hintOf(error) });
  } finally {
    await client.closed;
    meter.active -= 1;
    meter.lastActivity = Date.now();
  }
}

async function open(binding: Binding, deps: ForwardDeps): Promise<Opened> {
  const { ingress, openTimeoutMs } = deps;
  const deadline = new AbortController();
  const timer = setTimeout(() => {
    deadline.abort(new NgrokdError("timeout", `No answer from the ingress within ${openTimeoutMs / 1000} s`));
  }, openTimeoutMs);
  try {
    return await ingress.open(binding, deadline.signal);
  } catch (error) {
    throw isNgrokdError(error, "tls") ? describeTlsFailure(error) : error;
  } finally {
    clearTimeout(timer);
  }
}

async function carry(client: Conn, opened: Extract<Opened, { kind: "accepted" }>, meter: Meter) {
  const { conn, first } = opened;
  if (first.length > 0) {
    // The endpoint spoke first, and its bytes came with the answer.
    meter.bytesDown += first.length;
    try {
      await client.write(first);
    } catch (error) {
      conn.abort();
      throw error;
    }
  }
  return await splice(client, conn, {
    onBytes(direction, bytes) {
      if (direction === "a->b") meter.bytesUp += bytes;
      else meter.bytesDown += bytes;
    },
  });
}

function refusalText(refused: Extract<Opened, { kind: "refused" }>): string {
  const advice = refusalAdvice(refused.code);
  const text = refused.code === "" ? refused.message : `${refused.code}: ${refused.message}`;
  return advice === undefined ? text : `${text} (${advice})`;
}

const hintOf = (error: unknown): { hint?: string } =>
  error instanceof NgrokdError && error.hint !== undefined ? { hint: error.hint } : {};
