import type { CertificateRefresh } from "../account/renewal.ts";
import { lifeText } from "../model/life.ts";
import type { CertificateReport } from "./reply-schemas.ts";

/** Pure: the reply to `refresh-cert`. */
export function certificateReport({
  renewed,
  at,
  notAfter,
  due,
}: CertificateRefresh): CertificateReport {
  const leftMs = notAfter.getTime() - at.getTime();
  const message = renewed
    ? `Renewed: the certificate is valid for ${lifeText(leftMs)}. New connections use it; those that are open go on.`
    : `Not renewed: the certificate is valid for another ${lifeText(leftMs)}. The daemon renews it after ${due.toISOString().slice(0, 10)}.`;
  return {
    renewed,
    not_after: notAfter.toISOString(),
    days_left: Math.floor((leftMs / 86_400_000) * 100) / 100,
    message,
  };
}
