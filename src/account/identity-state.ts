import { type CertificateFacts, inspectCertificate, renewalDue } from "../cloud/certificate.ts";
import type { Identity, LoadedIdentity, Part } from "../cloud/registration.ts";
import { retryDelay } from "../model/backoff.ts";
import { hintOf, NgrokdError, reasonOf } from "../model/error.ts";
import { sameFailure } from "../model/failure.ts";
import { certificateWarning, msUntilRenewal, type RenewalTrouble } from "./renewing.ts";

/** This machine's identity with ngrok: one state, and its pure transitions. */
export type IdentityState = NoIdentity | HeldIdentity;

export interface NoIdentity {
  readonly kind: "none";
  /**
   * Why the saved files are no usable identity, as last logged; "" before that.
   */
  readonly unusable: string;
}

export interface HeldIdentity {
  readonly kind: "held";
  /** The identity in use. */
  readonly identity: Identity;
  readonly certificate: CertificateFacts;
  /** Why renewing the certificate has failed, until it succeeds. */
  readonly renewalTrouble: RenewalTrouble | undefined;
  /** The stamp of the files when they were last read; undefined: read again. */
  readonly stamp: string | undefined;
  /** Why changed files cannot be used; "" if there is no such trouble. */
  readonly fileTrouble: string;
  readonly unsaved: Unsaved;
  /** ngrok has replied that it has no ingress for this operator. */
  readonly hasNoIngress: boolean;
  /**
   * When to delete the operators that a registration by an earlier process may
   * have made after ours. Undefined if that is done.
   */
  readonly twinsDue: Date | undefined;
}

/**
 * The parts in use that are not on disk yet. Each has the warning of the last
 * attempt to save it, or "" before the first attempt.
 */
export type Unsaved = Readonly<Partial<Record<Part, string>>>;

/** A log line that comes with a transition. */
export interface Line {
  readonly level: "info" | "warn";
  readonly text: string;
  readonly hint?: string;
}

export interface Transition<State extends IdentityState = IdentityState> {
  readonly state: State;
  readonly lines?: readonly Line[];
}

export const nothingYet: NoIdentity = { kind: "none", unusable: "" };

/**
 * Takes another identity into use. Throws NgrokdError `state` if its
 * certificate cannot be read. Callers have already checked files and replies
 * for that.
 */
export function adopted(before: IdentityState, identity: Identity, now: Date): HeldIdentity {
  const known = before.kind === "held" && before.identity.operatorId === identity.operatorId;
  return {
    kind: "held",
    identity,
    certificate: certificateOf(identity),
    renewalTrouble: undefined,
    stamp: undefined,
    fileTrouble: "",
    unsaved: {},
    hasNoIngress: known && before.hasNoIngress,
    twinsDue: known ? before.twinsDue : afterRegistrations(now),
  };
}

/**
 * The files were read. Only another complete identity replaces the one in use.
 * If the files have none, the one in use stays, with a warning.
 */
export function filesRead(
  before: IdentityState,
  found: LoadedIdentity,
  stamp: string,
  now: Date,
): Transition {
  if (before.kind === "none") return firstRead(before, found, stamp, now);
  const state = { ...before, stamp };
  if (found.kind !== "identity")
    return filesUnusable(state, found.kind === "none" ? "they are gone" : found.reason, now);
  const identity = withUnsavedIngress(before, found.identity);
  if (isSameIdentity(identity, before.identity)) return { state: { ...state, fileTrouble: "" } };
  const { ingress } = identity.operatorId === before.identity.operatorId ? before.unsaved : {};
  const unsaved = ingress === undefined ? {} : { ingress };
  const text = `The files of the identity have changed: now using the operator ${identity.operatorId}`;
  return {
    state: { ...adopted(before, identity, now), stamp, unsaved },
    lines: [{ level: "info", text }],
  };
}

