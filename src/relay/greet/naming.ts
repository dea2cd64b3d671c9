import type { Hostname } from "../../model/hostname.ts";

/**
 * A host that a client names. Empty if it is no host name, such as an address;
 * undefined if the client names none.
 */
export type Named = Hostname | "" | undefined;

/** The result of a look at the first bytes of a connection. */
export type Naming =
  /** They end too early. `atLeast` bytes are needed for the next look. */
  | { readonly kind: "more"; readonly atLeast: number }
  | { readonly kind: "tls" | "http" | "http2"; readonly host: Named }
  /** `http`: the client seems to speak it. */
  | { readonly kind: "unreadable"; readonly reason: string; readonly http?: true };

export const noName: Naming = { kind: "tls", host: undefined };

/** The reason fits after "the client was refused, since". */
export const unreadable = (reason: string): Naming => ({ kind: "unreadable", reason });
