import { setTimeout as sleep } from "node:timers/promises";
import { lastListText } from "../cloud/last-list.ts";
import type { Health } from "../desk/health-life.ts";
import type { Successor } from "../handover/leaving.ts";
import { type EstateFacts, type Meters, protocolVersion } from "../handover/protocol.ts";
import { fromStart, isEmpty, type Mark } from "../history/legacy.ts";
import { createMeter, type Meter } from "../model/meter.ts";
import { addChange, changeOf, copyOf, isNothing } from "../model/meter-change.ts";
import { moment, msBetween } from "../model/moment.ts";
import { version } from "../version.ts";
import type { Web } from "../web/web.ts";
import type { Member } from "./accounts.ts";
import type { Parts } from "./parts.ts";
import { relayLimits } from "./relay-settings.ts";
import { drainMs, type Running } from "./stop.ts";

/** What a successor knows of the traffic. */
export interface Known {
  readonly meters: Map<string, { readonly meter: Meter; told: Meter }>;
  history: Mark;
}

export const nothingKnown = (): Known => ({ meters: new Map(), history: fromStart });

/** The facts for a successor, and the counts that these facts tell it. */
export function estateFacts(parts: Parts): { facts: EstateFacts; known: Known } {
  const { relay, accounts, options, history } = parts;
  const { legacy, mark } = history.passOn(fromStart);
  const all: Known["meters"] = new Map(
    [...relay.meters()].map(([key, meter]) => [key, { meter, told: copyOf(meter) }]),
  );
  const { strangers, departed } = relay.stats();
  const unused = createMeter();
  const meters = [...all].filter(([, { told }]) => !isNothing(changeOf(unused, told)));
  const facts: EstateFacts = {
    protocol: protocolVersion,
    version,
    pid: process.pid,
    doors: relay.present.size,
    keys: options.inheritance?.estate.held.map(({ key }) => key) ?? [],
    accounts: accounts.all.map((member) => accountFacts(parts, member)),
    meters: Object.fromEntries(meters.map(([key, { told }]) => [key, told])),
    strangers: copyOf(strangers),
    departed: copyOf(departed),
    history: legacy,
  };
  return { facts, known: { meters: all, history: mark } };
}

function accountFacts({ serving }: Parts, { name, board, account }: Member) {
  const { phase, reason, hint, lastPass } = board.state;
  const endpoints = serving.lists.get(name);
  const operatorId = account.identity.current?.operatorId;
  const isListed = endpoints !== undefined && operatorId !== undefined;
  return {
    name,
    list: isListed ? lastListText({ operatorId, endpoints }) : "",
    state: {
      phase,
      reason,
      hint,
      ...(lastPass !== undefined && {
        lastPass: {
          agoMs: msBetween(lastPass.at, moment()),
          ok: lastPass.ok,
          tookMs: lastPass.tookMs,
          reason: lastPass.reason,
          hint: lastPass.hint,
        },
      }),
    },
  };
}

/**
 * Leaves all to a successor: sockets, names and addresses stay as they are.
 * Settles when the open connections have ended, and returns how many were cut:
 * after `forward.handover_timeout`, or `forward.drain_timeout` after a stop of
 * this process or of the successor.
 */
