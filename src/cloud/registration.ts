import { dirname, join } from "node:path";
import { ensureWritableFolder, readFileIfThere, writeFileAtomic } from "../files/atomic.ts";
import { isNgrokdError, NgrokdError, reasonOf } from "../model/error.ts";
import { type Log, silentLog } from "../model/log.ts";
import type { Api } from "./api.ts";
import { checkKeyPem, createCsr, createKey, fitsKey, inspectCertificate } from "./certificate.ts";
import { ingressEndpointOf, isOperatorId, type Operator, type OperatorRequest } from "./wire.ts";

/** What this machine is to ngrok: an operator, and the key and certificate that its ingress lets in. */
export interface Identity {
  readonly operatorId: string;
  /** Ours first, then whatever chain ngrok sent. */
  readonly certPem: string;
  readonly keyPem: string;
  /** `host:port` that ngrok's last answer named; undefined where it named none, or where the Go program registered. */
  readonly ingressEndpoint: string | undefined;
}

/** Where an identity lives. Layout and names are the Go program's, `ingress_endpoint` excepted. */
export interface IdentityPaths {
  readonly key: string;
  readonly cert: string;
  readonly operatorId: string;
  readonly ingressEndpoint: string;
}

export function identityPaths(server: { readonly client_cert: string; readonly client_key: string }): IdentityPaths {
  const folder = dirname(server.client_cert);
  return {
    key: server.client_key,
    cert: server.client_cert,
    operatorId: join(folder, "operator_id"),
    ingressEndpoint: join(folder, "ingress_endpoint"),
  };
}

export type LoadedIdentity =
  | { readonly kind: "identity"; readonly identity: Identity }
  | { readonly kind: "none" }
  /** Something is there that cannot serve; {@link register} puts it right, and keeps what it replaces. */
  | { readonly kind: "unusable"; readonly reason: string };

/**
 * What the files say. An existing identity is used as it is, whoever made it. Rejects with NgrokdError `permission` or `state` where a
 * file is there and cannot be read: that is no reason to register anew.
 */
export async function loadIdentity(paths: IdentityPaths, now = new Date()): Promise<LoadedIdentity> {
  return judge(await readFiles(paths), paths, now);
}

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
  readonly log?: Log;
  readonly now?: () => Date;
  readonly signal?: AbortSignal;
}

/**
 * Makes this machine known to ngrok and saves what it answered; an identity that can serve is only loaded. One at a time is the caller's
 * concern. Nothing is asked of ngrok before the folder has proved writable. An operator of ours that a crash, an expired or a lost
 * certificate left behind is certified again rather than doubled: by its id, or by the key that its certificate fits. A new operator that
 * cannot be saved is deleted again. Rejects with what {@link Api} rejects with, or `permission` or `state` for files; where a new
 * operator could be neither saved nor deleted, `details.operatorId` names it.
 *
 * Order of saving: key (before ngrok hears of it), operator id, ingress, certificate. The certificate makes an identity of the rest, so
 * every crash in between leaves an "unusable" that says what is missing and that the next call completes.
 */
export async function register({
  api,
  paths,
  facts,
  host,
  log = silentLog,
  now = () => new Date(),
  signal,
}: Registration): Promise<Identity> {
  const left = await readFiles(paths);
  const found = judge(left, paths, now());
  if (found.kind === "identity") return found.identity;
  for (const folder of new Set([dirname(paths.key), dirname(paths.cert)])) await ensureWritableFolder(folder);

  const oldKey = left.key !== undefined && checkKeyPem(left.key).ok ? left.key : undefined;
  const keyPem = oldKey ?? (await createKey());
  await replace(paths.key, keyPem, 0o600, left.key, now());
  const request = operatorRequest(facts, host, await createCsr(keyPem));

  const ours = await reclaim(api, request, operatorIdIn(left), oldKey, signal);
  if (ours !== undefined) {
    const identity = await save(ours, keyPem, paths, left, now());
    log.info(`ngrok certified the operator ${ours.id} again`, { operator_id: ours.id });
    return identity;
  }
  const made = await api.createOperator(request, signal);
  try {
    const identity = await save(made, keyPem, paths, left, now());
    log.info(`Registered with ngrok as the operator ${made.id}`, { operator_id: made.id });
    return identity;
  } catch (error) {
    throw await takenBack(api, made.id, error);
  }
}

/**
 * The create body. It names this host, so that a person finds it in ngrok's dashboard; without `deployment`, for ngrok refuses a second
 * operator with the deployment of a first. Description at most 255 bytes, metadata at most 4096, whatever the facts.
 */
