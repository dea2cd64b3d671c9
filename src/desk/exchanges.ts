import type { Page, Query } from "../inspect/inspect.ts";
import type { Replayed } from "../inspect/replay.ts";
import { NgrokdError } from "../model/error.ts";
import type { Exchanges, ReplayReport } from "./exchange-schemas.ts";
import type { Input } from "./operations.ts";

/** The HTTP exchanges that the daemon has read. */
export interface Inspection {
  /** The patterns of the endpoints that are read. */
  readonly inspected: () => readonly string[];
  page(query: Query): Page;
  /** Rejects with NgrokdError `refused` if it cannot be sent again. */
  replay(id: number): Promise<Replayed>;
}

export function exchanges(
  { inspected, page }: Inspection,
  { host = "", after, bodies = false }: Input<"exchanges">,
): Exchanges {
  const wanted = host === "" ? undefined : host.toLowerCase().replace(/\.(?=:|$)/, "");
  const found = page({ host: wanted, after, bodies });
  return { inspected: [...inspected()], ...found, exchanges: [...found.exchanges] };
}

export async function replay(
  inspection: Inspection,
  { id = 0 }: Input<"replay">,
): Promise<ReplayReport> {
  if (id === 0)
    throw new NgrokdError("usage", "A replay needs the number of a request", {
      hint: "`ngrokd http` shows the numbers",
    });
  const { status, reason, bodyBytes, ms, without } = await inspection.replay(id);
  return {
    id,
    status,
    reason,
    body_bytes: bodyBytes,
    took_ms: Math.round(ms),
    without: [...without],
  };
}