export async function leave(
  parts: Parts & { readonly health: Health; readonly web: Web },
  running: Running,
  { successor, known, stop, hurry }: Leave,
): Promise<{ cut: number }> {
  const { options, settings, relay, accounts, machine, link, naming, health } = parts;
  const { log, inheritance } = options;
  for (const { board } of accounts.all) board.publish({ phase: "stopping", reason: "", hint: "" });
  inheritance?.estate.leave();
  running.watch.close();
  running.control.leave();
  naming.leave();
  const passed = accounts.stop();
  await running.repair.stop();
  await health.leave();
  await parts.web.close();
  await relay.leave();
  const { open } = relay.stats();
  const { config } = settings.current;
  const isBeside = successor.way === "beside";
  log.info(leavingText(successor, open));
  const handoverMs = config.forward.handover_timeout * 1000;
  if (isBeside) relay.limits({ ...relayLimits(config), drainMs: handoverMs });
  const ended = new AbortController();
  const causes = isBeside ? [aborted(stop), successor.stopped] : [aborted(stop)];
  const cut = cutAfter(causes, drainMs(parts), hurry, ended.signal);
  const before = predecessorOf(parts, known, causes);
  const drained = relay.drain(cut);
  const reported = report(parts, successor, known, ended.signal);
  const end = await drained;
  // Its traffic and the end of it go through this process.
  await Promise.race([before, aborted(hurry)]);
  ended.abort();
  await reported;
  await passed;
  parts.history.stop();
  if (!isBeside && stop.aborted) {
    // This process does not become the next program, but ends.
    await naming.stop();
    await machine.clear();
  }
  // The successor owns the hosts file by now, so this changes nothing there.
  await machine.release();
  await link.close();
  await health.close();
  successor.close();
  if (isBeside || end.cut > 0)
    log.info(end.cut === 0 ? "Ended after a handover" : `${end.cut} connections were cut`);
  return end;
}

function leavingText({ way, pid, program, version }: Successor, open: number): string {
  const connections = `${open} open ${open === 1 ? "connection" : "connections"}`;
  if (way === "rehearsal") return `Becoming "${program}" (ngrokd ${version}) after ${connections}`;
  const rest = open === 0 ? "" : `; ${connections} may finish here`;
  return `pid ${pid} (ngrokd ${version}) has taken over${rest}`;
}

export interface Leave {
  readonly successor: Successor;
  readonly known: Known;
  readonly stop: AbortSignal;
  readonly hurry: AbortSignal;
}

/**
 * The daemon before this one, which may have connections for longer. Its
 * traffic counts as this one's, and a stop is passed on. Settles at its end.
 */
async function predecessorOf(
  { options, relay }: Parts,
  known: Known,
  causes: readonly Promise<void>[],
): Promise<void> {
  const { inheritance } = options;
  if (inheritance?.heritage === undefined) return;
  const { heritage } = inheritance;
  inheritance.take = (key, change) => {
    const entry = known.meters.get(key);
    if (entry === undefined) relay.add(key, change);
    else addChange(entry.meter, change);
  };
  void Promise.race(causes).then(() => heritage.close());
  await heritage.ended;
}

/** Aborts with `hurry`, and `ms` after any of the causes. */
function cutAfter(
  causes: readonly Promise<void>[],
  ms: number,
  hurry: AbortSignal,
  ended: AbortSignal,
): AbortSignal {
  const late = new AbortController();
  void Promise.race(causes).then(async () => {
    await sleep(ms, undefined, { signal: ended }).catch(() => undefined);
    late.abort();
  });
  return AbortSignal.any([hurry, late.signal]);
}

const reportMs = 500;

/** Tells the successor what happens on the connections here, until the end. */
async function report(
  { relay, options, history }: Parts,
  successor: Successor,
  known: Known,
  ended: AbortSignal,
): Promise<void> {
  let told = -1;
  for (let isLast = false; !isLast; ) {
    await sleep(told < 0 ? 0 : reportMs, undefined, { signal: ended }).catch(() => undefined);
    isLast = ended.aborted;
    const meters = changes(known.meters);
    const { legacy, mark } = history.passOn(known.history);
    known.history = mark;
    const open = relay.stats().open + (options.inheritance?.predecessor?.connections ?? 0);
    if (open === told && Object.keys(meters).length === 0 && isEmpty(legacy)) continue;
    told = open;
    const sent = await successor.report({ open, meters, history: legacy }).then(
      () => true,
      () => false,
    );
    if (!sent) return;
  }
}

/** What has happened since the last report. */
function changes(known: Known["meters"]): Meters {
  const changed: Meters = {};
  for (const [key, entry] of known) {
    const change = changeOf(entry.told, entry.meter);
    if (isNothing(change)) continue;
    entry.told = copyOf(entry.meter);
    changed[key] = change;
  }
  return changed;
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
