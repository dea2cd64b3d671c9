import type { Api } from "../cloud/api.ts";
import { type CertificateFacts, renewalTime } from "../cloud/certificate.ts";
import { renewCertificate } from "../cloud/renewal.ts";
import { NgrokdError } from "../model/error.ts";
import { notRegistered } from "../model/failure.ts";
import { keyCommand } from "../model/state.ts";
import { saveUnsaved } from "./files-on-disk.ts";
import {
  filesWritten,
  type HeldIdentity,
  renewalEnded,
  renewalFailed,
  renewed,
} from "./identity-state.ts";
import type { IdentityStore } from "./identity-store.ts";
import { renewalNeed } from "./renewing.ts";

/** The end of a request to renew the certificate. */
export interface CertificateRefresh {
  /** False: it was not due. */
  readonly renewed: boolean;
  readonly at: Date;
  /** The end of the certificate in use, and the time of its renewal. */
  readonly notAfter: Date;
  readonly due: Date;
}

/**
 * Renews the certificate if that is due. Rejects only if `signal` aborts. Any
 * other failure is in the state, with the time of the next attempt.
 */
export async function renewIfDue(
  store: IdentityStore,
  api: Api,
  signal: AbortSignal,
): Promise<void> {
  const { held, now } = store;
  if (held === undefined) return;
  if (renewalNeed(held.certificate, held.renewalTrouble, now()) !== "due") return;
  try {
    await renew(store, held, api, signal);
  } catch (error) {
    if (signal.aborted) throw error;
  }
}

/**
 * Renews the certificate for a user, if it is due or with `force`. Rejects with
 * NgrokdError `state` without an identity or an API key, or as
 * {@link renewCertificate} does.
 */
export async function refreshCertificate(
  store: IdentityStore,
  { force }: { readonly force: boolean },
): Promise<CertificateRefresh> {
  const { held, keys, now } = store;
  if (held === undefined) throw notRegistered();
  const api = keys.api();
  if (api === undefined) {
    throw new NgrokdError("state", "Cannot renew the certificate: there is no API key", {
      hint: `run ${keyCommand(store.loaded())}`,
    });
  }
  const facts = (certificate: CertificateFacts) => ({
    at: now(),
    notAfter: certificate.notAfter,
    due: renewalTime(certificate),
  });
  if (!force && now() < renewalTime(held.certificate))
    return { renewed: false, ...facts(held.certificate) };
  const { certificate } = await renew(store, held, api);
  return { renewed: true, ...facts(certificate) };
}

/** The new certificate is used at once, even if it cannot be saved. */
async function renew(
  store: IdentityStore,
  held: HeldIdentity,
  api: Api,
  signal?: AbortSignal,
): Promise<HeldIdentity> {
  const { log, now, random } = store;
  try {
    const identity = await renewCertificate({ api, identity: held.identity, signal, now });
    const { certificate } = store.enter({ state: renewed(held, identity) });
    await saveUnsaved(store);
    log.info(
      `Renewed the client certificate; it is valid until ${certificate.notAfter.toISOString()}`,
    );
    return store.enter(renewalEnded(store.held ?? held, now(), random()));
  } catch (error) {
    if (signal?.aborted !== true) store.enter(renewalFailed(held, error, now(), random()));
    throw error;
  } finally {
    store.enter({ state: filesWritten(store.state) });
  }
}
