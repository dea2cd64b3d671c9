import type { EndpointState } from "./state.ts";

export interface Reconciled {
  readonly endpoints: readonly EndpointState[];
  /**
   * What failed for the pass as a whole (the hosts file, the state folder);
   * endpoints' own failures are in their states.
   */
  readonly problems: readonly { reason: string; hint: string }[];
}

/**
 * What a pass found, for the state; `kind` tells the loop when to come back.
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

/** The endpoints of before this start, served before ngrok was asked. */
export interface Resumption {
  readonly kind: "resumed";
  readonly reconciled: Reconciled;
}
