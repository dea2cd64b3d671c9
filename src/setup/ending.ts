import type { ListItem } from "../desk/reply-schemas.ts";
import { examine } from "../doctor/doctor.ts";
import type { Finding } from "../doctor/finding.ts";
import { isNgrokdError, NgrokdError, reasonOf } from "../model/error.ts";
import type { Say } from "../terminal/say.ts";
import { unlessEnded } from "./carry-out.ts";
import type { Place } from "./gather-facts.ts";

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
  /** Aborts when the user wants to end. */
  readonly stop: AbortSignal;
}

/**
 * Waits for the daemon's first poll, and examines all. Rejects with NgrokdError
 * `cancelled` when the user ends it.
 */
export const endingOf = (options: EndingOptions): Promise<Ending> =>
  unlessEnded(options.stop, waitEnded, () => waitAndExamine(options));

const waitEnded = (): NgrokdError =>
  new NgrokdError("cancelled", "All is set up, but nobody waited for the result", {
    hint: "`ngrokd doctor` shows it",
  });

async function waitAndExamine(options: EndingOptions): Promise<Ending> {
  const { place, say, untilReady, list } = options;
  let trouble = "";
  let endpoints: readonly ListItem[] = [];
  try {
    await say.awaiting("Waiting for the first answer of ngrok", untilReady);
    endpoints = await list();
  } catch (error) {
    if (!isNgrokdError(error)) throw error;
    trouble = reasonOf(error);
  }
  const all = { ...place, profile: undefined, all: false };
  const findings = await say.awaiting("Checking", () => examine(all));
  return { trouble, endpoints, findings };
}

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
