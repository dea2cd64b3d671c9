import type { Api } from "../cloud/api.ts";
import type { LastList } from "../cloud/last-list.ts";
import { isUnknownToNgrok } from "../cloud/refusal.ts";
import type { Identity } from "../cloud/registration.ts";
import { isSuspiciouslyShort } from "../exposure/plan.ts";
import { bindingsOf } from "../model/binding.ts";
import { type ApiEndpoint, living } from "../model/endpoint.ts";
import { hintOf, reasonOf } from "../model/error.ts";
import type { Log } from "../model/log.ts";
import type { PassResult, Reconciled } from "../model/pass.ts";
import type { PassEnd } from "./loop.ts";

/** What one pass needs; all effects, so that a test can stage any of them. */
export interface PassDeps {
  /** ngrok's API with the key in effect; undefined while there is none. */
  readonly api: () => Api | undefined;
  /**
   * The saved identity, or one freshly registered with `api`; undefined without
   * both.
   */
  readonly identity: (api: Api | undefined, signal: AbortSignal) => Promise<Identity | undefined>;
  /**
   * Another identity in the place of one whose operator ngrok does not know any
   * more.
   */
  readonly replace: (gone: Identity, api: Api, signal: AbortSignal) => Promise<Identity>;
  readonly reconcile: (listed: readonly ApiEndpoint[]) => Promise<Reconciled>;
  /** What ngrok listed before this start, as far as it was kept. */
  readonly lastList: LastList | undefined;
  readonly keepList: (list: LastList) => Promise<void>;
  /** The keys of the bindings that are served now. */
  readonly serving: () => readonly string[];
  readonly log: Log;
}

/**
 * One pass (design.md): identity, the list, and this machine made to match it.
 * Never rejects. Where ngrok cannot be asked, what it listed last counts, also
 * before this start: what runs stays, and what could not be done here is tried
 * again.
 */
export function createPass(deps: PassDeps): (signal: AbortSignal) => Promise<PassResult> {
  const { log } = deps;
  // What is remembered, until it is seen again: a list that was too short to be
  // believed, and the operator that ngrok did not know.
  let doubted = false;
  let missed = "";
  const listEndpoints = createLister(log);
  /** The last list that was made true. */
  let made: readonly ApiEndpoint[] | undefined;
  /** The last list that was kept for the next start. */
  let kept: LastList | undefined;

  return async (signal) => {
    try {
      const identity = await deps.identity(deps.api(), signal);
      // Asked for now: another key may have come while the identity was waited
      // for.
      const api = deps.api();
      if (api === undefined || identity === undefined) return { kind: "idle" };
      const seen = await lookUp(api, identity, signal);
      if (seen.kind === "unknown") {
        missed = identity.operatorId;
        log.info(
          `ngrok does not know the operator ${missed}; looking again before this machine is registered anew`,
        );
        return { kind: "gone", error: seen.error };
      }
      if (seen.kind === "unheard") {
        const { error } = seen;
        const last = made ?? listedBefore(identity);
        if (last === undefined || signal.aborted) return { kind: "failed", error };
        return {
          kind: "failed",
          error,
          reconciled: await deps.reconcile(last),
          resumed: made === undefined,
        };
      }
      const { listed, operatorId } = seen;
      missed = "";
      signal.throwIfAborted();
      if (listed !== made && !doubted) {
        const serving = deps.serving();
        if (
          isSuspiciouslyShort(serving, new Set(bindingsOf(listed).bindings.map(({ key }) => key)))
        ) {
          doubted = true;
          log.info(
            `ngrok lists few of the ${serving.length} endpoints that are served; looking again before any is retired`,
          );
          return { kind: "confirm", reconciled: undefined };
        }
      }
      doubted = false;
      const reconciled = await deps.reconcile(listed);
      made = listed;
      return { kind: "ok", reconciled: await keep({ operatorId, endpoints: listed }, reconciled) };
    } catch (error) {
      return { kind: "failed", error };
    }
  };

  function listedBefore({ operatorId }: Identity): readonly ApiEndpoint[] | undefined {
    const { lastList } = deps;
    return missed === "" && lastList?.operatorId === operatorId ? lastList.endpoints : undefined;
  }

  /**
   * Keeps a list for the next start; where it cannot be kept, that is a problem
   * of the pass, and the next one tries again.
   */
  async function keep(list: LastList, reconciled: Reconciled): Promise<Reconciled> {
    if (kept?.endpoints === list.endpoints && kept.operatorId === list.operatorId)
      return reconciled;
    try {
      await deps.keepList(list);
      kept = list;
      return reconciled;
    } catch (error) {
      return {
        ...reconciled,
        problems: [...reconciled.problems, { reason: reasonOf(error), hint: hintOf(error) }],
      };
    }
  }

  /**
   * What is bound to our operator, or to the one that takes its place where
   * ngrok does not know it for the second time.
   */
  async function lookUp(api: Api, identity: Identity, signal: AbortSignal) {
    try {
      const { operatorId } = identity;
      return {
        kind: "listed" as const,
        operatorId,
        listed: await listEndpoints(api, operatorId, signal),
      };
    } catch (error) {
      if (!isUnknownToNgrok(error)) return { kind: "unheard" as const, error };
      if (missed !== identity.operatorId) return { kind: "unknown" as const, error };
    }
    const { operatorId } = await deps.replace(identity, api, signal);
    return {
      kind: "listed" as const,
      operatorId,
      listed: await listEndpoints(api, operatorId, signal),
    };
  }
}

export function passEnd(result: PassResult): PassEnd {
  if (result.kind === "failed") return result;
  return { kind: result.kind === "gone" ? "confirm" : result.kind };
}

/**
 * Lists what is bound to our operator, less what the account no longer has,
 * since bound_endpoints lags behind deletions (docs/protocol.md, "ngrok's
 * API"). The second list is best effort: where it fails, the first counts as it
 * is. Where both are what they were, so is the answer.
 *
 * The second list is as long as the first, and ngrok limits the rate of
 * requests: one of many pages is asked for when the first has changed, and
 * otherwise every ten seconds a page. `now`: milliseconds of a clock that does
 * not jump.
 */
export function createLister(
  log: Log,
  now: () => number = () => performance.now(),
): (api: Api, operatorId: string, signal: AbortSignal) => Promise<readonly ApiEndpoint[]> {
  let last:
    | {
        readonly bound: unknown;
        readonly all: readonly ApiEndpoint[];
        readonly listed: readonly ApiEndpoint[];
        readonly at: number;
      }
    | undefined;
  return async (api, operatorId, signal) => {
    const bound = await api.boundEndpoints(operatorId, signal);
    if (bound.length === 0) return bound;
    if (last?.bound === bound && now() - last.at < patienceWith(last.all)) return last.listed;
    try {
      const all = await api.endpoints(signal);
      const same = last?.bound === bound && last.all === all;
      const listed = same && last !== undefined ? last.listed : living(bound, all);
      last = { bound, all, listed, at: now() };
      return listed;
    } catch (error) {
      if (signal.aborted) throw error;
      log.debug(`Cannot tell stale endpoints from live ones: ${reasonOf(error)}`);
      return bound;
    }
  };
}

/**
 * Pure: for how long a list of the account is believed. A single page costs
 * nothing worth saving.
 */
const patienceWith = (all: readonly ApiEndpoint[]): number =>
  Math.floor(all.length / pageSize) * 10_000;
/**
 * ngrok's own; where pages are of another size, this is only a measure of
 * length.
 */
const pageSize = 100;
