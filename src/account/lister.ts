import type { Api } from "../cloud/api.ts";
import { type ApiEndpoint, living } from "../model/endpoint.ts";
import { reasonOf } from "../model/error.ts";
import type { Log } from "../model/log.ts";

/**
 * Lists the endpoints bound to an operator. Rejects as {@link Api} does.
 * Returns an unchanged list as the same array.
 */
export type Lister = (
  api: Api,
  operatorId: string,
  signal: AbortSignal,
) => Promise<readonly ApiEndpoint[]>;

/**
 * Both of ngrok's lists and the result, with the time of the lister's clock.
 */
interface Listing {
  readonly bound: readonly ApiEndpoint[];
  /** The ids of the account's endpoints. */
  readonly all: readonly string[];
  readonly live: readonly ApiEndpoint[];
  readonly at: number;
}

/**
 * The bound endpoints without those that the account no longer has, since
 * bound_endpoints lags behind deletions (docs/protocol.md, "ngrok's API"). If
 * the account's list cannot be read, the bound list is used unchanged.
 *
 * The account's list is as long as the bound one, and ngrok limits the rate of
 * requests. A list of many pages is therefore read again only in two cases: if
 * the bound list has changed, or after ten seconds for each page. `now`:
 * milliseconds of a monotonic clock.
 */
export function createLister(log: Log, now: () => number = () => performance.now()): Lister {
  let last: Listing | undefined;
  return async (api, operatorId, signal) => {
    const bound = await api.boundEndpoints(operatorId, signal);
    if (bound.length === 0) return bound;
    if (last?.bound === bound && now() - last.at < lifetimeMs(last.all)) return last.live;
    try {
      const all = await api.endpointIds(signal);
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
 * Pure: how long an account's list is used without a new request. For a single
 * page, no request is saved.
 */
const lifetimeMs = (all: readonly string[]): number => Math.floor(all.length / pageSize) * 10_000;

/**
 * ngrok's page size. If pages have another size, it only measures the length.
 */
const pageSize = 100;
