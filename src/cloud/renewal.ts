import { NgrokdError } from "../model/error.ts";
import { type Parsed, parsed, unparsed } from "../model/parsed.ts";
import type { Api } from "./api.ts";
import { type CertificateFacts, createCsr, fitsKey, inspectCertificate } from "./certificate.ts";
import type { Identity } from "./identity-files.ts";

export interface Renewal {
  readonly api: Api;
  /** The identity in use. */
  readonly identity: Identity;
  readonly signal?: AbortSignal | undefined;
  readonly now?: () => Date;
}

/**
 * Gets a new certificate for the same key and operator; `savePart` saves it.
 * Rejects as {@link Api} does, or with `api` if the reply is not {@link
 * acceptable}. The old certificate then stays in use.
 */
export async function renewCertificate({
  api,
  identity,
  signal,
  now = () => new Date(),
}: Renewal): Promise<Identity> {
  const csr = await createCsr(identity.keyPem);
  const answer = await api.updateOperator(identity.operatorId, { binding: { csr } }, signal);
  const found = acceptable(answer.certPem, identity, now());
  if (!found.ok) {
    throw new NgrokdError(
      "api",
      `Cannot renew the certificate of ${identity.operatorId}: ${found.reason}`,
      {
        hint: "the certificate in use stays; if this machine's clock is right, the trouble is on ngrok's side",
      },
    );
  }
  return {
    ...identity,
    certPem: found.value,
    ingressEndpoint: answer.ingressEndpoint ?? identity.ingressEndpoint,
  };
}

/**
 * How far the beginning of a certificate may be ahead of our clock. A clock
 * that is further behind is not trusted.
 */
const clockToleranceMs = 5 * 60_000;

/**
 * Pure: accepts a certificate that is better than the one in use. It parses,
 * fits the key, is valid now, and ends later. If the one in use is not valid
 * yet, any valid one is better.
 */
export function acceptable(
  certPem: string | undefined,
  inUse: Pick<Identity, "certPem" | "keyPem">,
  now: Date,
): Parsed<string> {
  if (certPem === undefined) return unparsed("ngrok's answer has no certificate");
  const fresh = inspectCertificate(certPem);
  if (!fresh.ok) return unparsed(`ngrok's certificate cannot be used: ${fresh.reason}`);
  const { notBefore, notAfter } = fresh.value;
  if (!fitsKey(certPem, inUse.keyPem))
    return unparsed("the certificate that ngrok sent does not fit our key");
  if (notAfter <= now)
    return unparsed(`the certificate that ngrok sent expired on ${notAfter.toISOString()}`);
  if (notBefore.getTime() > now.getTime() + clockToleranceMs)
    return unparsed(
      `the certificate that ngrok sent is valid from ${notBefore.toISOString()} on, which is in the future by this machine's clock`,
    );
  if (notAfter <= usefulEnd(inUse.certPem, now))
    return unparsed(
      `the certificate that ngrok sent ends on ${notAfter.toISOString()}, no later than the one in use`,
    );
  return parsed(certPem);
}

function usefulEnd(certPem: string, now: Date): CertificateFacts["notAfter"] {
  const certificate = inspectCertificate(certPem);
  return certificate.ok && certificate.value.notBefore <= now
    ? certificate.value.notAfter
    : new Date(0);
}
