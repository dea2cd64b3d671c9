import type { Fetch } from "../cloud/exchange.ts";
import { type IdentityPaths, identityPaths } from "../cloud/registration.ts";
import type { Loaded } from "../config/load.ts";
import type { Log } from "../model/log.ts";
import type { Registration } from "../model/state.ts";
import {
  type HeldIdentity,
  type IdentityState,
  nothingYet,
  type Transition,
} from "./identity-state.ts";
import { type ApiKeys, createApiKeys } from "./keys.ts";

/** The dependencies of the identity. */
export interface IdentityDeps {
  /** The settings in effect. */
  readonly loaded: () => Loaded;
  readonly fetch: () => Fetch;
  readonly log: Log;
  /** Called with every secret that must not reach the log. */
  readonly keepSecret: (secret: string) => void;
  readonly publish: (registration: Registration) => void;
  /**
   * Called when another identity is in use. Connections that were opened with
   * the old one must not be used for new requests.
   */
  readonly changed: () => void;
  readonly now?: () => Date;
  /** 0 to 1. */
  readonly random?: () => number;
}

/**
 * The one holder of the identity's state, with the dependencies of its effects.
 */
export interface IdentityStore extends Required<IdentityDeps> {
  readonly state: IdentityState;
  /** The state if there is an identity in use. */
  readonly held: HeldIdentity | undefined;
  readonly keys: ApiKeys;
  paths(): IdentityPaths;
  /** Enters a state, logs its lines, and publishes another identity. */
  enter<State extends IdentityState>(transition: Transition<State>): State;
}

export function createIdentityStore(deps: IdentityDeps): IdentityStore {
  const { loaded, log, publish, changed } = deps;
  let state: IdentityState = nothingYet;
  const held = (): HeldIdentity | undefined => (state.kind === "held" ? state : undefined);

  return {
    now: () => new Date(),
    random: Math.random,
    ...deps,
    get state() {
      return state;
    },
    get held() {
      return held();
    },
    keys: createApiKeys(deps),
    paths: () => identityPaths(loaded().config.server),
    enter({ state: next, lines = [] }) {
      const before = held()?.identity;
      state = next;
      for (const { level, text, hint } of lines)
        log[level](text, hint === undefined ? {} : { hint });
      if (next.kind === "held" && next.identity !== before) {
        const { identity, certificate } = next;
        publish({ kind: "registered", operatorId: identity.operatorId, certificate });
        changed();
      }
      return next;
    },
  };
}
