import type { Api } from "../cloud/api.ts";
import { type ApiEndpoint, living } from "../model/endpoint.ts";
import { reasonOf } from "../model/error.ts";
import type { Log } from "../model/log.ts";

/**
 * Lists the endpoints bound to an operator. Rejects as {@link Api} does. An
 * unchanged list comes back as the same array.
 */
export type Lister = (
  api: Api,
  operatorId: string,
  signal: AbortSignal,
) => Promise<readonly ApiEndpoint[]>;

/** Both lists of ngrok's, and the result, at a time of the lister's clock. */
interface Listing {
  readonly bound: readonly ApiEndpoint[];
  readonly all: readonly ApiEndpoint[];
  readonly live: readonly ApiEndpoint[];
  readonly at: number;
}

/**
 * The bound endpoints less those that the account no longer has:
 * bound_endpoints lags behind deletions (docs/protocol.md, "ngrok's API"). The
 * account's list is best effort: without it, the bound list counts as it is.
 *
 * The account's list is as long as the bound one, and ngrok limits the rate of
 * requests. A list of many pages is asked for if the bound one has changed, and
 * otherwise once in ten seconds for each page. `now`: milliseconds of a
 * monotonic clock.
 */
export function createLister(log: Log, now: () => number = () => performance.now()): Lister {
  let last: Listing | undefined;
  return async (api, operatorId, signal) => {
    const bound = await api.boundEndpoints(operatorId, signal);
    if (bound.length === 0) return bound;
    if (last?.bound === bound && now() - last.at < lifetimeMs(last.all)) return last.live;
    try {
      const all = await api.endpoints(signal);
      const isSame = last?.bound === bound && last.all === all;
      const live = isSame && last !== undefined ? last.live : living(bound, all);
      last = { bound, all, live, at: now() };
      return live;
    } catch (error) {
      if (signal.aborted) throw error;
      log.debug(`Cannot tell stale endpoints from live ones: ${reasonOf(error)}`);
      return bound;
    }
  };
}

/**
 * Pure: for how long an account's list is believed. A single page costs nothing
 * worth saving.
 */
const lifetimeMs = (all: readonly ApiEndpoint[]): number =>
  Math.floor(all.length / pageSize) * 10_000;

/** ngrok's own; with other pages it is only a measure of length. */
const pageSize = 100;
