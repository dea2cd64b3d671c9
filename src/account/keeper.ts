import { type Api, createApi, type ListMemory } from "../cloud/api.ts";
import {
  type CertificateFacts,
  inspectCertificate,
  renewalDue,
  renewalTime,
} from "../cloud/certificate.ts";
import type { Fetch } from "../cloud/exchange.ts";
import { isUnknownToNgrok } from "../cloud/refusal.ts";
import {
  deleteTwins,
  type Identity,
  identityPaths,
  type LoadedIdentity,
  loadIdentity,
  register,
  savedOperatorId,
  saveIngressEndpoint,
} from "../cloud/registration.ts";
import { renewCertificate, saveRenewed } from "../cloud/renewal.ts";
import type { Loaded } from "../config/load.ts";
import { stampOf } from "../files/stamp.ts";
import { type ApiKey, parseApiKey } from "../model/api-key.ts";
import { retryDelay } from "../model/backoff.ts";
import type { CertificateReport } from "../model/certificate-report.ts";
import { hintOf, isNgrokdError, NgrokdError, reasonOf } from "../model/error.ts";
import { sameFailure } from "../model/failure.ts";
import type { Log } from "../model/log.ts";
import { createSerial } from "../model/serial.ts";
import type { Registration } from "../model/state.ts";
import { userAgent } from "../version.ts";
import { noIdentity } from "./poll.ts";
import {
  certificateWarning,
  lifeText,
  lookAt,
  type RenewalTrouble,
  untilNextLook,
} from "./renewing.ts";
import { hostFacts, type KeySaved, readApiKey, tryAndSaveApiKey } from "./set-api-key.ts";

/**
 * What the keeper of the identity needs; settings are asked for anew every
 * time.
 */
export interface IdentityDeps {
  readonly loaded: () => Loaded;
  readonly fetch: () => Fetch;
  readonly log: Log;
  /** Told of every secret that must not reach the log. */
  readonly keepSecret: (secret: string) => void;
  readonly publish: (registration: Registration) => void;
  /**
   * Called whenever another identity is in use: what was opened with the old
   * one must not serve new connections.
   */
  readonly changed: () => void;
  readonly now?: () => Date;
  readonly random?: () => number;
}

/**
 * Who this machine is to ngrok, and the key that says so: the one place that
 * changes either, and one thing at a time.
 */
export interface IdentityKeeper {
  /** The identity in use; undefined while there is none. */
  readonly current: Identity | undefined;
  /** Why renewing the certificate has failed, until it succeeds. */
  readonly renewalTrouble: RenewalTrouble | undefined;
  /** ngrok's API with the key in effect; undefined while there is none. */
  api(): Api | undefined;
  /**
   * Takes another key into use, such as that of a configuration that was read
   * anew; a text that is no key means that there is none.
   */
  useKey(text: string): void;
  /**
   * A pass's look: loads the saved identity, or registers with `api`; undefined
   * without both. What an administrator has put in its place is taken over, and
   * a certificate that is due is renewed; neither can fail the pass. Rejects
   * with what {@link register} does.
   */
  ensure(api: Api | undefined, signal: AbortSignal): Promise<Identity | undefined>;
  /**
   * For an operator that ngrok has twice said it does not know: registers anew,
   * takes the result into use, and only then lets go of the old one. Rejects
   * with what {@link register} does, or `refused` where the operator is another
   * account's; the old identity then stays.
   */
  replace(gone: Identity, api: Api, signal: AbortSignal): Promise<Identity>;
  /**
   * Tries a key, saves it and takes it into use. Rejects with what
   * {@link tryAndSaveApiKey} does.
   */
  setApiKey(text: string, how: { switchAccount: boolean }): Promise<KeySaved>;
  /**
   * Renews the certificate where that is due, or in any case. Rejects with what
   * {@link renewCertificate} does, or `state` without a key.
   */
  refreshCertificate(how: { force: boolean }): Promise<CertificateReport>;
  /** What a person should know of it, each a sentence. */
  warnings(): string[];
  /**
   * Milliseconds until {@link ensure} has something to do that cannot wait for
   * the next poll; Infinity where it never has.
   */
  untilNextLook(): number;
}

