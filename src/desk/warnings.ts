import type { State } from "../model/state.ts";
import type { Line } from "./tell.ts";

/** The sources of warnings. An empty text or list is no warning. */
export interface WarningSources {
  /** The value of server.insecure_skip_verify. */
  readonly insecure: boolean;
  readonly settings: readonly string[];
  readonly health: string;
  readonly hosts: string | undefined;
  readonly dns: readonly string[];
  /** What is not as configured about the addresses. */
  readonly link: readonly string[];
  readonly identity: readonly string[];
  readonly trust: readonly string[];
  readonly selectors: string;
  /** The published state's own warnings. */
  readonly state: readonly string[];
  readonly ingress: IngressTrouble | undefined;
}

/** Why new connections to the ingress fail; the hint may be empty. */
export interface IngressTrouble {
  readonly text: string;
  readonly hint: string;
}

export const noWarnings: WarningSources = {
  insecure: false,
  settings: [],
  health: "",
  hosts: undefined,
  dns: [],
  link: [],
  identity: [],
  trust: [],
  selectors: "",
  state: [],
  ingress: undefined,
};

export const insecureWarning =
  "server.insecure_skip_verify is on: the ingress is NOT verified, " +
  "and anyone on the network path can read and change every connection";

/** Pure: the warnings of `ngrokd status`, each a sentence, in their order. */
export function warningsOf(sources: WarningSources): string[] {
  const {
    insecure,
    settings,
    health,
    hosts = "",
    dns,
    link,
    identity,
    trust,
    selectors,
    state,
  } = sources;
  return [
    insecure ? insecureWarning : "",
    ...settings,
    health,
    hosts,
    ...dns,
    ...link,
    ...identity,
    ...trust,
    selectors,
    ...state,
    sentenceOf(sources.ingress),
  ].filter((text) => text !== "");
}

/**
 * Pure: the trouble that an error of the ingress means. The pool dials before
 * the first client connects, so an untrusted CA shows at once.
 */
export function ingressTrouble(
  error: { readonly message: string; readonly hint?: string | undefined } | undefined,
): IngressTrouble | undefined {
  if (error === undefined) return undefined;
  return { text: `New connections fail: ${error.message}`, hint: error.hint ?? "" };
}

/**
 * Pure: a daemon that cannot reach the ingress carries nothing, so it does not
 * serve. The advice is in the warning.
 */
export function carrying(state: State, trouble: IngressTrouble | undefined): State {
  if (trouble === undefined || state.phase !== "serving") return state;
  return { ...state, phase: "degraded", reason: trouble.text, hint: "" };
}

/**
 * Pure: the log lines about the ingress after a pass, for a new trouble or for
 * its end. `before` is the trouble after the previous pass.
 */
export function ingressLines(
  before: IngressTrouble | undefined,
  now: IngressTrouble | undefined,
): Line[] {
  if (now !== undefined) return now.text === before?.text ? [] : [{ level: "warn", ...now }];
  return before === undefined ? [] : [{ level: "info", text: "The ingress can be reached again" }];
}

function sentenceOf(trouble: IngressTrouble | undefined): string {
  if (trouble === undefined) return "";
  return trouble.hint === "" ? trouble.text : `${trouble.text}; ${trouble.hint}`;
}