function firstRead(
  before: NoIdentity,
  found: LoadedIdentity,
  stamp: string,
  now: Date,
): Transition {
  if (found.kind === "identity")
    return { state: { ...adopted(before, found.identity, now), stamp } };
  if (found.kind === "none" || found.reason === before.unusable) return { state: before };
  const text = `The saved identity cannot be used: ${found.reason}`;
  return {
    state: { ...before, unusable: found.reason },
    lines: [{ level: "warn", text, hint: "ngrokd asks ngrok to repair it" }],
  };
}

/** The changed files are no usable identity; the one in use stays. */
export function filesUnusable(
  state: HeldIdentity,
  reason: string,
  now: Date,
): Transition<HeldIdentity> {
  // If our own certificate has expired, the files have not changed. The renewal
  // reports this case.
  if (state.certificate.notAfter <= now) return { state };
  const text = `The files of the identity have changed and cannot be used, so the previous ones stay in use: ${reason}`;
  const lines: Line[] = text === state.fileTrouble ? [] : [{ level: "warn", text }];
  return { state: { ...state, fileTrouble: text }, lines };
}

/** This program has written files, so they must be read again. */
export function filesWritten<State extends IdentityState>(state: State): State {
  return state.kind === "held" ? { ...state, stamp: undefined } : state;
}

/**
 * A renewed certificate is in use, and it must be saved, together with its
 * ingress. The trouble stays until {@link renewalEnded}.
 */
export function renewed(before: HeldIdentity, identity: Identity): HeldIdentity {
  const { certificate = "", ingress = "" } = before.unsaved;
  return {
    ...before,
    identity,
    certificate: certificateOf(identity),
    fileTrouble: "",
    unsaved: { certificate, ingress },
  };
}

/**
 * The end of a renewal. If the new certificate is already due, this counts as a
 * failure. Otherwise it would be renewed at every turn of the loop.
 */
export function renewalEnded(
  state: HeldIdentity,
  now: Date,
  random: number,
): Transition<HeldIdentity> {
  if (!renewalDue(state.certificate, now))
    return { state: { ...state, renewalTrouble: undefined } };
  const dueAgain = "the certificate that ngrok has just sent is due for renewal already";
  return renewalFailed(state, new NgrokdError("api", dueAgain), now, random);
}

/**
 * The next attempt waits. If the renewal was forced before it was due, there is
 * no need to wait. `random`: 0 to 1, as {@link retryDelay} takes it.
 */
export function renewalFailed(
  state: HeldIdentity,
  error: unknown,
  now: Date,
  random: number,
): Transition<HeldIdentity> {
  const before = renewalTroubleAt(state, now);
  const failures = (before?.failures ?? 0) + 1;
  const [reason, hint] = [reasonOf(error), hintOf(error)];
  const next = new Date(now.getTime() + retryDelay(error, failures, random));
  const line: Line = {
    level: "warn",
    text: `The client certificate could not be renewed: ${reason}`,
    ...(hint === "" ? {} : { hint }),
  };
  const isTold = before !== undefined && sameFailure(before.reason, reason);
  const isDue = renewalDue(state.certificate, now);
  const renewalTrouble = isDue ? { failures, next, reason, hint } : undefined;
  return { state: { ...state, renewalTrouble }, lines: isTold ? [] : [line] };
}

/**
 * The trouble of the last renewal, as far as it matters now. If a clock that
 * was ahead is set back, no renewal may be due any more.
 */
export const renewalTroubleAt = (
  { certificate, renewalTrouble }: HeldIdentity,
  now: Date,
): RenewalTrouble | undefined => (renewalDue(certificate, now) ? renewalTrouble : undefined);

/** ngrok's reply for an operator whose files have no ingress. */
export function ingressNamed(state: HeldIdentity, endpoint: string | undefined): HeldIdentity {
  if (endpoint === undefined) return { ...state, hasNoIngress: true };
  return {
    ...state,
    identity: { ...state.identity, ingressEndpoint: endpoint },
    unsaved: { ...state.unsaved, ingress: state.unsaved.ingress ?? "" },
  };
}

