import type { Api } from "../cloud/api.ts";
import { type Identity, savedOperatorId } from "../cloud/registration.ts";
import { createSerial } from "../model/serial.ts";
import { syncFiles } from "./files-on-disk.ts";
import {
  adopted,
  filesWritten,
  msUntilDue,
  renewalTroubleAt,
  warningsOf,
} from "./identity-state.ts";
import { createIdentityStore, type IdentityDeps, type IdentityStore } from "./identity-store.ts";
import { askForIngress } from "./ingress-address.ts";
import { registerFirst, replaceOperator } from "./registering.ts";
import { type CertificateRefresh, refreshCertificate, renewIfDue } from "./renewal.ts";
import type { RenewalTrouble } from "./renewing.ts";
import { type KeySaved, readApiKey, tryAndSaveApiKey } from "./set-api-key.ts";
import { deleteLateTwins } from "./twins.ts";

/**
 * The identity of this machine with ngrok, and its API key. Nothing else
 * changes either of them. Calls that change them run one after the other.
 */
export interface IdentityKeeper {
  /** The identity in use; undefined while there is none. */
  readonly current: Identity | undefined;
  /**
   * The trouble of the last renewal, while a renewal is due and until it
   * succeeds.
   */
  readonly renewalTrouble: RenewalTrouble | undefined;
  /** ngrok's API with the key in effect; undefined while there is none. */
  api(): Api | undefined;
  /**
   * Takes another key into use, such as the one of a reloaded configuration. If
   * the text is not a key, there is no key.
   */
  useKey(text: string): void;
  /**
   * One step of a pass. Loads the saved identity, or registers with `api`;
   * undefined without both. If an administrator has replaced the files, the new
   * ones are used. If the certificate is due, it is renewed. Neither can fail
   * the pass. Rejects as `register` does, or with the reason of `signal`.
   */
  ensure(api: Api | undefined, signal: AbortSignal): Promise<Identity | undefined>;
  /**
   * For an operator that is unknown to ngrok in two replies. Registers again,
   * uses the result, and only then deletes the old operator. Rejects as
   * `register` does. Rejects with `refused` if the operator belongs to another
   * account; the old identity then stays.
   */
  replace(gone: Identity, api: Api, signal: AbortSignal): Promise<Identity>;
  /**
   * Tries a key, saves it and takes it into use. Rejects as {@link
   * tryAndSaveApiKey} does.
   */
  setApiKey(text: string, how: { switchAccount: boolean }): Promise<KeySaved>;
  /**
   * Renews the certificate if that is due, or with `force`. Rejects as
   * `renewCertificate` does, or with `state` without a key.
   */
  refreshCertificate(how: { force: boolean }): Promise<CertificateRefresh>;
  /** The warnings for the user, each a sentence. */
  warnings(): string[];
  /**
   * Milliseconds until {@link ensure} has work that cannot wait for the next
   * poll; Infinity without such work.
   */
  msUntilDue(): number;
}

export function createIdentityKeeper(deps: IdentityDeps): IdentityKeeper {
  const store = createIdentityStore(deps);
  const { keys, now } = store;
  const inTurn = createSerial();

  return {
    get current() {
      return store.held?.identity;
    },
    get renewalTrouble() {
      return store.held && renewalTroubleAt(store.held, now());
    },
    api: keys.api,
    useKey: keys.use,
    // The key may have changed while the call waited for its turn.
    ensure: (api, signal) => inTurn(() => ensure(store, api && keys.api(), signal), signal),
    replace: (gone, api, signal) => inTurn(() => replaceOperator(store, gone, api, signal), signal),
    setApiKey: (text, { switchAccount }) => inTurn(() => setApiKey(store, text, switchAccount)),
    refreshCertificate: (how) => inTurn(() => refreshCertificate(store, how)),
    warnings: () => warningsOf(store.state, deps.loaded().config.server.cert_warn_days, now()),
    msUntilDue: () =>
      keys.inUse === undefined ? Number.POSITIVE_INFINITY : msUntilDue(store.state, now()),
  };
}

async function ensure(
  store: IdentityStore,
  api: Api | undefined,
  signal: AbortSignal,
): Promise<Identity | undefined> {
  await syncFiles(store);
  if (api !== undefined) {
    if (store.held === undefined) return await registerFirst(store, api, signal);
    await askForIngress(store, api, signal);
    await deleteLateTwins(store, api, signal);
    await renewIfDue(store, api, signal);
  } else if (store.held === undefined) store.publish({ kind: "waiting-for-key" });
  return store.held?.identity;
}

async function setApiKey(
  store: IdentityStore,
  text: string,
  switchAccount: boolean,
): Promise<KeySaved> {
  const { keys, log, now } = store;
  // Only a text that can be a key: the log redacts every occurrence of it, also
  // if it is an ordinary word.
  store.keepSecret(readApiKey(text));
  const { config, path, profile } = store.loaded();
  const paths = store.paths();
  const { selectors } = config.bound_endpoints;
  const saved = await tryAndSaveApiKey(text, {
    apiUrl: config.api.url,
    operatorId: store.held?.identity.operatorId ?? (await savedOperatorId(paths)),
    configPath: path,
    profile,
    oldKey: keys.inUse,
    switchAccount: switchAccount ? { paths, selectors, log } : undefined,
    fetch: store.fetch(),
  });
  keys.useProven(saved.key);
  const { moved } = saved;
  const { state } = store;
  store.enter({
    state: moved === undefined ? filesWritten(state) : adopted(state, moved.identity, now()),
  });
  return saved;
}
