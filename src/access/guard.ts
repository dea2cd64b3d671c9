import { isLoopback } from "../model/proxy.ts";
import type { Caller, Conn, Net } from "../net/types.ts";
import {
  type Client,
  type Default,
  type Rule,
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
  /** The same for a user of this machine who comes by another way. */
  judgeUser(conn: Conn, uid: number | undefined, wanted: Wanted): RefusalText | undefined;
  /**
   * Whether the client may use any of these endpoints. For a door that they
   * share, before the client has named one. As {@link judge} otherwise. What is
   * known about `endpoints` is kept as long as the array.
   */
  mayUseAny(conn: Conn, endpoints: readonly Shared[]): boolean | Promise<boolean>;
  /** The user of a client, if {@link judge} had to ask, or was told. */
  userOf(conn: Conn): number | undefined;
  /** The name of a user; known if a rule names users, or if they are wanted. */
  nameOf(uid: number): string | undefined;
  /** Sentences about users and groups that this machine does not have. */
  readonly warnings: readonly string[];
}

/** An endpoint at a shared door. */
export interface Shared {
  readonly wanted: Wanted;
  readonly without: Default;
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
  /** Whether the user of every client is wanted, also if no rule needs it. */
  readonly wantsUsers?: () => boolean;
}

export function createGuard({
  net,
  written,
  placeOf,
  isOwn = () => false,
  files = systemFiles,
  wantsUsers = () => false,
}: GuardOptions): Guard {
  const current = createRules(written, files, wantsUsers);
  const termsAt = createTermsAt();
  /** What {@link Guard.mayUseAny} learnt, for {@link Guard.judge}. */
  const callers = new WeakMap<Conn, Caller | Promise<Caller>>();
  const users = new WeakMap<Conn, number>();
  return {
    judge(conn, wanted, without) {
      const { rules, nameOf } = current();
      const terms = { rule: ruleFor(rules, wanted), without };
      const isOpen = isOpenTo(conn, terms);
      if (isOpen && !wantsUsers()) return undefined;
      const caller = callers.get(conn) ?? net.callerOf(conn);
      callers.delete(conn);
      return whenKnown(caller, (known) => {
        if (known.isHere && known.uid !== undefined) users.set(conn, known.uid);
        if (isOpen) return undefined;
        const refusal = refusalOf(terms.rule, clientOf(known, conn, isOwn), without);
        return refusal && refusalText(refusal, wanted, { nameOf, placeOf });
      });
    },
    judgeUser(conn, uid, wanted) {
      if (uid !== undefined) users.set(conn, uid);
      const { rules, nameOf } = current();
      const refusal = refusalOf(ruleFor(rules, wanted), { kind: "user", uid }, "users");
      return refusal && refusalText(refusal, wanted, { nameOf, placeOf });
    },
    mayUseAny(conn, endpoints) {
      const all = termsAt(endpoints, current().rules);
      if (all.some((terms) => isOpenTo(conn, terms))) return true;
      const caller = net.callerOf(conn);
      callers.set(conn, caller);
      return whenKnown(caller, (known) => {
        const client = clientOf(known, conn, isOwn);
        return all.some(({ rule, without }) => refusalOf(rule, client, without) === undefined);
      });
    },
    userOf: (conn) => users.get(conn),
    nameOf: (uid) => current().nameOf(uid),
    get warnings() {
      return current().unknown;
    },
  };
}

/** What decides about the clients of an endpoint. */
interface Terms {
  readonly rule: Rule | undefined;
  readonly without: Default;
}

/** Whether the addresses of a connection alone let its client in. */
const isOpenTo = (conn: Conn, { rule, without }: Terms): boolean =>
  (rule === undefined && without === "everybody") || (rule?.uids === undefined && isWithin(conn));

/**
 * Returns the terms of endpoints, each once. A door has thousands of endpoints
 * and few rules, and everybody may connect to it: so they are kept.
 */
function createTermsAt(): (endpoints: readonly Shared[], rules: readonly Rule[]) => Terms[] {
  const kept = new WeakMap<readonly Shared[], { rules: readonly Rule[]; terms: Terms[] }>();
  return (endpoints, rules) => {
    const last = kept.get(endpoints);
    if (last?.rules === rules) return last.terms;
    const distinct = new Map<string, Terms>();
    for (const { wanted, without } of endpoints) {
      const rule = ruleFor(rules, wanted);
      distinct.set(`${rule?.number} ${without}`, { rule, without });
    }
    const terms = [...distinct.values()];
    kept.set(endpoints, { rules, terms });
    return terms;
  };
}

const whenKnown = <T>(
  caller: Caller | Promise<Caller>,
  decide: (caller: Caller) => T,
): T | Promise<T> => (caller instanceof Promise ? caller.then(decide) : decide(caller));

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
