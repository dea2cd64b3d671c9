import type { ListItem } from "../desk/reply-schemas.ts";
import { examine } from "../doctor/doctor.ts";
import type { Finding } from "../doctor/finding.ts";
import { isNgrokdError, reasonOf } from "../model/error.ts";
import type { Say } from "../terminal/say.ts";
import type { Facts } from "./facts.ts";
import type { Place } from "./look.ts";

/** The state of the machine at the end. */
export interface Ending {
  /** Why the daemon is not ready; empty if it is. */
  readonly trouble: string;
  readonly endpoints: readonly ListItem[];
  readonly findings: readonly Finding[];
}

export interface EndingOptions {
  readonly place: Place;
  readonly say: Say;
  /** Waits for the daemon's first poll. */
  readonly untilReady: () => Promise<unknown>;
  readonly list: () => Promise<readonly ListItem[]>;
}

/** Waits for the daemon's first poll, and examines all. */
export async function endingOf({ place, say, untilReady, list }: EndingOptions): Promise<Ending> {
  let trouble = "";
  let endpoints: readonly ListItem[] = [];
  try {
    await say.awaiting("Waiting for the first answer of ngrok", untilReady);
    endpoints = await list();
  } catch (error) {
    if (!isNgrokdError(error)) throw error;
    trouble = reasonOf(error);
  }
  const findings = await say.awaiting("Checking", () =>
    examine({ ...place, profile: undefined, all: false }),
  );
  return { trouble, endpoints, findings };
}

/** Pure: whether a daemon runs when the plan is carried out. */
export const hasDaemon = (facts: Facts, starts: boolean): boolean =>
  facts.isRunning || facts.service.isUp || starts;

/** Pure: a command that uses an endpoint; undefined if there is none. */
export function firstTry(endpoints: readonly ListItem[]): string | undefined {
  const order = ["http", "https", "tcp", "tls"];
  const [first] = endpoints
    .filter(({ state }) => state === "listening")
    .toSorted((a, b) => order.indexOf(a.proto) - order.indexOf(b.proto));
  if (first === undefined) return undefined;
  const { proto, hostname, port } = first;
  const usual = (proto === "http" && port === 80) || (proto === "https" && port === 443);
  if (proto === "http" || proto === "https")
    return `curl ${proto}://${hostname}${usual ? "" : `:${port}`}/`;
  return `ngrokd why ${hostname}:${port}`;
}
