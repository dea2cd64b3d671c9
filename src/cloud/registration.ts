/**
 * cloud/ calls ngrok's API. It registers this machine as an operator, keeps the
 * identity in files, renews its certificate, and lists the endpoints.
 */
import { dirname } from "node:path";
import { ensureWritableFolder } from "../files/atomic.ts";
import { NgrokdError, reasonOf } from "../model/error.ts";
import { type Log, silentLog } from "../model/log.ts";
import type { Api } from "./api.ts";
import { checkKeyPem, createCsr, createKey, fitsKey } from "./certificate.ts";
import {
  type Identity,
  type IdentityPaths,
  identityIn,
  operatorIdIn,
  readIdentityFiles,
  type SaveOptions,
  saveAnswer,
  saveKey,
} from "./identity-files.ts";
import { isUnknownToNgrok } from "./refusal.ts";
import type { Operator, OperatorRequest } from "./wire.ts";

export {
  type Identity,
  type IdentityPaths,
  identityPaths,
  type LoadedIdentity,
  loadIdentity,
  type Part,
  savedOperatorId,
  savePart,
} from "./identity-files.ts";

export interface RegistrationFacts {
  /** CEL expressions over endpoints; `true` matches all of them. */
  readonly selectors: readonly string[];
  /** Default `global`. */
  readonly region?: string;
}

export interface HostFacts {
  readonly hostname: string;
  readonly os: string;
  readonly arch: string;
  /** The version of ngrokd. */
  readonly version: string;
}

export interface Registration {
  readonly api: Api;
  readonly paths: IdentityPaths;
  readonly facts: RegistrationFacts;
  readonly host: HostFacts;
  /**
   * Registers even if the files are a usable identity. ngrok may not know it
   * any more, or this may be for another account.
   */
  readonly again?: boolean;
  /**
   * `api` is of another account than the old operator, which stays there; see
   * {@link SaveOptions.leavesAccount}.
   */
  readonly leavesAccount?: boolean;
  /**
   * Runs before anything of a new operator is saved. If it rejects, the
   * operator is deleted again.
   */
  readonly prove?: (operatorId: string) => Promise<unknown>;
  readonly log?: Log;
  readonly now?: () => Date;
  readonly signal?: AbortSignal;
  readonly write?: SaveOptions["write"];
}

/**
 * Makes this machine known to ngrok, and saves the reply. A usable identity is
 * only loaded, unless `again` is set. The caller runs one call at a time. The
 * first request is sent only if the folder is writable.
 *
 * A crash, or an expired or lost certificate, can leave an operator of ours
 * behind. That operator gets a new certificate. It is found by its id, or by
 * the key that its certificate fits. A new operator that cannot be saved is
 * deleted again.
 *
 * Rejects as {@link Api} does, or with `permission` or `state` for files. If a
 * new operator could be neither saved nor deleted, it is in
 * `details.operatorId`.
 *
 * The key is saved before it is sent to ngrok, so that its operator can be
 * found again. The reply is saved in the order that {@link saveAnswer}
 * explains. After a crash in between, the next call, or the next request for
 * the operator, completes the files.
 */
export async function register(registration: Registration): Promise<Identity> {
  const {
    api,
    paths,
    facts,
    host,
    again = false,
    leavesAccount,
    prove,
    log = silentLog,
    signal,
    write,
  } = registration;
  const now = (registration.now ?? (() => new Date()))();
  const previous = await readIdentityFiles(paths);
  const loaded = identityIn(previous, paths, now);
  if (loaded.kind === "identity" && !again) return loaded.identity;
  for (const folder of new Set([dirname(paths.key), dirname(paths.cert)]))
    await ensureWritableFolder(folder);

  const options = { previous, now, leavesAccount, write };
  const oldKey =
    previous.key !== undefined && checkKeyPem(previous.key).ok ? previous.key : undefined;
  const keyPem = oldKey ?? (await createKey());
  await saveKey(paths, keyPem, options);
  const request = operatorRequest(facts, host, await createCsr(keyPem));

  const reclaimed = await reclaim(api, request, operatorIdIn(previous), oldKey, signal);
  if (reclaimed !== undefined) {
    const identity = identityOf(reclaimed, keyPem);
    await prove?.(reclaimed.id);
    await saveAnswer(paths, identity, options);
    log.info(`ngrok certified the operator ${reclaimed.id} again`, { operator_id: reclaimed.id });
    return identity;
  }
  const operator = await api.createOperator(request, signal);
  try {
    const identity = identityOf(operator, keyPem);
    await prove?.(operator.id);
    await saveAnswer(paths, identity, options);
    log.info(`Registered with ngrok as the operator ${operator.id}`, { operator_id: operator.id });
    return identity;
  } catch (error) {
    throw await undoRegistration(api, operator.id, error);
  }
}

