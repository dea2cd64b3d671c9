import type { EndpointState } from "./state.ts";

export interface Reconciled {
  readonly endpoints: readonly EndpointState[];
  /**
   * Failures of the pass as a whole (the hosts file, the state folder).
   * Endpoints' own failures are in their states.
   */
  readonly problems: readonly { reason: string; hint: string }[];
}

/**
 * The result of a pass, for the state. `kind` decides when the loop runs again.
 */
export type PassResult =
  | { readonly kind: "idle" }
  | { readonly kind: "ok" | "confirm"; readonly reconciled: Reconciled | undefined }
  /** ngrok does not know our operator; this counts when it is seen again. */
  | { readonly kind: "gone"; readonly error: unknown }
  /**
   * `reconciled` if ngrok could not be asked and its last list was applied.
   * `resumed` if that list is from before this start.
   */
  | {
      readonly kind: "failed";
      readonly error: unknown;
      readonly reconciled?: Reconciled;
      readonly resumed?: boolean;
    };

/**
 * The endpoints of an earlier run, served before the first reply from ngrok.
 */
export interface Resumption {
  readonly kind: "resumed";
  readonly reconciled: Reconciled;
}
