import type { Config } from "../config/schema.ts";
import type { Moment } from "../model/moment.ts";
import type { State } from "../model/state.ts";

/** The published state. Status, list, health and metrics read it. */
export interface Board {
  readonly state: State;
  publish(change: Partial<State>): void;
}

/** `onChange` is called with every state but the first, and the one before. */
export function createBoard(first: State, onChange?: (state: State, before: State) => void): Board {
  let state = first;
  return {
    get state() {
      return state;
    },
    publish(change) {
      const before = state;
      state = { ...state, ...change };
      onChange?.(state, before);
    },
  };
}

/** Pure: the state of a daemon that has just started. */
export function firstState(
  { ingressEndpoint }: Config,
  startedAt: Moment,
  profile?: string,
): State {
  return {
    ...(profile === undefined ? {} : { profile }),
    phase: "starting",
    reason: "the first poll of ngrok's API has not finished",
    hint: "",
    startedAt,
    registration: { kind: "waiting-for-key" },
    ingress: ingressEndpoint,
    lastPass: undefined,
    endpoints: [],
    warnings: [],
  };
}
