import { type LastList, parseLastList } from "../cloud/last-list.ts";
import type { Estate } from "../handover/estate.ts";
import { isDoor } from "../handover/handover.ts";
import type { AccountFacts, Meters } from "../handover/protocol.ts";
import type { Heritage } from "../handover/succeeding.ts";
import type { History } from "../history/history.ts";
import { NgrokdError } from "../model/error.ts";
import type { Meter } from "../model/meter.ts";
import { addChange, meterFrom } from "../model/meter-change.ts";
import { later, moment } from "../model/moment.ts";
import type { Relay } from "../relay/relay.ts";
import { version } from "../version.ts";
import type { Accounts } from "./accounts.ts";

/** What a daemon has from the one before it, or from systemd. */
export interface Inheritance {
  readonly estate: Estate;
  /**
   * Whether clients come to inherited sockets, so that their names must stay.
   */
  readonly hasDoors: boolean;
  /** The daemon that hands over; undefined after a crash or a restart. */
  readonly heritage: Heritage | undefined;
  /** The old daemon's connections, while it has any. */
  readonly predecessor: { readonly pid: number; readonly connections: number } | undefined;
  /** The list of an account. */
  list(account: string): LastList | undefined;
}

export interface LiveInheritance extends Inheritance {
  predecessor: Inheritance["predecessor"];
  /** Takes traffic of the old daemon, by the key of its binding. */
  take: (key: string, change: Meter) => void;
}

export function createInheritance(estate: Estate, heritage: Heritage | undefined): LiveInheritance {
  const factsOf = (name: string): AccountFacts | undefined =>
    heritage?.facts.accounts.find((one) => one.name === name);
  const hasDoors = estate.unclaimed.some(isDoor);
  return {
    estate,
    heritage,
    hasDoors,
    predecessor: undefined,
    take: () => undefined,
    list(account) {
      const list = parseLastList(factsOf(account)?.list ?? "");
      return list.ok ? list.value : undefined;
    },
  };
}

/**
 * Goes on where the old daemon was, and lets it leave. Throws `refused` if this
 * one has none of the doors.
 */
export async function comeIntoHeritage(
  inheritance: LiveInheritance,
  { relay, accounts, history }: { relay: Relay; accounts: Accounts; history: History },
): Promise<void> {
  const { heritage, estate } = inheritance;
  if (heritage === undefined) return;
  if (heritage.facts.doors > 0 && relay.present.size === 0)
    throw new NgrokdError("refused", "it serves no endpoint, and the running daemon does");
  const { facts } = heritage;
  for (const member of accounts.all) {
    const found = facts.accounts.find(({ name }) => name === member.name);
    if (found !== undefined) member.board.publish(stateFrom(found));
  }
  inheritance.take = relay.add;
  add(inheritance, facts.meters);
  const { strangers, departed } = relay.stats();
  addChange(strangers, meterFrom(facts.strangers));
  addChange(departed, meterFrom(facts.departed));
  const active = activeIn(facts.meters);
  await heritage.ready(version, ({ open, meters, history: later }) => {
    add(inheritance, meters);
    if (later !== undefined) history.hear(later);
    note(active, meters);
    inheritance.predecessor = open > 0 ? { pid: facts.pid, connections: open } : undefined;
    if (open > 0) return;
    // Its end took its last connections with it.
    for (const [key, count] of active)
      inheritance.take(key, { ...meterFrom(noTraffic), active: -count });
    active.clear();
  });
  estate.discard();
}

/** Pure: the state of an account, as the old daemon has published it. */
function stateFrom({ state }: AccountFacts) {
  const { lastPass, phase, reason, hint } = state;
  if (lastPass === undefined) return { phase, reason, hint };
  const { agoMs, ...pass } = lastPass;
  return { phase, reason, hint, lastPass: { ...pass, at: later(moment(), -agoMs) } };
}

function add({ take }: LiveInheritance, meters: Meters): void {
  for (const [key, change] of Object.entries(meters)) take(key, meterFrom(change));
}

function activeIn(meters: Meters): Map<string, number> {
  const active = new Map<string, number>();
  note(active, meters);
  return active;
}

function note(active: Map<string, number>, meters: Meters): void {
  for (const [key, { active: change }] of Object.entries(meters))
    if (change !== 0) active.set(key, (active.get(key) ?? 0) + change);
}

const noTraffic = {
  active: 0,
  total: 0,
  bytesUp: 0,
  bytesDown: 0,
  refused: 0,
  refusedBy: {},
  errors: 0,
  errorsBy: {},
  lastActivity: 0,
  lastError: "",
  lastNotice: "",
} satisfies Parameters<typeof meterFrom>[0];
