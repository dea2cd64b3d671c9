import { isLoopback } from "../model/proxy.ts";
import type { Caller, Conn, Net } from "../net/types.ts";
import {
  type Client,
  type Default,
  refusalOf,
  ruleFor,
  type Wanted,
  type WrittenRule,
} from "./access.ts";
import { type AccountFiles, createRules, systemFiles } from "./rules.ts";
import { type RefusalText, refusalText, type Surroundings } from "./words.ts";

/** Judges the clients of all doors. */
export interface Guard {
  /**
   * Why the client of an accepted connection may not use an endpoint; undefined
   * if it may. Returns that without a promise if the system can be asked at
   * once. Reads nothing from the connection. Never rejects.
   */
  judge(
    conn: Conn,
    wanted: Wanted,
    without: Default,
  ): RefusalText | undefined | Promise<RefusalText | undefined>;
  /** Sentences about users and groups that this machine does not have. */
  readonly warnings: readonly string[];
}

export interface GuardOptions {
  readonly net: Pick<Net, "callerOf">;
  /** The rules in effect. Read for every connection. */
  readonly written: () => readonly WrittenRule[];
  readonly placeOf: Surroundings["placeOf"];
  /**
   * Whether an address is one of this machine. For systems that do not tell
   * which programs have connected.
   */
  readonly isOwn?: (address: string) => boolean;
  readonly files?: AccountFiles;
}

export function createGuard({
  net,
  written,
  placeOf,
  isOwn = () => false,
  files = systemFiles,
}: GuardOptions): Guard {
  const current = createRules(written, files);
  return {
    judge(conn, wanted, without) {
      const rule = ruleFor(current().rules, wanted);
      if (rule === undefined && without === "everybody") return undefined;
      if (rule?.uids === undefined && isWithin(conn)) return undefined;
      const verdict = (caller: Caller): RefusalText | undefined => {
        const refusal = refusalOf(rule, clientOf(caller, conn, isOwn), without);
        return refusal && refusalText(refusal, wanted, { nameOf: current().nameOf, placeOf });
      };
      const caller = net.callerOf(conn);
      return caller instanceof Promise ? caller.then(verdict) : verdict(caller);
    },
    get warnings() {
      return current().unknown;
    },
  };
}

/** A guard without rules. */
export const createPlainGuard = (net: Pick<Net, "callerOf">): Guard =>
  createGuard({ net, written: () => none, placeOf: () => "" });

const none: readonly WrittenRule[] = [];

function clientOf(
  { isHere, uid }: Caller,
  { remote }: Conn,
  isOwn: (address: string) => boolean,
): Client {
  const address = hostOf(remote);
  return isHere || isOwn(address) ? { kind: "user", uid } : { kind: "machine", address };
}

/**
 * Both ends are loopback addresses, which no other machine has. A system can
 * let a stranger's packets in at such a door (`route_localnet`), but they keep
 * the stranger's address.
 */
const isWithin = ({ local, remote }: Conn): boolean =>
  isLoopback(hostOf(local)) && isLoopback(hostOf(remote));

const hostOf = (address: Conn["remote"]): string => ("host" in address ? address.host : "");
