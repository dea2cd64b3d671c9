import { unlink } from "node:fs/promises";
import { errnoOf, fileError, readFileIfThere, writeFileAtomic } from "../files/atomic.ts";
import { linkedFile } from "../files/link.ts";
import { stateFiles, stateFolderOf } from "../files/state-folder.ts";
import { fitsKey, inspectCertificate, privateKeyFault } from "./certificate.ts";
import { ingressEndpointOf, isOperatorId } from "./wire.ts";

/**
 * This machine's identity with ngrok: an operator, and the key and certificate
 * that the ingress accepts.
 */
export interface Identity {
  readonly operatorId: string;
  /** Ours first, then whatever chain ngrok sent. */
  readonly certPem: string;
  readonly keyPem: string;
  /**
   * `host:port` of ngrok's last answer; undefined if that named none, or if the
   * Go program registered.
   */
  readonly ingressEndpoint: string | undefined;
}

/**
 * The files of an identity. Layout and names are the Go program's,
 * `ingress_endpoint` excepted.
 */
export interface IdentityPaths {
  readonly key: string;
  readonly cert: string;
  readonly operatorId: string;
  readonly ingressEndpoint: string;
}

export function identityPaths(server: {
  readonly client_cert: string;
  readonly client_key: string;
}): IdentityPaths {
  const { operatorId, ingressEndpoint } = stateFiles(stateFolderOf(server));
  return { key: server.client_key, cert: server.client_cert, operatorId, ingressEndpoint };
}

export type LoadedIdentity =
  | { readonly kind: "identity"; readonly identity: Identity }
  | { readonly kind: "none" }
  /**
   * Files that make no usable identity. Registering replaces them, and keeps
   * copies of the old ones.
   */
  | { readonly kind: "unusable"; readonly reason: string };

/**
 * Reads the identity from its files; an existing one is used as it is. Rejects
 * with NgrokdError `permission` or `state` if a file cannot be read: that is no
 * reason to register again.
 */
export async function loadIdentity(
  paths: IdentityPaths,
  now = new Date(),
): Promise<LoadedIdentity> {
  return identityIn(await readIdentityFiles(paths), paths, now);
}

/** The texts of the files; undefined for one that is not there. */
export type IdentityFiles = { readonly [name in keyof IdentityPaths]: string | undefined };

/** Each has some KB. */
const fileLimit = 1024 * 1024;

export async function readIdentityFiles(paths: IdentityPaths): Promise<IdentityFiles> {
  const [key, cert, operatorId, ingressEndpoint] = await Promise.all(
    [paths.key, paths.cert, paths.operatorId, paths.ingressEndpoint].map((path) =>
      readFileIfThere(path, fileLimit),
    ),
  );
  return { key, cert, operatorId, ingressEndpoint };
}

/** Pure: whether these files make an identity. */
export function identityIn(files: IdentityFiles, paths: IdentityPaths, now: Date): LoadedIdentity {
  const { key, cert } = files;
  if (key === undefined && cert === undefined && files.operatorId === undefined)
    return { kind: "none" };
  const unusable = (reason: string): LoadedIdentity => ({ kind: "unusable", reason });
  if (key === undefined) return unusable(`there is no key "${paths.key}"`);
  if (cert === undefined)
    return unusable(
      `there is a key but no certificate "${paths.cert}"; a registration may have been interrupted`,
    );
  if (files.operatorId === undefined)
    return unusable(
      `there is no "${paths.operatorId}", so the certificate belongs to an unknown operator`,
    );
  const operatorId = operatorIdIn(files);
  if (operatorId === undefined) return unusable(`"${paths.operatorId}" holds no operator id`);
  const certificate = inspectCertificate(cert);
  if (!certificate.ok) return unusable(`"${paths.cert}" cannot be read: ${certificate.reason}`);
  const fault = privateKeyFault(key);
  if (fault !== "") return unusable(`the key "${paths.key}" cannot be used: ${fault}`);
  if (!fitsKey(cert, key))
    return unusable(`the certificate "${paths.cert}" does not fit the key "${paths.key}"`);
  if (certificate.value.notAfter <= now)
    return unusable(
      `the certificate "${paths.cert}" expired on ${certificate.value.notAfter.toISOString()}`,
    );
  return {
    kind: "identity",
    identity: {
      operatorId,
      certPem: cert,
      keyPem: key,
      ingressEndpoint: ingressEndpointOf(files.ingressEndpoint ?? ""),
    },
  };
}

/**
 * The operator that the files name, also if they make no usable identity;
 * undefined if they name none.
 */
export async function savedOperatorId(paths: IdentityPaths): Promise<string | undefined> {
  return operatorIdIn(await readIdentityFiles(paths));
}

/** The operator that the files name; undefined if they name none. */
export function operatorIdIn({
  operatorId,
}: Pick<IdentityFiles, "operatorId">): string | undefined {
  const id = operatorId?.trim() ?? "";
  return isOperatorId(id) ? id : undefined;
}

export interface SaveOptions {
  /**
   * The files' content before. It stays beside them as `<name>.old-<time>`: it
   * may be the only copy of something.
   */
  readonly previous: IdentityFiles;
  readonly now: Date;
  /**
   * The old operator stays in another account, whose key is configured until
   * this is saved.
   */
  readonly leavesAccount?: boolean | undefined;
  /** Replaces {@link writeFileAtomic} in tests that stop half way. */
  readonly write?: typeof writeFileAtomic | undefined;
}

