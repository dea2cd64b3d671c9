/**
 * Checks whether the name servers reply. In the system's calls, a lookup and a
 * dial share one deadline, so a parallel question shows which of them is
 * silent.
 */

import { getServers } from "node:dns";
import { lookup } from "node:dns/promises";
import { clearTimeout, setTimeout } from "node:timers";
import { cancellable, type Signal } from "../model/abort.ts";
import { isNgrokdError, NgrokdError } from "../model/error.ts";
import { quote } from "../model/parsed.ts";
import { isIP } from "./is-ip.ts";

export type Look = (host: string) => Promise<unknown>;

/** A question to the name servers. */
export interface Question {
  /** They have said nothing yet, not even that there is no such name. */
  readonly pending: boolean;
}

/** Asks for a host's addresses; an IP address needs no answer. */
export function askResolver(host: string, look: Look = (name) => lookup(name)): Question {
  let pending = isIP(host) === 0;
  const answered = (): void => {
    pending = false;
  };
  if (pending) look(host).then(answered, answered);
  return {
    get pending() {
      return pending;
    },
  };
}

/** The error for a host if no name server replies to its lookup. */
export function resolverSilent(host: string, servers = getServers()): NgrokdError {
  const [first, ...others] = [...new Set(servers)].slice(0, 3).map((server) => quote(server));
  const who =
    first === undefined
      ? "no name server answers"
      : others.length === 0
        ? `the name server ${first} does not answer`
        : `the name servers ${[first, ...others].join(" and ")} do not answer`;
  return new NgrokdError("network", `Cannot look up "${host}": ${who}`, {
    hint: "is the name server of /etc/resolv.conf right, and does a firewall let questions to it through?",
    details: { errno: "EAI_AGAIN", resolver: "silent" },
  });
}

/** Whether an error says that a name could not be looked up. */
export const isLookupFailure = (error: unknown): boolean =>
  error instanceof NgrokdError && error.message.startsWith("Cannot look up ");

export interface Patience {
  /** If the work takes longer than this, the name servers are asked. */
  readonly askAfterMs: number;
  /** The time for a reply of the name servers. */
  readonly silenceMs: number;
}

/**
 * Runs work that begins with looking up `host`. Rejects with
 * {@link resolverSilent}, and aborts the work, if the name servers are silent
 * for too long, or were when a deadline passed.
 */
export async function watchingResolver<T>(
  host: string,
  signal: Signal | undefined,
  { askAfterMs, silenceMs }: Patience,
  work: (signal: Signal | undefined) => Promise<T>,
  look?: Look,
): Promise<T> {
  if (isIP(host) !== 0) return await work(signal);
  let silence: NgrokdError | undefined;
  let question: Question | undefined;
  return await cancellable(signal, async (stop) => {
    let timer = setTimeout(() => {
      const asked = askResolver(host, look);
      question = asked;
      timer = setTimeout(() => {
        if (!asked.pending) return;
        silence = resolverSilent(host);
        stop.abort(silence);
      }, silenceMs);
    }, askAfterMs);
    try {
      return await work(stop);
    } catch (error) {
      if (silence !== undefined) throw silence;
      throw isNgrokdError(error, "timeout") && question?.pending ? resolverSilent(host) : error;
    } finally {
      clearTimeout(timer);
    }
  });
}
