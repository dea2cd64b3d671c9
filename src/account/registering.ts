import type { Api } from "../cloud/api.ts";
import { type Identity, register } from "../cloud/registration.ts";
import { hintOf, reasonOf } from "../model/error.ts";
import { hostFacts } from "./host-facts.ts";
import { adopted, filesWritten } from "./identity-state.ts";
import type { IdentityStore } from "./identity-store.ts";
import { deleteReplaced, searchTwins } from "./twins.ts";

/**
 * Registers this machine, which has no identity. Rejects as `register` does.
 */
export async function registerFirst(
  store: IdentityStore,
  api: Api,
  signal: AbortSignal,
): Promise<Identity> {
  store.publish({ kind: "registering" });
  try {
    return await registered(store, api, { again: false, signal });
  } catch (error) {
    store.publish({ kind: "failed", reason: reasonOf(error), hint: hintOf(error) });
    throw error;
  }
}

/**
 * Registers again if the operator is unknown to ngrok. Rejects as {@link
 * register} does. Rejects with `refused` if the operator and the key belong to
 * different accounts; the old identity then stays.
 */
export async function replaceOperator(
  store: IdentityStore,
  gone: Identity,
  api: Api,
  signal: AbortSignal,
): Promise<Identity> {
  const { held, keys, log } = store;
  // An earlier call in the queue may have replaced it already.
  if (held !== undefined && held.identity.operatorId !== gone.operatorId) return held.identity;
  // A key that was written into the configuration by hand may belong to an
  // account that never had the operator.
  await keys.refuseAnotherAccount(gone.operatorId, signal);
  log.warn(`ngrok no longer knows the operator ${gone.operatorId}; registering this machine again`);
  try {
    const identity = await registered(store, api, { again: true, signal });
    await deleteReplaced(store, gone, api, signal);
    return identity;
  } finally {
    store.enter({ state: filesWritten(store.state) });
  }
}

async function registered(
  store: IdentityStore,
  api: Api,
  how: { readonly again: boolean; readonly signal: AbortSignal },
): Promise<Identity> {
  const { loaded, log, now } = store;
  const identity = await register({
    api,
    paths: store.paths(),
    facts: { selectors: loaded().config.bound_endpoints.selectors },
    host: hostFacts(),
    log,
    now,
    ...how,
  });
  store.enter({ state: adopted(store.state, identity, now()) });
  await searchTwins(store, identity, api, how.signal);
  return identity;
}
