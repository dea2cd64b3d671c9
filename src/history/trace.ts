import type { ErrorKind } from "../model/meter.ts";
import type { Tally } from "./tally.ts";

/**
 * How a connection ended. `finished`: both sides, to their last byte. `left`:
 * the client, before its connection was open. `refused`: by the ingress.
 * `silent`: nothing moved for too long. `drained`: it was cut, since its
 * endpoint went or the daemon stopped. All others are as in a meter.
 */
export type Ending = "finished" | "left" | "refused" | "silent" | "drained" | ErrorKind;

/** An address of the client: of a socket, or of a file. */
export type ClientAddress =
  | { readonly host: string; readonly port: number }
  | { readonly path: string };

/**
 * One connection in memory. Times are of performance.now(); undefined until the
 * step is done. There may be tens of thousands, so it has no promise, no
 * closure and no text of its own until it ends.
 */
export interface Trace {
  /** Counts from 1 since the start of the daemon. */
  readonly id: number;
  readonly account: string;
  /** `host:port`. */
  readonly endpoint: string;
  readonly client: ClientAddress;
  /** The user of the client, if the system was asked. */
  readonly uid: number | undefined;
  readonly accepted: number;
  /** Milliseconds since the epoch. */
  readonly acceptedAt: number;
  /** Where the connection to the ingress is from. */
  from: "pool" | "dial" | undefined;
  /** TCP reaches the ingress, and TLS begins; only of a dial. */
  connected: number | undefined;
  /** The connection to the ingress is there, TLS included. */
  ready: number | undefined;
  /** The ingress has accepted. */
  upgraded: number | undefined;
  firstUp: number | undefined;
  firstDown: number | undefined;
  ended: number | undefined;
  bytesUp: number;
  bytesDown: number;
  ending: Ending | undefined;
  /** A sentence about the end; empty for a usual one. */
  detail: string;
  /** Shared by the connections of an endpoint. */
  readonly tally: Tally;
}

/**
 * A connection that was accepted now, or `since` then. It is one literal, since
 * spreads would take longer than all the rest of the history.
 */
export const newTrace = (
  {
    id,
    account,
    endpoint,
    client,
    uid,
    tally,
  }: Pick<Trace, "id" | "account" | "endpoint" | "client" | "uid" | "tally">,
  since?: Pick<Trace, "accepted" | "acceptedAt">,
): Trace => ({
  id,
  account,
  endpoint,
  client,
  uid,
  accepted: since?.accepted ?? performance.now(),
  acceptedAt: since?.acceptedAt ?? Date.now(),
  from: undefined,
  connected: undefined,
  ready: undefined,
  upgraded: undefined,
  firstUp: undefined,
  firstDown: undefined,
  ended: undefined,
  bytesUp: 0,
  bytesDown: 0,
  ending: undefined,
  detail: "",
  tally,
});
