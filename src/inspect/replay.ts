import { NgrokdError, reasonOf } from "../model/error.ts";
import type { Address, Conn, Net } from "../net/types.ts";
import { createBudget } from "./budget.ts";
import type { Exchange } from "./exchange.ts";
import { createReader } from "./reader.ts";
import type { Kept } from "./store.ts";

/** A request that can be sent again. */
export interface Replayable {
  readonly bytes: Uint8Array;
  /** The names of fields that are left out, since their values are not kept. */
  readonly without: readonly string[];
}

/** What came of it. */
export interface Replayed extends Pick<Replayable, "without"> {
  readonly status: number;
  readonly reason: string;
  /** The bytes of the reply's body. */
  readonly bodyBytes: number;
  readonly ms: number;
}

/** Fields about the old connection and the old framing. */
const ofConnection: ReadonlySet<string> = new Set([
  ...["connection", "keep-alive", "proxy-connection", "te", "trailer", "upgrade", "expect"],
  ...["content-length", "transfer-encoding"],
]);

/**
 * Pure: the same request for a connection of its own. Throws NgrokdError
 * `refused` if it cannot be the same.
 */
export function replayable(kept: Kept | undefined, id: number): Replayable {
  if (kept === undefined)
    throw refusal(id, "it is not among those that are kept", "`ngrokd http` lists them");
  const { end, method, target, hidden, request } = kept.exchange;
  if (end !== "whole") throw refusal(id, "it was not read to its end");
  if (request.body === undefined)
    throw refusal(id, "bodies were not kept", "`inspect.body_bytes` can keep them from now on");
  if (!request.body.whole)
    throw refusal(
      id,
      `only ${request.body.bytes.length} of the ${request.bodyBytes} bytes of its body were kept`,
      "a larger `inspect.body_bytes` keeps more from now on",
    );
  if (hidden)
    throw refusal(
      id,
      "the values of its query were not kept",
      "`inspect.queries: true` keeps them from now on",
    );
  const without = new Set<string>();
  const lines = [`${method} ${target} ${request.version}`];
  for (const { name, value } of request.fields) {
    if (ofConnection.has(name.toLowerCase())) continue;
    if (value === undefined) without.add(name);
    else lines.push(`${name}: ${value}`);
  }
  const hadBody = request.fields.some(({ name }) => framing.test(name));
  if (hadBody) lines.push(`Content-Length: ${request.body.bytes.length}`);
  lines.push("Connection: close", "", "");
  const head = Buffer.from(lines.join("\r\n"), "latin1");
  return { bytes: Buffer.concat([head, request.body.bytes]), without: [...without] };
}

const framing = /^(?:content-length|transfer-encoding)$/i;

const refusal = (id: number, reason: string, hint?: string): NgrokdError =>
  new NgrokdError("refused", `Cannot replay the request ${id}: ${reason}`, {
    ...(hint !== undefined && { hint }),
  });

/**
 * Sends a request on a connection of its own, and reads the reply to its end.
 * Rejects with NgrokdError `refused` if there is none in `withinMs`.
 */
export async function replay(
  net: Pick<Net, "dial">,
  address: Address,
  { bytes, without }: Replayable,
  withinMs: number,
): Promise<Replayed> {
  const signal = AbortSignal.timeout(withinMs);
  let conn: Conn | undefined;
  const cut = (): void => conn?.abort();
  signal.addEventListener("abort", cut, { once: true });
  try {
    conn = await net.dial(address, { signal });
    const { reply, times } = await answer(conn, bytes);
    if (reply === undefined) throw new NgrokdError("aborted", "the connection ended without one");
    const { status, reason, bodyBytes } = reply;
    return { status, reason, bodyBytes, ms: times.total, without };
  } catch (error) {
    const reason = signal.aborted ? `nothing for ${withinMs / 1000} s` : reasonOf(error);
    throw new NgrokdError("refused", `The endpoint gave no whole reply: ${reason}`, {
      cause: error,
      hint: "the log says why; `access.rules` count for the daemon's own user, too",
    });
  } finally {
    signal.removeEventListener("abort", cut);
    conn?.close();
  }
}

/** The exchange on a new connection; rejects if the reply is not whole. */
async function answer(conn: Conn, request: Uint8Array): Promise<Exchange> {
  let found: Exchange | undefined;
  const reader = createReader({
    endpoint: "",
    host: "",
    client: "",
    keeping: { keepsField: () => false, queries: false, bodyBytes: 0 },
    budget: createBudget(mostHead),
    done(exchange) {
      found = exchange;
    },
  });
  reader.up(request);
  await conn.write(request);
  while (found === undefined) {
    const bytes = await conn.read();
    if (bytes === null) reader.end(true);
    else reader.down(bytes);
    if (bytes === null) break;
  }
  if (found?.end === "whole") return found;
  throw new NgrokdError("aborted", found?.note ?? "the connection ended without one");
}

const mostHead = 1024 * 1024;
