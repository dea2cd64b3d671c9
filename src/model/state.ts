import type { Proto } from "./endpoint.ts";
import type { Hostname } from "./hostname.ts";
import type { AnyIp, Ip6 } from "./ip.ts";
import type { Meter } from "./meter.ts";
import type { Moment } from "./moment.ts";

/**
 * The state of the daemon in one word. `degraded`: it runs, but cannot do a
 * part of its work; `reason` names it.
 */
export type Phase = "starting" | "serving" | "degraded" | "stopping";

export type Registration =
  | { readonly kind: "waiting-for-key" }
  | { readonly kind: "registering" }
  | {
      readonly kind: "registered";
      readonly operatorId: string;
      readonly certificate: CertificateFacts;
    }
  | { readonly kind: "failed"; readonly reason: string; readonly hint: string };

export interface CertificateFacts {
  readonly notAfter: Date;
  readonly fingerprint256: string;
}

/** `wildcard`: each name below it has an address and a state of its own. */
export const endpointStates = [
  "listening",
  "wildcard",
  "failed",
  "unsupported",
  "refused",
  "paused",
  "draining",
] as const;

/** How one endpoint fares. `reason` is empty while it listens. */
export interface EndpointState {
  /** The profile that has the endpoint. */
  readonly account: string;
  readonly ids: readonly string[];
  readonly url: string;
  readonly proto: Proto | "";
  readonly host: Hostname | "";
  readonly port: number;
  readonly ip: AnyIp | "";
  /** The second address; empty if there is none. */
  readonly ip6: Ip6 | "";
  readonly state: (typeof endpointStates)[number];
  readonly reason: string;
  readonly warning: string;
  /** Its other names, from the configuration. */
  readonly aliases?: readonly Hostname[];
  readonly meter: Meter;
  /** Undefined if it is not meant for other machines. */
  readonly network?: NetworkState;
}

/** Pure: whether an endpoint, or the names below it, can be used. */
export const isServed = (state: EndpointState["state"]): boolean =>
  state === "listening" || state === "wildcard";

/** Pure: the number of endpoints in each state. */
export function stateCounts(
  endpoints: readonly Pick<EndpointState, "state">[],
): Record<EndpointState["state"], number> {
  const none = endpointStates.map((state) => [state, 0]);
  const counts: Record<EndpointState["state"], number> = Object.fromEntries(none);
  for (const { state } of endpoints) counts[state] += 1;
  return counts;
}

/** How other machines reach an endpoint. */
export interface NetworkState {
  /** An address; the word of the setting if other machines do not reach it. */
  readonly listen: string;
  /** 0 if it is unreachable. */
  readonly port: number;
  /** `ip:port` of a listener that others share; empty if it is alone. */
  readonly sharedDoor: string;
  /** Why other machines do not reach it; empty if they do. */
  readonly reason: string;
}

export interface LastPass {
  readonly at: Moment;
  readonly ok: boolean;
  readonly tookMs: number;
  readonly reason: string;
  readonly hint: string;
}

/**
 * The data of status, list, health and metrics. The daemon alone publishes it,
 * as a whole.
 */
export interface State {
  /** The profile that advice is about; undefined for the default one. */
  readonly profile?: string;
  readonly phase: Phase;
  readonly reason: string;
  readonly hint: string;
  readonly startedAt: Moment;
  readonly registration: Registration;
  /** host:port */
  readonly ingress: string;
  readonly lastPass: LastPass | undefined;
  readonly endpoints: readonly EndpointState[];
  /** Lasting problems for the user, a sentence each. */
  readonly warnings: readonly string[];
}

/** Pure: the command that sets the key of a profile, as code. */
export const keyCommand = (
  { profile }: { readonly profile?: string | undefined },
  flags = "",
): string =>
  `\`ngrokd set-api-key${flags}${profile === undefined ? "" : ` --profile ${profile}`}\``;

/**
 * What a load balancer may conclude: registered, the last pass succeeded, and
 * connections have no known obstacle. Zero endpoints are fine.
 */
export function readiness(state: State): { ready: boolean; reason: string } {
  if (state.phase === "stopping") return { ready: false, reason: "the daemon is stopping" };
  const { registration, lastPass } = state;
  if (registration.kind === "waiting-for-key")
    return { ready: false, reason: `waiting for an API key: run ${keyCommand(state)}` };
  if (registration.kind === "failed")
    return { ready: false, reason: `not registered: ${registration.reason}` };
  if (registration.kind === "registering")
    return { ready: false, reason: "registering with ngrok" };
  if (lastPass === undefined) return { ready: false, reason: "the first poll has not finished" };
  if (!lastPass.ok) return { ready: false, reason: `the last poll failed: ${lastPass.reason}` };
  return state.phase === "degraded"
    ? { ready: false, reason: state.reason }
    : { ready: true, reason: "" };
}