/**
 * Saves a key (PEM, 0600) before it is sent to ngrok. Rejects with NgrokdError
 * `permission` or `state`.
 */
export async function saveKey(
  paths: IdentityPaths,
  keyPem: string,
  options: SaveOptions,
): Promise<void> {
  await replace(paths.key, keyPem, 0o600, options.previous.key, options);
}

/**
 * Saves ngrok's answer for a key that is saved already. The operator id comes
 * last: a crash before it leaves the new certificate beside the old id (or
 * none). Either that makes no identity, and the next registration finds the
 * certificate's operator by the key. Or it names an operator that ngrok no
 * longer knows, and asking for it has the same end. The other order would leave
 * the new id with a certificate of the old operator. That pair may look fine
 * for a quarter of a year, and opens no connection.
 *
 * If the configured key still knows the old operator, it is this order that
 * would leave such a pair. The other one leaves an id that the key does not
 * know, so then the id comes first.
 */
export async function saveAnswer(
  paths: IdentityPaths,
  identity: Identity,
  options: SaveOptions,
): Promise<void> {
  const { previous, leavesAccount = false } = options;
  const saveCertificate = async (): Promise<void> => {
    await replace(paths.cert, identity.certPem, 0o644, previous.cert, options);
    await saveIngressEndpoint(paths, identity.ingressEndpoint, options.write);
  };
  if (!leavesAccount) await saveCertificate();
  // Without a line end: the Go program does not trim the file.
  await replace(paths.operatorId, identity.operatorId, 0o600, previous.operatorId, options);
  if (leavesAccount) await saveCertificate();
}

/**
 * Saves the ingress that ngrok named, so that a start without the API knows the
 * address; undefined forgets it. Rejects with NgrokdError `permission` or
 * `state`.
 */
export async function saveIngressEndpoint(
  paths: IdentityPaths,
  endpoint: string | undefined,
  write = writeFileAtomic,
): Promise<void> {
  const present = await readFileIfThere(paths.ingressEndpoint);
  const wanted = endpoint === undefined ? "" : `${endpoint}\n`;
  // An empty file means none, so that forgetting is as atomic as saving.
  if ((present ?? "") !== wanted)
    await write(await linkedFile(paths.ingressEndpoint), wanted, { mode: 0o644 });
}

/** The parts of an identity that change while it is in use. */
export type Part = "certificate" | "ingress";

/**
 * Saves one part of the identity in use, and only that part's file, whole: key
 * and certificate fit at every moment. If the key's file holds another key, an
 * administrator is at work on the files. Then nothing is written, and the part
 * is good until the next start. Rejects with NgrokdError `permission` or
 * `state`; the old file is still there then.
 */
export async function savePart(
  paths: IdentityPaths,
  { certPem, keyPem, ingressEndpoint }: Identity,
  part: Part,
): Promise<void> {
  if ((await readFileIfThere(paths.key)) !== keyPem) return;
  if (part === "certificate")
    await writeFileAtomic(await linkedFile(paths.cert), certPem, { mode: 0o644 });
  else await saveIngressEndpoint(paths, ingressEndpoint);
}

/**
 * Undoes {@link saveKey} and {@link saveAnswer}: every file is as `before`, or
 * gone. Rejects with NgrokdError `permission` or `state`.
 */
export async function restoreIdentityFiles(
  paths: IdentityPaths,
  before: IdentityFiles,
): Promise<void> {
  const now = await readIdentityFiles(paths);
  for (const name of ["cert", "ingressEndpoint", "key", "operatorId"] as const) {
    const text = before[name];
    if (text === now[name]) continue;
    if (text === undefined) await removeFile(paths[name]);
    else
      await writeFileAtomic(await linkedFile(paths[name]), text, {
        mode: name === "key" || name === "operatorId" ? 0o600 : 0o644,
      });
  }
}

/**
 * Removes the identity from this machine; the copies of
 * {@link SaveOptions.previous} stay. The operator id goes last, so that
 * removing can be repeated after a crash. Rejects with NgrokdError `permission`
 * or `state`.
 */
export async function removeIdentity(paths: IdentityPaths): Promise<void> {
  for (const path of [paths.cert, paths.key, paths.ingressEndpoint, paths.operatorId])
    await removeFile(path);
}

async function removeFile(path: string): Promise<void> {
  await unlink(path).catch((error: unknown) => {
    if (errnoOf(error) !== "ENOENT") throw fileError(`Cannot remove "${path}"`, error);
  });
}

async function replace(
  path: string,
  content: string,
  mode: number,
  old: string | undefined,
  options: SaveOptions,
): Promise<void> {
  const { now, write = writeFileAtomic } = options;
  if (old === content) return;
  if (old !== undefined && old.trim() !== "" && old.trim() !== content.trim()) {
    const time = now.toISOString().replaceAll(/[-:.]/g, "");
    await write(`${path}.old-${time}`, old, { mode: 0o600 });
  }
  await write(await linkedFile(path), content, { mode });
}