/**
 * Deletes the other operators with the key of `identity`. If a crash interrupts
 * a registration, its request may reach ngrok after the next registration has
 * searched for its operator. Then there is a second operator that is never
 * used. No other machine has the key. Rejects as {@link Api} does.
 */
export async function deleteTwins(
  api: Api,
  { operatorId, keyPem }: Identity,
  log: Log,
  signal?: AbortSignal,
): Promise<void> {
  const operators = await api.operators(signal);
  const twins = operators.filter(
    ({ id, certPem }) => id !== operatorId && certPem !== undefined && fitsKey(certPem, keyPem),
  );
  for (const { id } of twins) {
    await api.deleteOperator(id, signal).catch((error: unknown) => {
      if (!isUnknownToNgrok(error)) throw error;
    });
    log.info(
      `Deleted the operator ${id}, which an interrupted registration had made with this machine's key`,
      { operator_id: id },
    );
  }
}

/**
 * The create body. It names this host for readers of ngrok's dashboard. It has
 * no `deployment`, since ngrok refuses a second operator with the same one. The
 * description is at most 255 bytes and the metadata at most 4096, whatever the
 * facts.
 */
export function operatorRequest(
  { selectors, region = "global" }: RegistrationFacts,
  host: HostFacts,
  csr: string,
): OperatorRequest {
  const short = (text: string): string => clipBytes(text, 128);
  const metadata = {
    "owned-by": "ngrokd",
    hostname: short(host.hostname),
    os: short(host.os),
    arch: short(host.arch),
    version: short(host.version),
  };
  return {
    description: clipBytes(`ngrokd on ${host.hostname}`, 255),
    metadata: JSON.stringify(metadata),
    enabled_features: ["bindings"],
    region,
    binding: { endpoint_selectors: selectors, csr },
  };
}

/**
 * An existing operator of ours, with a new certificate. It is the one whose id
 * is on disk, or else the one whose certificate fits the key on disk. An
 * interrupted registration leaves the second kind if ngrok's reply was not
 * saved.
 */
async function reclaim(
  api: Api,
  request: OperatorRequest,
  id: string | undefined,
  oldKey: string | undefined,
  signal: AbortSignal | undefined,
): Promise<Operator | undefined> {
  const known = id === undefined ? undefined : await certifyAgain(api, id, request, signal);
  if (known !== undefined || oldKey === undefined) return known;
  const operators = await api.operators(signal);
  const found = operators.find(({ certPem }) => certPem !== undefined && fitsKey(certPem, oldKey));
  return found === undefined ? undefined : await certifyAgain(api, found.id, request, signal);
}

/**
 * Undefined if ngrok itself reports that the operator is gone. A 404 from a
 * proxy does not count.
 */
async function certifyAgain(
  api: Api,
  id: string,
  request: OperatorRequest,
  signal: AbortSignal | undefined,
): Promise<Operator | undefined> {
  try {
    return await api.updateOperator(id, { binding: request.binding }, signal);
  } catch (error) {
    if (isUnknownToNgrok(error)) return undefined;
    throw error;
  }
}

function identityOf(
  { id: operatorId, certPem, ingressEndpoint }: Operator,
  keyPem: string,
): Identity {
  if (certPem === undefined)
    throw new NgrokdError(
      "api",
      `Cannot register this machine: ngrok's answer for ${operatorId} has no certificate`,
    );
  if (!fitsKey(certPem, keyPem)) {
    throw new NgrokdError(
      "api",
      `Cannot register this machine: the certificate that ngrok sent for ${operatorId} does not fit our key`,
    );
  }
  return { operatorId, certPem, keyPem, ingressEndpoint };
}

/**
 * Deletes a new operator that cannot be used because of `error`. Returns the
 * error to throw, which names the operator if the deletion failed. The caller's
 * signal does not count: a new operator must be deleted even while the daemon
 * stops.
 */
export async function undoRegistration(api: Api, id: string, error: unknown): Promise<unknown> {
  try {
    await api.deleteOperator(id);
    return error;
  } catch (failure) {
    if (isUnknownToNgrok(failure)) return error;
    const code = error instanceof NgrokdError ? error.code : "state";
    return new NgrokdError(
      code,
      `${reasonOf(error)}; and the new operator ${id} could not be deleted again: ${reasonOf(failure)}`,
      {
        cause: error,
        hint: `delete the Kubernetes operator ${id} in ngrok's dashboard`,
        details: { operatorId: id },
      },
    );
  }
}

/**
 * The longest beginning of a text within `max` bytes of UTF-8. Never cuts a
 * character.
 */
function clipBytes(text: string, max: number): string {
  return text.slice(0, new TextEncoder().encodeInto(text, new Uint8Array(max)).read);
}
