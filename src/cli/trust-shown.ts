import { ingressAddress } from "../account/ingress-address.ts";
import { identityPaths, loadIdentity } from "../cloud/registration.ts";
import { loadConfig } from "../config/load.ts";
import { ensureWritableFolder, writeFileAtomic } from "../files/atomic.ts";
import { stateFolderOf } from "../files/state-folder.ts";
import { introduced } from "../ingress/introduction.ts";
import { describeTlsFailure } from "../ingress/tls-failure.ts";
import { loadTrust, trustOptions } from "../ingress/trust.ts";
import { isNgrokdError } from "../model/error.ts";
import { hostPortText } from "../model/host-port.ts";
import { proxyFor } from "../model/proxy.ts";
import type { PeerCertificate } from "../net/types.ts";
import type { Io } from "./command.ts";

/** What an ingress has shown, and the file of its CA if that is new. */
export interface Met {
  readonly ingress: string;
  readonly certificate: PeerCertificate | undefined;
  readonly kept: string | undefined;
}

const limitMs = 15_000;

/**
 * Dials the ingress, and keeps the CA that it shows if the CA is a published
 * one. Rejects with NgrokdError, `tls` with what was seen.
 */
export async function trustShown(file: string | undefined, { env, net }: Io): Promise<Met> {
  const loaded = await loadConfig({ file, env });
  const { server } = loaded.config;
  const options = trustOptions(server);
  // A machine without an identity can look at the ingress, too.
  const found = await loadIdentity(identityPaths(server), new Date());
  const identity = found.kind === "identity" ? found.identity : undefined;
  const address = ingressAddress(loaded, identity?.ingressEndpoint);
  const own = identity && { cert: identity.certPem, key: identity.keyPem };
  const { ca } = await loadTrust(options);
  const [via, signal] = [proxyFor(address, loaded.proxy), AbortSignal.timeout(limitMs)];
  let shown: string | undefined;
  const introduction = {
    accepts: (fingerprint256: string) => options.shown.fingerprints.includes(fingerprint256),
    async keep(pem: string) {
      shown = pem;
    },
  };
  const conn = await introduced({ serverName: address.host, ca, ...own }, introduction, (tls) =>
    net.dial(address, { tls, via, signal }),
  ).catch((error: unknown) => {
    throw isNgrokdError(error, "tls") ? describeTlsFailure(error) : error;
  });
  const certificate = conn.peer;
  conn.close();
  if (shown !== undefined) {
    await ensureWritableFolder(stateFolderOf(server));
    await writeFileAtomic(options.shown.file, shown, { mode: 0o644 });
  }
  const kept = shown === undefined ? undefined : options.shown.file;
  return { ingress: hostPortText(address), certificate, kept };
}

/** Pure. */
export function metText({ ingress, certificate, kept }: Met): string {
  const seen =
    certificate === undefined
      ? `${ingress} has shown a certificate`
      : `${ingress} has shown a certificate of "${certificate.subject}", issued by "${certificate.issuer}", SHA-256 ${certificate.fingerprint256}`;
  return kept === undefined
    ? `Already trusted: ${seen}.`
    : `Now trusted: ${seen}. A CA in its chain has a published SHA-256. It is in ${kept}; a running daemon uses it from its next poll on.`;
}
