import { dirname } from "node:path";
import { ensureWritableFolder } from "../files/atomic.ts";
import { NgrokdError, reasonOf } from "../model/error.ts";
import { type Log, silentLog } from "../model/log.ts";
import type { Api } from "./api.ts";
import { checkKeyPem, createCsr, createKey, fitsKey } from "./certificate.ts";
import {
  type Identity,
  type IdentityPaths,
  judge,
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
  /** CEL expressions over endpoints; `true` is all of them. */
  readonly selectors: readonly string[];
  /** `global` unless told. */
  readonly region?: string;
}

export interface HostFacts {
  readonly hostname: string;
  readonly os: string;
  readonly arch: string;
  /** Ours. */
  readonly version: string;
}

export interface Registration {
  readonly api: Api;
  readonly paths: IdentityPaths;
  readonly facts: RegistrationFacts;
  readonly host: HostFacts;
  /**
   * Registers although the files make an identity, for ngrok does not know it
   * (any more), or this is about another account.
   */
  readonly anew?: boolean;
  /**
   * `api` is another account's than that of the operator of before, which lives
   * on there; see {@link SaveOptions.leavesAccount}.
   */
  readonly leavesAccount?: boolean;
  /**
   * Asked before anything of a new operator is saved; where it rejects, the
   * operator is deleted again.
   */
  readonly prove?: (operatorId: string) => Promise<unknown>;
  readonly log?: Log;
  readonly now?: () => Date;
  readonly signal?: AbortSignal;
  readonly write?: SaveOptions["write"];
}

/**
 * Makes this machine known to ngrok and saves what it answered; an identity
 * that can serve is only loaded, unless it is to be `anew`. One at a time is
 * the caller's concern. Nothing is asked of ngrok before the folder has proved
 * writable. An operator of ours that a crash, an expired or a lost certificate
 * left behind is certified again rather than doubled: by its id, or by the key
 * that its certificate fits. A new operator that cannot be saved is deleted
 * again. Rejects with what {@link Api} rejects with, or `permission` or `state`
 * for files; where a new operator could be neither saved nor deleted,
 * `details.operatorId` names it.
 *
 * The key is saved before ngrok hears of it, so that whatever ngrok makes of it
 * can be found again; what it answered follows in the order that
 * {@link saveAnswer} explains. Every crash in between leaves files that the
 * next call, or the next look at the operator, completes.
 */
export async function register(registration: Registration): Promise<Identity> {
  const {
    api,
    paths,
    facts,
    host,
    anew = false,
    leavesAccount,
    prove,
    log = silentLog,
    signal,
    write,
  } = registration;
  const now = (registration.now ?? (() => new Date()))();
  const left = await readIdentityFiles(paths);
  const found = judge(left, paths, now);
  if (found.kind === "identity" && !anew) return found.identity;
  for (const folder of new Set([dirname(paths.key), dirname(paths.cert)]))
    await ensureWritableFolder(folder);

  const options = { left, now, leavesAccount, write };
  const oldKey = left.key !== undefined && checkKeyPem(left.key).ok ? left.key : undefined;
  const keyPem = oldKey ?? (await createKey());
  await saveKey(paths, keyPem, options);
  const request = operatorRequest(facts, host, await createCsr(keyPem));

  const ours = await reclaim(api, request, operatorIdIn(left), oldKey, signal);
  if (ours !== undefined) {
    const identity = identityOf(ours, keyPem);
    await prove?.(ours.id);
    await saveAnswer(paths, identity, options);
    log.info(`ngrok certified the operator ${ours.id} again`, { operator_id: ours.id });
    return identity;
  }
  const made = await api.createOperator(request, signal);
  try {
    const identity = identityOf(made, keyPem);
    await prove?.(made.id);
    await saveAnswer(paths, identity, options);
    log.info(`Registered with ngrok as the operator ${made.id}`, { operator_id: made.id });
    return identity;
  } catch (error) {
    throw await takenBack(api, made.id, error);
  }
}

/**
 * Deletes the operators beside `identity` that have its key. A registration
 * that a crash has cut off may still be on its way to ngrok when the next one
 * looks for what it made: then it makes a second operator, which nobody would
 * ever use. Nobody else has the key. Rejects with what {@link Api} rejects
 * with.
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
      `Deleted the operator ${id}, which a registration that was cut off had made with this machine's key`,
      { operator_id: id },
    );
  }
}

/**
 * The create body. It names this host, so that a person finds it in ngrok's
 * dashboard; without `deployment`, for ngrok refuses a second operator with the
 * deployment of a first. Description at most 255 bytes, metadata at most 4096,
 * whatever the facts.
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
 * An operator that is ours already, with a fresh certificate: the one whose id
 * is on disk, or else the one whose certificate fits the key on disk, which is
 * what a registration leaves that was cut off before ngrok's answer was saved.
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
 * Undefined where ngrok itself says that the operator is gone; a proxy's 404 is
 * not that.
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
 * Deletes a new operator that cannot be used for the reason that `error` is;
 * answers the error to throw, which names the operator where it could not be
 * deleted. The caller's signal does not count here: what was made has to go,
 * even while the daemon stops.
 */
export async function takenBack(api: Api, id: string, error: unknown): Promise<unknown> {
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
 * The longest start of a text within `max` bytes of UTF-8; never cuts a
 * character.
 */
function clipBytes(text: string, max: number): string {
  return text.slice(0, new TextEncoder().encodeInto(text, new Uint8Array(max)).read);
}
