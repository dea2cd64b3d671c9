import type { Hostname } from "../../model/hostname.ts";

/**
 * A host that a client names. Empty if it is no host name, such as an address;
 * undefined if the client names none.
 */
export type Named = Hostname | "" | undefined;

/** The next look, if the bytes end too early. */
export interface Look {
  /** How many bytes it needs. */
  readonly atLeast: number;
  /** Where it may begin. */
  readonly from: number;
}

/** The result of a look at the first bytes of a connection. */
export type Naming =
  | ({ readonly kind: "more" } & Look)
  | { readonly kind: "tls" | "http" | "http2"; readonly host: Named }
  /** `http`: the client seems to speak it. */
  | { readonly kind: "unreadable"; readonly reason: string; readonly http?: true };

export const noName: Naming = { kind: "tls", host: undefined };

/** The reason fits after "the client was refused, since". */
export const unreadable = (reason: string): Extract<Naming, { kind: "unreadable" }> => ({
  kind: "unreadable",
  reason,
});
