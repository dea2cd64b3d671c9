import { renewalTime, type Validity } from "../cloud/certificate.ts";
import { longestDelayMs } from "../model/backoff.ts";
import { lifeText } from "../model/life.ts";

/** A failed renewal, `failures` times in a row. */
export interface RenewalTrouble {
  readonly failures: number;
  readonly next: Date;
  readonly reason: string;
  readonly hint: string;
}

const dayMs = 86_400_000;

/**
 * Pure: whether to renew the certificate now. `waiting`: it is due, but the
 * time of the next attempt has not come.
 */
export function renewalNeed(
  certificate: Validity,
  trouble: RenewalTrouble | undefined,
  now: Date,
): "fine" | "due" | "waiting" {
  if (now < renewalTime(certificate)) return "fine";
  return now.getTime() >= nextTry(certificate, trouble, now) ? "due" : "waiting";
}

/** Pure: milliseconds until the next renewal; 0 if it is due now. */
export function msUntilRenewal(
  certificate: Validity,
  trouble: RenewalTrouble | undefined,
  now: Date,
): number {
  return Math.max(0, nextTry(certificate, trouble, now) - now.getTime());
}

/**
 * The time of the next attempt. If it is further ahead than any delay, the
 * clock was set back after the failure. Then it counts no more, since it would
 * not come for a long time.
 */
function nextTry(certificate: Validity, trouble: RenewalTrouble | undefined, now: Date): number {
  const due = renewalTime(certificate).getTime();
  const next = trouble?.next.getTime() ?? 0;
  return next - Math.max(due, now.getTime()) > longestDelayMs ? due : Math.max(due, next);
}

/**
 * Pure: the warning about the certificate, a sentence; undefined if there is
 * none. `warnDays` counts only when the renewal is due, since a certificate
 * that lasts an hour is always near its end.
 */
export function certificateWarning(
  certificate: Validity,
  trouble: RenewalTrouble | undefined,
  warnDays: number,
  now: Date,
): string | undefined {
  const left = certificate.notAfter.getTime() - now.getTime();
  const due = now >= renewalTime(certificate);
  if (left > 0 && trouble === undefined && !(due && left < warnDays * dayMs)) return undefined;
  const state =
    left <= 0
      ? `The client certificate expired on ${certificate.notAfter.toISOString()}, and new connections fail`
      : `The client certificate expires in ${lifeText(left)}`;
  if (trouble === undefined) return due ? `${state}; it is being renewed` : state;
  const hint = trouble.hint === "" ? "" : `; ${trouble.hint}`;
  return `${state}; renewing it has failed (${trouble.reason}), and is tried again at ${trouble.next.toISOString()}${hint}`;
}