export function operatorRequest({ selectors, region = "global" }: RegistrationFacts, host: HostFacts, csr: string): OperatorRequest {
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
 * Keeps what ngrok named as the ingress, so that a start without the API knows where to dial; undefined forgets it. A caller that asked
 * for the operator again hands the answer here. Rejects with NgrokdError `permission` or `state`.
 */
export async function saveIngressEndpoint(paths: IdentityPaths, endpoint: string | undefined): Promise<void> {
  const present = await readFileIfThere(paths.ingressEndpoint);
  const wanted = endpoint === undefined ? "" : `${endpoint}\n`;
  // An empty file stands for none, so that forgetting is as atomic as remembering.
  if ((present ?? "") !== wanted) await writeFileAtomic(paths.ingressEndpoint, wanted, { mode: 0o644 });
}

interface Files {
  readonly key: string | undefined;
  readonly cert: string | undefined;
  readonly operatorId: string | undefined;
  readonly ingressEndpoint: string | undefined;
}

async function readFiles(paths: IdentityPaths): Promise<Files> {
  const [key, cert, operatorId, ingressEndpoint] = await Promise.all(
    [paths.key, paths.cert, paths.operatorId, paths.ingressEndpoint].map((path) => readFileIfThere(path)),
  );
  return { key, cert, operatorId, ingressEndpoint };
}

function judge(files: Files, paths: IdentityPaths, now: Date): LoadedIdentity {
  const { key, cert } = files;
  if (key === undefined && cert === undefined && files.operatorId === undefined) return { kind: "none" };
  const unusable = (reason: string): LoadedIdentity => ({ kind: "unusable", reason });
  if (key === undefined) return unusable(`there is no key "${paths.key}"`);
  if (cert === undefined) return unusable(`there is a key but no certificate "${paths.cert}"; a registration may have been cut off`);
  if (files.operatorId === undefined)
    return unusable(`there is no "${paths.operatorId}", so the certificate belongs to an unknown operator`);
  const operatorId = operatorIdIn(files);
  if (operatorId === undefined) return unusable(`"${paths.operatorId}" holds no operator id`);
  const certificate = inspectCertificate(cert);
  if (!certificate.ok) return unusable(`"${paths.cert}" cannot be read: ${certificate.reason}`);
  if (!fitsKey(cert, key)) return unusable(`the certificate "${paths.cert}" does not fit the key "${paths.key}"`);
  if (certificate.value.notAfter <= now)
    return unusable(`the certificate "${paths.cert}" expired on ${certificate.value.notAfter.toISOString()}`);
  return {
    kind: "identity",
    identity: { operatorId, certPem: cert, keyPem: key, ingressEndpoint: ingressEndpointOf(files.ingressEndpoint ?? "") },
  };
}

function operatorIdIn({ operatorId }: Files): string | undefined {
  const id = operatorId?.trim() ?? "";
  return isOperatorId(id) ? id : undefined;
}

/**
 * An operator that is ours already, with a fresh certificate: the one whose id is on disk, or else the one whose certificate fits the key
 * on disk, which is what a registration leaves that was cut off before ngrok's answer was saved.
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

/** Undefined where ngrok itself says that the operator is gone; a proxy's 404 is not that. */
async function certifyAgain(
  api: Api,
  id: string,
  request: OperatorRequest,
  signal: AbortSignal | undefined,
): Promise<Operator | undefined> {
  try {
    return await api.updateOperator(id, { binding: request.binding }, signal);
  } catch (error) {
    if (isNgrokdError(error, "not-found") && error.details.fromNgrok === true) return undefined;
    throw error;
  }
}

async function save(operator: Operator, keyPem: string, paths: IdentityPaths, left: Files, now: Date): Promise<Identity> {
  const { id: operatorId, certPem, ingressEndpoint } = operator;
  if (certPem === undefined)
    throw new NgrokdError("api", `Cannot register this machine: ngrok's answer for ${operatorId} has no certificate`);
  if (!fitsKey(certPem, keyPem)) {
    throw new NgrokdError("api", `Cannot register this machine: the certificate that ngrok sent for ${operatorId} does not fit our key`);
  }
  // Without a line end: the Go program takes the file as it is.
  await replace(paths.operatorId, operatorId, 0o600, left.operatorId, now);
  await saveIngressEndpoint(paths, ingressEndpoint);
  await replace(paths.cert, certPem, 0o644, left.cert, now);
  return { operatorId, certPem, keyPem, ingressEndpoint };
}

/** Writes a file; what it held before stays beside it as `<name>.old-<time>`, for it may have been the only copy of something. */
async function replace(path: string, content: string, mode: number, old: string | undefined, now: Date): Promise<void> {
  if (old === content) return;
  if (old !== undefined && old.trim() !== "" && old.trim() !== content.trim()) {
    const time = now.toISOString().replaceAll(/[-:.]/g, "");
    await writeFileAtomic(`${path}.old-${time}`, old, { mode: 0o600 });
  }
  await writeFileAtomic(path, content, { mode });
}

/** The error to throw. The caller's signal does not count here: what was made has to go, even while the daemon stops. */
async function takenBack(api: Api, id: string, error: unknown): Promise<unknown> {
  try {
    await api.deleteOperator(id);
    return error;
  } catch (failure) {
    if (isNgrokdError(failure, "not-found") && failure.details.fromNgrok === true) return error;
    const code = error instanceof NgrokdError ? error.code : "state";
    return new NgrokdError(code, `${reasonOf(error)}; and the new operator ${id} could not be deleted again: ${reasonOf(failure)}`, {
      cause: error,
      hint: `delete the Kubernetes operator ${id} in ngrok's dashboard`,
      details: { operatorId: id },
    });
  }
}

/** The longest start of a text within `max` bytes of UTF-8; never cuts a character. */
function clipBytes(text: string, max: number): string {
  return text.slice(0, new TextEncoder().encodeInto(text, new Uint8Array(max)).read);
}
