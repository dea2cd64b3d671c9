import { type IdentityPaths, loadIdentity, savePart } from "../cloud/registration.ts";
import { stampOf } from "../files/stamp.ts";
import { reasonOf } from "../model/error.ts";
import { filesRead, filesUnusable, partSaved, partUnsaved } from "./identity-state.ts";
import type { IdentityStore } from "./identity-store.ts";

/**
 * Makes the identity's files and the state agree. It saves the unsaved parts,
 * then reads the files if they have changed. Rejects as {@link loadIdentity}
 * does, but only if there is no identity in use.
 */
export async function syncFiles(store: IdentityStore): Promise<void> {
  await saveUnsaved(store);
  const { held, now } = store;
  // The file still has the old certificate, which must not be used again.
  if (held?.unsaved.certificate !== undefined) return;
  const paths = store.paths();
  const stamp = await stampOfAll(paths);
  if (held !== undefined && stamp === held.stamp) return;
  try {
    const found = await loadIdentity(paths, now());
    store.enter(filesRead(store.state, found, stamp, now()));
  } catch (error) {
    if (held === undefined) throw error;
    store.enter(filesUnusable(held, reasonOf(error), now()));
  }
}

/**
 * Saves the parts in use that are not on disk. They stay in use even if the
 * disk is full. A failure is logged, and the next call tries again. Never
 * rejects.
 */
export async function saveUnsaved(store: IdentityStore): Promise<void> {
  for (const part of ["certificate", "ingress"] as const) {
    const { held } = store;
    if (held?.unsaved[part] === undefined) continue;
    try {
      await savePart(store.paths(), held.identity, part);
      store.enter({ state: partSaved(held, part) });
    } catch (error) {
      store.enter(partUnsaved(held, part, reasonOf(error)));
    }
  }
}

/** A text that changes if one of the files is replaced or written to. */
async function stampOfAll({ key, cert, operatorId }: IdentityPaths): Promise<string> {
  return (await Promise.all([key, cert, operatorId].map(stampOf))).join("; ");
}
