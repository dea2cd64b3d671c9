/**
 * The messages between the daemon and a worker, as plain data. Both are the
 * same program, and no other process has the channel, so nothing is checked
 * here.
 */
import type { WrittenRule } from "../access/access.ts";
import type { DoorId, Doorway } from "../exposure/exposure.ts";
import type { Ground } from "../exposure/ground.ts";
import type { ClientAddress, Ending, Trace } from "../history/trace.ts";
import type { IngressStats } from "../ingress/ingress.ts";
import type { IngressSettings } from "../ingress/ingress-dialer.ts";
import type { IdentitySettings } from "../ingress/machine-identity.ts";
import type { Exchange } from "../inspect/exchange.ts";
import type { InspectSettings } from "../inspect/inspect.ts";
import type { ErrorCode } from "../model/error.ts";
import type { Log, LogFields } from "../model/log.ts";
import type { Meter } from "../model/meter.ts";
import type { RelayLimits } from "../relay/relay.ts";

/** The word of the command line that only the daemon uses. */
export const workerCommand = "worker";

/** The settings that a worker needs. They have no secret. */
export interface WorkerSettings {
  readonly rules: readonly WrittenRule[];
  /** Where each rule is written. */
  readonly places: readonly string[];
  readonly ground: Ground;
  readonly identity: IdentitySettings;
  readonly inspect: InspectSettings;
  /** Whether lines for debugging are wanted. */
  readonly verbose: boolean;
}

/** From the daemon. Those with a number are answered by `done`. */
export type Order =
  | { readonly kind: "settings"; readonly settings: WorkerSettings; readonly limits: RelayLimits }
  | { readonly kind: "accounts"; readonly names: readonly string[] }
  | {
      readonly kind: "credentials";
      readonly account: string;
      /** Only the daemon itself is introduced to a CA. */
      readonly settings: Omit<IngressSettings, "introduction">;
    }
  /**
   * A descriptor for each of `open`, in their order, is in the other channel.
   */
  | ({ readonly kind: "steps"; readonly number: number } & WorkerSteps)
  /** Doors whose listener is another one now. Descriptors as for `steps`. */
  | { readonly kind: "mend"; readonly number: number; readonly open: readonly Doorway[] }
  /** Connections of the other workers. */
  | {
      readonly kind: "elsewhere";
      readonly open: number;
      /** By the key of a binding; empty if no limit needs it. */
      readonly endpoints: ReadonlyMap<string, number>;
    }
  | { readonly kind: "discard" }
  | { readonly kind: "prepare" }
  | { readonly kind: "ping"; readonly number: number }
  | { readonly kind: "leave"; readonly number: number }
  /** It ends after its last connection. */
  | { readonly kind: "drain" }
  | { readonly kind: "hurry" };

export interface WorkerSteps {
  readonly open: readonly Doorway[];
  readonly reroute: readonly Doorway[];
  readonly close: readonly DoorId[];
}

/** From a worker. */
export type Report =
  /** It is here; `now` is its performance.now(). */
  | { readonly kind: "ready"; readonly now: number }
  | {
      readonly kind: "done";
      readonly number: number;
      /** Why a door takes no clients in this worker. */
      readonly failures: readonly string[];
    }
  | ({ readonly kind: "traffic" } & Traffic)
  | { readonly kind: "exchange"; readonly exchange: Exchange };

/** What has happened since the last report. */
export interface Traffic {
  /** Open connections now. */
  readonly open: number;
  /** See {@link Descriptors.turnedAway}. */
  readonly turnedAway: number;
  /** What has to be added to the meters, by the key of their binding. */
  readonly meters: readonly (readonly [string, Meter])[];
  readonly strangers: Meter | undefined;
  readonly news: readonly News[];
  /** Of the accounts for which something has changed. */
  readonly ingress: readonly IngressNews[];
  readonly log: readonly LogLine[];
}

export interface IngressNews {
  readonly account: string;
  readonly stats: IngressStats;
  readonly trouble:
    | { readonly code: ErrorCode; readonly message: string; readonly hint: string | undefined }
    | undefined;
}

export interface LogLine {
  readonly level: keyof Log;
  readonly message: string;
  readonly fields: LogFields | undefined;
}

/** A connection of the worker; times are of its performance.now(). */
export interface News extends Pick<Trace, Step | "id" | "bytesUp" | "bytesDown"> {
  /** Only in the first news of it. */
  readonly begun:
    | (Pick<Trace, "account" | "endpoint" | "uid" | "accepted" | "acceptedAt"> & {
        readonly client: ClientAddress;
      })
    | undefined;
  readonly notices: readonly string[];
  /** Only in the last news of it. */
  readonly end:
    | { readonly at: number; readonly ending: Ending; readonly detail: string }
    | undefined;
}

export const steps = ["connected", "ready", "upgraded", "firstUp", "firstDown"] as const;
type Step = (typeof steps)[number] | "from";
