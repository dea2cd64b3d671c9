import { readFileIfThere, removeFile, writeFileAtomic } from "../files/atomic.ts";
import { linkedFile } from "../files/link.ts";
import { stateFiles, stateFolderOf } from "../files/state-folder.ts";
import { quote } from "../model/parsed.ts";
import { anyFitsKey, fitsKey, inspectCertificate, privateKeyFault } from "./certificate.ts";
import { ingressEndpointOf, isOperatorId } from "./wire.ts";

/**
 * This machine's identity with ngrok: an operator, with the key and the
 * certificate that the ingress accepts.
 */
export interface Identity {
  readonly operatorId: string;
  /** Our certificate first, then any chain that ngrok sent. */
  readonly certPem: string;
  readonly keyPem: string;
  /**
   * `host:port` of ngrok's last reply. Undefined if that had none, or if the Go
   * program registered.
   */
  readonly ingressEndpoint: string | undefined;
}

/**
 * The files of an identity. Their names and layout are those of the Go program,
 * except for `ingress_endpoint`.
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
   * Files that are no usable identity. A registration replaces them, and keeps
   * copies of the old ones.
   */
  | { readonly kind: "unusable"; readonly reason: string };

/**
 * Reads the identity from its files. An existing one is used as it is. Rejects
 * with NgrokdError `permission` or `state` if a file cannot be read. In that
 * case, do not register again.
 */
export async function loadIdentity(
  paths: IdentityPaths,
  now = new Date(),
): Promise<LoadedIdentity> {
  return identityIn(await readIdentityFiles(paths), paths, now);
}

/** The texts of the files; undefined for a missing file. */
export type IdentityFiles = { readonly [name in keyof IdentityPaths]: string | undefined };

/** The limit of one file in bytes. Real files have some KB. */
const fileLimit = 1024 * 1024;

export async function readIdentityFiles(paths: IdentityPaths): Promise<IdentityFiles> {
  const [key, cert, operatorId, ingressEndpoint] = await Promise.all(
    [paths.key, paths.cert, paths.operatorId, paths.ingressEndpoint].map((path) =>
      readFileIfThere(path, fileLimit),
    ),
  );
  return { key, cert, operatorId, ingressEndpoint };
}

/** Pure: whether these files are a usable identity. */
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
    return unusable(
      anyFitsKey(cert, key)
        ? `"${paths.cert}" begins with the certificate of ${quote(certificate.value.subject)}, ` +
            "and the one for the key stands behind it: put that first"
        : `the certificate "${paths.cert}" does not fit the key "${paths.key}"`,
    );
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
 * The operator in the files, even if they are no usable identity. Undefined if
 * they have none.
 */
export async function savedOperatorId(paths: IdentityPaths): Promise<string | undefined> {
  return operatorIdIn(await readIdentityFiles(paths));
}

/** The operator in the files; undefined if they have none. */
export function operatorIdIn({
  operatorId,
}: Pick<IdentityFiles, "operatorId">): string | undefined {
  const id = operatorId?.trim() ?? "";
  return isOperatorId(id) ? id : undefined;
}

export interface SaveOptions {
  /**
   * The previous content of the files. It stays beside them as
   * `<name>.old-<time>`, since it may be the only copy.
   */
  readonly previous: IdentityFiles;
  readonly now: Date;
  /**
   * The old operator stays in another account. That account's key is configured
   * until this is saved.
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
 * Saves ngrok's reply for a key that is already saved. The operator id comes
 * last, so a crash before it leaves the new certificate beside the old id, or
 * beside no id. There are two cases. If that is no usable identity, the next
 * registration finds the certificate's operator by the key. If the old id is
 * unknown to ngrok, a request for it has the same result. The other order would
 * leave the new id with a certificate of the old operator. That pair may look
 * correct for a quarter of a year, but it opens no connection.
 *
 * If the configured key still has the old operator in its account, this order
 * would leave such a pair, and the other order leaves an id outside that
 * account. Then the id comes first.
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
  // Without a line end, since the Go program does not trim the file.
  await replace(paths.operatorId, identity.operatorId, 0o600, previous.operatorId, options);
  if (leavesAccount) await saveCertificate();
}

/**
 * Saves the ingress that ngrok named, so that a start without the API has the
 * address. Undefined removes it. Rejects with NgrokdError `permission` or
 * `state`.
 */
export async function saveIngressEndpoint(
  paths: IdentityPaths,
  endpoint: string | undefined,
  write = writeFileAtomic,
): Promise<void> {
  const present = await readFileIfThere(paths.ingressEndpoint);
  const wanted = endpoint === undefined ? "" : `${endpoint}\n`;
  // An empty file means no ingress, so that removing it is as atomic as saving.
  if ((present ?? "") !== wanted)
    await write(await linkedFile(paths.ingressEndpoint), wanted, { mode: 0o644 });
}

/** The parts of an identity that change while it is in use. */
export type Part = "certificate" | "ingress";

/**
 * Saves one part of the identity in use. Writes only that part's file, and as a
 * whole, so key and certificate always match. If the key's file has another
 * key, an administrator is changing the files. Then nothing is written, and the
 * part is valid until the next start. Rejects with NgrokdError `permission` or
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
 * Undoes {@link saveKey} and {@link saveAnswer}: every file is as in `before`,
 * or removed. Rejects with NgrokdError `permission` or `state`.
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
 * Removes the identity from this machine. The copies of {@link
 * SaveOptions.previous} stay. The operator id goes last, so that the removal
 * can be repeated after a crash. Rejects with NgrokdError `permission` or
 * `state`.
 */
export async function removeIdentity(paths: IdentityPaths): Promise<void> {
  for (const path of [paths.cert, paths.key, paths.ingressEndpoint, paths.operatorId])
    await removeFile(path);
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
