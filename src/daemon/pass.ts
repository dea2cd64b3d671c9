import type { Api } from "../cloud/api.ts";
import type { Identity } from "../cloud/registration.ts";
import { bindingsOf } from "../model/binding.ts";
import type { ApiEndpoint } from "../model/endpoint.ts";
import { NgrokdError, reasonOf } from "../model/error.ts";
import type { Log } from "../model/log.ts";
import type { PassEnd } from "./loop.ts";
import { isSuspiciouslyShort } from "./plan.ts";
import type { Reconciled } from "./reconcile.ts";

/** What one pass needs; all effects, so that a test can stage any of them. */
export interface PassDeps {
  /** ngrok's API with the key in effect; undefined while there is none. */
  readonly api: () => Api | undefined;
  /** The saved identity, or one freshly registered with `api`; undefined without both. */
  readonly identity: (api: Api | undefined, signal: AbortSignal) => Promise<Identity | undefined>;
  readonly reconcile: (listed: readonly ApiEndpoint[]) => Promise<Reconciled>;
  /** The keys of the bindings that are served now. */
  readonly serving: () => readonly string[];
  readonly log: Log;
}

/** What a pass found, for the state; `kind` tells the loop when to come back. */
export type PassResult =
  | { readonly kind: "idle" }
  | { readonly kind: "ok" | "confirm"; readonly reconciled: Reconciled | undefined }
  | { readonly kind: "failed"; readonly error: unknown };

/** One pass (design.md): identity, the list, and this machine made to match it. Never rejects: a failure leaves everything as it runs. */
export function createPass(deps: PassDeps): (signal: AbortSignal) => Promise<PassResult> {
  const { log } = deps;
  // The one thing that is remembered: a list that was too short to be believed, until it is seen again.
  let doubted = false;

  return async (signal) => {
    try {
      const api = deps.api();
      const identity = await deps.identity(api, signal);
      if (api === undefined || identity === undefined) return { kind: "idle" };
      const listed = await listEndpoints(api, identity.operatorId, signal, log);
      signal.throwIfAborted();
      const serving = deps.serving();
      if (!doubted && isSuspiciouslyShort(serving, new Set(bindingsOf(listed).bindings.map(({ key }) => key)))) {
        doubted = true;
        log.info(`ngrok lists few of the ${serving.length} endpoints that are served; looking again before any is retired`);
        return { kind: "confirm", reconciled: undefined };
      }
      doubted = false;
      return { kind: "ok", reconciled: await deps.reconcile(listed) };
    } catch (error) {
      return { kind: "failed", error };
    }
  };
}

export function passEnd(result: PassResult): PassEnd {
  return result.kind === "failed" ? result : { kind: result.kind };
}

/**
 * What is bound to our operator, less what the account no longer has: bound_endpoints lags behind deletions (protocol.md section 1).
 * The second list is best effort: where it fails, the first counts as it is.
 */
async function listEndpoints(api: Api, operatorId: string, signal: AbortSignal, log: Log): Promise<ApiEndpoint[]> {
  const bound = await api.boundEndpoints(operatorId, signal);
  if (bound.length === 0) return bound;
  try {
    const alive = new Set((await api.endpoints(signal)).map(({ id }) => id));
    return bound.filter(({ id }) => id === "" || alive.has(id));
  } catch (error) {
    if (signal.aborted) throw error;
    log.debug(`Cannot tell stale endpoints from live ones: ${reasonOf(error)}`);
    return bound;
  }
}

export const noIdentity = (): NgrokdError =>
  new NgrokdError("state", "This machine is not registered with ngrok yet", { hint: "run `ngrokd set-api-key`" });
