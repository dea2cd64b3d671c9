import type { Api } from "../cloud/api.ts";
import { isUnknownToNgrok } from "../cloud/refusal.ts";
import { deleteTwins, type Identity } from "../cloud/registration.ts";
import { reasonOf } from "../model/error.ts";
import { msUntilTwins, twinsSearched } from "./identity-state.ts";
import type { IdentityStore } from "./identity-store.ts";

/**
 * Deletes the operators of interrupted registrations if that is due. This
 * happens right after a registration, and again when no request of an earlier
 * process can still arrive. Never rejects; after a failure it is due again.
 */
export async function deleteLateTwins(
  store: IdentityStore,
  api: Api,
  signal: AbortSignal,
): Promise<void> {
  const { held, now } = store;
  if (held === undefined || msUntilTwins(held.twinsDue, now()) > 0) return;
  const isDone = await searchTwins(store, held.identity, api, signal);
  store.enter({ state: twinsSearched(held, isDone, now()) });
}

/** Returns true if no twin is left. Never rejects. */
export async function searchTwins(
  { log }: IdentityStore,
  identity: Identity,
  api: Api,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    await deleteTwins(api, identity, log, signal);
    return true;
  } catch (error) {
    log.debug(`Cannot look for leftover operators of registrations: ${reasonOf(error)}`);
    return false;
  }
}

/**
 * Deletes an operator after its replacement. ngrok has reported twice that it
 * is gone. If ngrok was wrong, this leaves no operator of ours behind in the
 * account. Never rejects.
 */
export async function deleteReplaced(
  { log, held }: IdentityStore,
  { operatorId }: Identity,
  api: Api,
  signal: AbortSignal,
): Promise<void> {
  if (operatorId === held?.identity.operatorId) return;
  await api.deleteOperator(operatorId, signal).catch((error: unknown) => {
    if (!isUnknownToNgrok(error))
      log.debug(`Cannot delete the operator ${operatorId}: ${reasonOf(error)}`);
  });
}