/** The part is on disk. */
export function partSaved(state: HeldIdentity, part: Part): HeldIdentity {
  const { [part]: _, ...unsaved } = state.unsaved;
  return { ...afterWriting(state, part), unsaved };
}

/** The part could not be saved. It stays in use and unsaved. */
export function partUnsaved(
  state: HeldIdentity,
  part: Part,
  reason: string,
): Transition<HeldIdentity> {
  const { what, hint } = savings[part];
  const text = `${what} is in use, but cannot be saved: ${reason}`;
  const lines: Line[] = text === state.unsaved[part] ? [] : [{ level: "warn", text, hint }];
  return {
    state: { ...afterWriting(state, part), unsaved: { ...state.unsaved, [part]: text } },
    lines,
  };
}

/** The stamp does not cover the ingress file. */
const afterWriting = (state: HeldIdentity, part: Part): HeldIdentity =>
  part === "certificate" ? filesWritten(state) : state;

const savings = {
  certificate: {
    what: "The renewed client certificate",
    hint: "every poll tries again; until then a restart uses the old one",
  },
  ingress: {
    what: "The ingress address from ngrok",
    hint: "every poll tries again; after a restart ngrok is asked again",
  },
};

/** The search for twins has ended. If it failed, it is due again. */
export function twinsSearched(state: HeldIdentity, isDone: boolean, now: Date): HeldIdentity {
  return { ...state, twinsDue: isDone ? undefined : afterRegistrations(now) };
}

/** The warnings for the user, each a sentence. */
export function warningsOf(state: IdentityState, warnDays: number, now: Date): string[] {
  if (state.kind === "none") return [];
  const { certificate, unsaved, fileTrouble } = state;
  const texts = [
    certificateWarning(certificate, renewalTroubleAt(state, now), warnDays, now),
    unsaved.certificate,
    fileTrouble,
    unsaved.ingress,
  ];
  return texts.filter((text) => text !== undefined && text !== "") as string[];
}

/** Milliseconds until a renewal or a search for twins is due. */
export function msUntilDue(state: IdentityState, now: Date): number {
  if (state.kind === "none") return Number.POSITIVE_INFINITY;
  const { certificate, renewalTrouble, twinsDue } = state;
  return Math.min(msUntilRenewal(certificate, renewalTrouble, now), msUntilTwins(twinsDue, now));
}

/**
 * Milliseconds until twins are searched for; 0 if it is due. A time further
 * ahead than the wait comes from a clock that was set back since.
 */
export function msUntilTwins(due: Date | undefined, now: Date): number {
  if (due === undefined) return Number.POSITIVE_INFINITY;
  const left = due.getTime() - now.getTime();
  return left > registrationsMs ? 0 : Math.max(0, left);
}

/**
 * The time after which requests of earlier processes cannot reach ngrok any
 * more: a request has a deadline of 30 s.
 */
const registrationsMs = 30_000;
const afterRegistrations = (from: Date): Date => new Date(from.getTime() + registrationsMs);

function certificateOf({ operatorId, certPem }: Identity): CertificateFacts {
  const inspected = inspectCertificate(certPem);
  if (inspected.ok) return inspected.value;
  throw new NgrokdError(
    "state",
    `The certificate of ${operatorId} cannot be read: ${inspected.reason}`,
  );
}

/** The file still has the previous ingress, so the unsaved one counts. */
function withUnsavedIngress({ identity, unsaved }: HeldIdentity, found: Identity): Identity {
  const { operatorId, ingressEndpoint } = identity;
  return unsaved.ingress !== undefined && found.operatorId === operatorId
    ? { ...found, ingressEndpoint }
    : found;
}

const isSameIdentity = (a: Identity, b: Identity): boolean =>
  a.operatorId === b.operatorId &&
  a.certPem === b.certPem &&
  a.keyPem === b.keyPem &&
  a.ingressEndpoint === b.ingressEndpoint;
