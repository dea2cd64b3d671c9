import type { Phase, State } from "../model/state.ts";
import { readiness } from "../model/state.ts";

/** The state of one profile, by its name. */
export interface ProfileState {
  readonly name: string;
  readonly state: State;
}

/** The phase of the daemon is the first of these that a profile has. */
const worstFirst: readonly Phase[] = ["stopping", "degraded", "starting", "serving"];

/**
 * Pure: the state of all profiles together. A daemon is ready if every profile
 * is, and a reason names its profile. One profile's state stays as it is.
 */
export function together(profiles: readonly [ProfileState, ...ProfileState[]]): State {
  const [{ state: first }, ...others] = profiles;
  if (others.length === 0) return first;
  const states = profiles.map(named);
  const phase = worstFirst.find((one) => states.some((state) => state.phase === one)) ?? "serving";
  const unready = states.find((state) => !readiness(state).ready);
  const reasons = states.filter((state) => state.phase === phase && state.reason !== "");
  const ingresses = new Set(states.map(({ ingress }) => ingress));
  const { registration, lastPass } = unready ?? states[0] ?? first;
  return {
    ...(unready?.profile === undefined ? {} : { profile: unready.profile }),
    phase,
    reason: reasons.map(({ reason }) => reason).join("; "),
    hint: reasons.find(({ hint }) => hint !== "")?.hint ?? "",
    startedAt: first.startedAt,
    registration,
    ingress: [...ingresses].join(", "),
    lastPass,
    endpoints: states
      .flatMap(({ endpoints }) => endpoints)
      .sort((a, b) => (a.url < b.url ? -1 : a.url > b.url ? 1 : 0)),
    warnings: states.flatMap(({ warnings }) => warnings),
  };
}

/** Pure: a sentence about a profile, which names it. */
export const ofProfileText = (name: string, text: string): string =>
  text === "" ? "" : `profile ${name}: ${text}`;

function named({ name, state }: ProfileState): State {
  const { registration, lastPass } = state;
  const tell = (text: string): string => ofProfileText(name, text);
  return {
    ...state,
    reason: tell(state.reason),
    registration:
      registration.kind === "failed"
        ? { ...registration, reason: tell(registration.reason) }
        : registration,
    lastPass: lastPass && { ...lastPass, reason: tell(lastPass.reason) },
    warnings: state.warnings.map(tell),
  };
}