export function createIdentityKeeper(deps: IdentityDeps): IdentityKeeper {
  const { loaded, log, publish, now = () => new Date(), random = Math.random } = deps;
  const alone = createSerial();
  let apiKey = parseApiKey(loaded().config.api.key);
  /** The keys before the one in use: they know whose the operator is. */
  const formerKeys = new Set<ApiKey>();
  let current: Identity | undefined;
  let certificate: CertificateFacts | undefined;
  /**
   * Operators whose files name no ingress, with what ngrok named when it was
   * asked: undefined where it names none either.
   */
  const ingressOf = new Map<string, string | undefined>();
  const lists: ListMemory = new Map();
  let renewalTrouble: RenewalTrouble | undefined;
  /**
   * How the files looked when they were last read; undefined: look into them.
   */
  let stamp: string | undefined;
  let fileTrouble = "";
  let ingressTrouble = "";
  let toldOfUnusable = "";
  /** Renewed and in use, and not on disk yet. */
  let unsaved: Identity | undefined;
  /**
   * When to look for what a registration of an earlier life has made since
   * ours; undefined: that was done.
   */
  let twinsDue: Date | undefined;

  return {
    get current() {
      return current;
    },
    get renewalTrouble() {
      return renewalTrouble;
    },
    api: apiNow,
    useKey,
    // Another key may have come while its turn did.
    ensure: (api, signal) => alone(() => ensure(api && apiNow(), signal), signal),
    replace: (gone, api, signal) => alone(() => replace(gone, api, signal), signal),
    setApiKey: (text, how) => alone(() => setApiKey(text, how)),
    refreshCertificate: (how) => alone(() => refreshCertificate(how)),
    warnings() {
      const warnDays = loaded().config.server.cert_warn_days;
      const warning =
        certificate && certificateWarning(certificate, renewalTrouble, warnDays, now());
      return [warning ?? "", fileTrouble, ingressTrouble].filter((text) => text !== "");
    },
    untilNextLook() {
      if (certificate === undefined || !apiKey.ok) return Number.POSITIVE_INFINITY;
      const untilTwins =
        twinsDue === undefined ? Number.POSITIVE_INFINITY : twinsDue.getTime() - now().getTime();
      return Math.min(untilNextLook(certificate, renewalTrouble, now()), untilTwins);
    },
  };

  async function ensure(api: Api | undefined, signal: AbortSignal): Promise<Identity | undefined> {
    const found = await look();
    if (current === undefined && found?.kind === "unusable") tellUnusable(found.reason);
    if (found?.kind === "identity") adopt(found.identity);
    if (current !== undefined) {
      const known = await withIngress(current, api, signal);
      if (api === undefined) return known;
      if (twinsDue !== undefined && twinsDue <= now())
        twinsDue = (await withoutTwins(known, api, signal)) ? undefined : afterRegistrations(now());
      return await renewIfDue(known, api, signal);
    }
    if (api === undefined) {
      publish({ kind: "waiting-for-key" });
      return undefined;
    }
    publish({ kind: "registering" });
    try {
      return await registered(api, { signal });
    } catch (error) {
      publish({ kind: "failed", reason: reasonOf(error), hint: hintOf(error) });
      throw error;
    } finally {
      stamp = undefined;
    }
  }

  /**
   * What the files say, where they have changed since the last look: an
   * identity that is to be used from now on, or, before there is one in use,
   * why there is none. While one is in use, files that make none change
   * nothing; the reason is in the warnings until they do.
   */
  async function look(): Promise<LoadedIdentity | undefined> {
    if (unsaved !== undefined && !(await save(unsaved))) return undefined;
    const seen = await identityStamp(paths());
    if (current !== undefined && seen === stamp) return undefined;
    try {
      const found = await loadIdentity(paths(), now());
      stamp = seen;
      if (current === undefined) return found;
      if (found.kind !== "identity")
        return keepCurrent(found.kind === "none" ? "they are gone" : found.reason);
      fileTrouble = "";
      const identity = withAnswer(found.identity);
      if (sameIdentity(identity, current)) return undefined;
      log.info(
        `The files of the identity have changed: the operator ${identity.operatorId} is in use from now on`,
      );
      return { kind: "identity", identity };
    } catch (error) {
      if (current === undefined) throw error;
      return keepCurrent(reasonOf(error));
    }
  }

  async function registered(
    api: Api,
    more: { readonly anew?: boolean; readonly signal: AbortSignal },
  ): Promise<Identity> {
    const identity = adopt(await register({ ...registration(api), ...more }));
    await withoutTwins(identity, api, more.signal);
    return identity;
  }

  /** Never rejects; answers whether there are none now. */
  async function withoutTwins(identity: Identity, api: Api, signal: AbortSignal): Promise<boolean> {
    return await deleteTwins(api, identity, log, signal).then(
      () => true,
      (error: unknown) => {
        log.debug(`Cannot look for operators that registrations have left: ${reasonOf(error)}`);
        return false;
      },
    );
  }

  function keepCurrent(reason: string): undefined {
    // One of ours whose certificate has expired is no change by anybody;
    // renewing says what there is to say.
    if (certificate !== undefined && certificate.notAfter <= now()) return;
    const trouble = `The files of the identity have changed and cannot be used, so the ones before stay in use: ${reason}`;
    if (trouble !== fileTrouble) log.warn(trouble);
    fileTrouble = trouble;
  }

  function tellUnusable(reason: string): void {
    if (reason !== toldOfUnusable)
      log.warn(`The saved identity cannot be used: ${reason}`, {
        hint: "ngrok is asked to put it right",
      });
    toldOfUnusable = reason;
  }

  async function renewIfDue(known: Identity, api: Api, signal: AbortSignal): Promise<Identity> {
    if (certificate === undefined || lookAt(certificate, renewalTrouble, now()) !== "due")
      return known;
    try {
      return await renew(known, api, signal);
    } catch (error) {
      if (signal.aborted) throw error;
      return known;
    }
  }

  async function renew(known: Identity, api: Api, signal?: AbortSignal): Promise<Identity> {
    try {
      const before = renewalTrouble;
      const renewed = adopt(await renewCertificate({ api, identity: known, signal, now }));
      await save(renewed);
      log.info(
        `Renewed the client certificate; it is valid until ${certificate?.notAfter.toISOString()}`,
      );
      renewalTrouble = before;
      if (certificate !== undefined && renewalDue(certificate, now())) noteTrouble(dueAlready());
      else renewalTrouble = undefined;
      return renewed;
    } catch (error) {
      if (signal?.aborted !== true) noteTrouble(error);
      throw error;
    } finally {
      stamp = undefined;
    }
  }

  /**
   * A disk that is full is no reason to go on with a certificate that ends:
   * what is in use is saved as soon as that can be.
   */
  async function save(renewed: Identity): Promise<boolean> {
    try {
      await saveRenewed(paths(), renewed);
      unsaved = undefined;
      fileTrouble = "";
      return true;
    } catch (error) {
      unsaved = renewed;
      const trouble = `The renewed client certificate is in use, and cannot be saved: ${reasonOf(error)}`;
      if (trouble !== fileTrouble)
        log.warn(trouble, {
          hint: "it is tried again with every poll; until then a restart begins with the old one",
        });
      fileTrouble = trouble;
      return false;
    } finally {
      stamp = undefined;
    }
  }

  function noteTrouble(error: unknown): void {
    const failures = (renewalTrouble?.failures ?? 0) + 1;
    const [reason, hint] = [reasonOf(error), hintOf(error)];
    if (renewalTrouble === undefined || !sameFailure(renewalTrouble.reason, reason)) {
      log.warn(
        `The client certificate could not be renewed: ${reason}`,
        hint === "" ? {} : { hint },
      );
    }
    renewalTrouble = {
      failures,
      next: new Date(now().getTime() + retryDelay(error, failures, random())),
      reason,
      hint,
    };
  }

  async function replace(gone: Identity, api: Api, signal: AbortSignal): Promise<Identity> {
    // Whoever had the turn before may have put another in its place.
    if (current !== undefined && current.operatorId !== gone.operatorId) return current;
    await refuseAnotherAccount(gone, signal);
    log.warn(
      `ngrok does not know the operator ${gone.operatorId} any more; registering this machine anew`,
    );
    try {
      const identity = await registered(api, { anew: true, signal });
      await forget(gone, identity, api, signal);
      return identity;
    } finally {
      stamp = undefined;
    }
  }

  /**
   * A key that was put into the configuration by hand may be of another
   * account, where the operator never was.
   */
  async function refuseAnotherAccount(
    { operatorId }: Identity,
    signal: AbortSignal,
  ): Promise<void> {
    const asked = await Promise.all(
      [...formerKeys].map((key) => isKnownWith(key, operatorId, signal)),
    );
    if (!asked.includes(true)) return;
    throw new NgrokdError(
      "refused",
      `The API key is of another account than the operator ${operatorId} that this machine is registered as`,
      {
        hint: "put the old key back, or move this machine to the other account: `ngrokd set-api-key --switch-account`",
      },
    );
  }

  /**
   * A key that ngrok refuses says no more about it than one of an account that
   * never had it; what cannot be asked is no answer.
   */
  async function isKnownWith(
    key: ApiKey,
    operatorId: string,
    signal: AbortSignal,
  ): Promise<boolean> {
    try {
      await apiWith(key).getOperator(operatorId, signal);
      return true;
    } catch (error) {
      if (isUnknownToNgrok(error) || isNgrokdError(error, "unauthorized")) return false;
      throw error;
    }
  }

  /**
   * It is gone; but should ngrok have erred, twice, nothing of ours stays in
   * the account.
   */
  async function forget(
    gone: Identity,
    identity: Identity,
    api: Api,
    signal: AbortSignal,
  ): Promise<void> {
    if (gone.operatorId === identity.operatorId) return;
    await api.deleteOperator(gone.operatorId, signal).catch((error: unknown) => {
      if (!isUnknownToNgrok(error))
        log.debug(`Cannot delete the operator ${gone.operatorId}: ${reasonOf(error)}`);
    });
  }

  async function setApiKey(
    text: string,
    { switchAccount }: { switchAccount: boolean },
  ): Promise<KeySaved> {
    // Only what can be a key: a word that is none would be blotted out of every
    // later line of the log.
    deps.keepSecret(readApiKey(text));
    const { config, path } = loaded();
    const { selectors } = config.bound_endpoints;
    const operatorId = current?.operatorId ?? (await savedOperatorId(paths()));
    const saved = await tryAndSaveApiKey(text, {
      apiUrl: config.api.url,
      operatorId,
      configPath: path,
      oldKey: apiKey.ok ? apiKey.value : undefined,
      switchAccount: switchAccount ? { paths: paths(), selectors, log } : undefined,
      fetch: deps.fetch(),
    });
    apiKey = { ok: true, value: saved.key };
    // It knows the operator, or the operator is another one now.
    formerKeys.clear();
    if (saved.moved !== undefined) adopt(saved.moved.identity);
    stamp = undefined;
    return saved;
  }

  async function refreshCertificate({ force }: { force: boolean }): Promise<CertificateReport> {
    if (current === undefined || certificate === undefined) throw noIdentity();
    if (!apiKey.ok) {
      throw new NgrokdError("state", "Cannot renew the certificate: there is no API key", {
        hint: "run `ngrokd set-api-key`",
      });
    }
    if (!force && now() < renewalTime(certificate)) {
      const from = renewalTime(certificate).toISOString();
      return report(
        false,
        `Not renewed: the certificate is valid for another ${lifeLeft()}. It renews itself from ${from} on.`,
      );
    }
    await renew(current, apiWith(apiKey.value));
    return report(
      true,
      `Renewed: the certificate is valid for ${lifeLeft()}. New connections use it; those that are open go on.`,
    );
  }

  function report(renewed: boolean, message: string): CertificateReport {
    const notAfter = certificate?.notAfter ?? now();
    const days = (notAfter.getTime() - now().getTime()) / 86_400_000;
    return {
      renewed,
      not_after: notAfter.toISOString(),
      days_left: Math.floor(days * 100) / 100,
      message,
    };
  }

  function lifeLeft(): string {
    return lifeText((certificate?.notAfter.getTime() ?? 0) - now().getTime());
  }

  /**
   * The Go program kept no ingress address: where it counts, ngrok is asked for
   * it, until it has answered once. Best effort; without an answer the default
   * is dialled. The answer counts at once, and is saved as soon as that can be.
   */
  async function withIngress(
    known: Identity,
    api: Api | undefined,
    signal: AbortSignal,
  ): Promise<Identity> {
    await askForIngress(known, api, signal);
    const identity = withAnswer(known);
    if (identity !== known) adopt(identity);
    await saveIngress(identity);
    return identity;
  }

  async function askForIngress(
    { operatorId, ingressEndpoint }: Identity,
    api: Api | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const isConfigured = loaded().origins.ingressEndpoint !== "default";
    if (
      ingressEndpoint !== undefined ||
      ingressOf.has(operatorId) ||
      api === undefined ||
      isConfigured
    )
      return;
    try {
      ingressOf.set(operatorId, (await api.getOperator(operatorId, signal)).ingressEndpoint);
    } catch (error) {
      log.debug(`Cannot ask ngrok for the ingress of ${operatorId}: ${reasonOf(error)}`);
    }
  }

  /** An identity whose files name no ingress, with the one that ngrok named. */
  function withAnswer(identity: Identity): Identity {
    const answer = ingressOf.get(identity.operatorId);
    return identity.ingressEndpoint === undefined && answer !== undefined
      ? { ...identity, ingressEndpoint: answer }
      : identity;
  }

  /**
   * Once it is in the files, the answer has done its duty; what changes there
   * later counts.
   */
  async function saveIngress({ operatorId, ingressEndpoint }: Identity): Promise<void> {
    if (ingressOf.get(operatorId) === undefined) {
      ingressTrouble = "";
      return;
    }
    try {
      await saveIngressEndpoint(paths(), ingressEndpoint);
      ingressOf.delete(operatorId);
      ingressTrouble = "";
    } catch (error) {
      const trouble = `The ingress address that ngrok named is in use, and cannot be saved: ${reasonOf(error)}`;
      if (trouble !== ingressTrouble)
        log.warn(trouble, {
          hint: "it is tried again with every poll; after a restart ngrok is asked anew",
        });
      ingressTrouble = trouble;
    }
  }

  function adopt(found: Identity): Identity {
    const inspected = inspectCertificate(found.certPem);
    // An Identity comes from its files or from ngrok's answer, and both have
    // been read before.
    if (!inspected.ok)
      throw new NgrokdError(
        "state",
        `The certificate of ${found.operatorId} cannot be read: ${inspected.reason}`,
      );
    if (found.operatorId !== current?.operatorId) twinsDue = afterRegistrations(now());
    current = found;
    unsaved = undefined;
    certificate = inspected.value;
    renewalTrouble = undefined;
    fileTrouble = "";
    publish({ kind: "registered", operatorId: found.operatorId, certificate });
    deps.changed();
    return found;
  }

  function useKey(text: string): void {
    const next = parseApiKey(text);
    if (apiKey.ok) formerKeys.add(apiKey.value);
    if (next.ok) formerKeys.delete(next.value);
    apiKey = next;
  }

  function apiNow(): Api | undefined {
    return apiKey.ok ? apiWith(apiKey.value) : undefined;
  }

  function apiWith(key: ApiKey): Api {
    return createApi({
      url: loaded().config.api.url,
      key,
      userAgent: userAgent(),
      fetch: deps.fetch(),
      memory: lists,
    });
  }

  function paths() {
    return identityPaths(loaded().config.server);
  }

  function registration(api: Api) {
    return {
      api,
      paths: paths(),
      facts: { selectors: loaded().config.bound_endpoints.selectors },
      host: hostFacts(),
      log,
      now,
    };
  }
}

/**
 * Renewed again and again at once, it would cost a call at every turn of the
 * loop.
 */
/**
 * No request lives longer than its deadline of 30 s, also one of a daemon that
 * is gone.
 */
const afterRegistrations = (from: Date): Date => new Date(from.getTime() + 30_000);

const dueAlready = (): NgrokdError =>
  new NgrokdError("api", "the certificate that ngrok has just sent is due for renewal already");

const sameIdentity = (a: Identity, b: Identity): boolean =>
  a.operatorId === b.operatorId &&
  a.certPem === b.certPem &&
  a.keyPem === b.keyPem &&
  a.ingressEndpoint === b.ingressEndpoint;

/** Another text whenever one of the files was replaced or written to. */
async function identityStamp({
  key,
  cert,
  operatorId,
}: ReturnType<typeof identityPaths>): Promise<string> {
  return (await Promise.all([key, cert, operatorId].map(stampOf))).join("; ");
}
