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
  /** ngrok does not know our operator; believed when it is seen again. */
  | { readonly kind: "gone"; readonly error: unknown }
  /**
   * `reconciled` where ngrok could not be asked: what it had listed was made
   * true; where `resumed`, what it had listed before this start.
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
