import type { History } from "../history/history.ts";
import type { Trace } from "../history/trace.ts";
import type { IngressStats } from "../ingress/ingress.ts";
import { NgrokdError } from "../model/error.ts";
import { countError, createMeter, type Meter } from "../model/meter.ts";
import { addChange } from "../model/meter-change.ts";
import { attend, type Lane } from "../relay/lanes.ts";
import type { Relay } from "../relay/relay.ts";
import { type IngressNews, type News, steps, type Traffic } from "./messages.ts";

/** What the daemon knows of the connections of one worker. */
export interface Mirror {
  readonly open: number;
  readonly turnedAway: number;
  /** Open connections of each endpoint that has some. */
  readonly active: ReadonlyMap<string, number>;
  /** How many connections the worker, and those before it, have accepted. */
  readonly accepted: number;
  ingress(account: string): IngressNews | undefined;
  take(traffic: Traffic, offset: number): void;
  /** The worker has ended, and its connections were reset. */
  lose(): void;
}

export interface MirrorDeps {
  readonly relay: Pick<Relay, "add" | "stats">;
  readonly history: Pick<
    History,
    "begin" | "opened" | "noticed" | "carriedUp" | "carriedDown" | "ended"
  >;
  /** The lane of an endpoint's door. */
  readonly laneOf: (account: string, endpoint: string) => Lane | undefined;
}

/** A connection of the worker. */
interface Shown {
  readonly trace: Trace;
  readonly leave: () => void;
}

export function createMirror({ relay, history, laneOf }: MirrorDeps): Mirror {
  const shown = new Map<number, Shown>();
  const active = new Map<string, number>();
  const ingress = new Map<string, IngressNews>();
  let [open, turnedAway, accepted] = [0, 0, 0];
  /** Of the processes before this one. */
  let turnedAwayBefore = 0;

  const add = (key: string, change: Meter): void => {
    relay.add(key, change);
    const now = (active.get(key) ?? 0) + change.active;
    if (now === 0) active.delete(key);
    else active.set(key, now);
  };
  const begin = (news: News, offset: number): Shown | undefined => {
    if (news.begun === undefined) return shown.get(news.id);
    const { account, endpoint, client, uid, acceptedAt } = news.begun;
    const since = { accepted: news.begun.accepted + offset, acceptedAt };
    const trace = history.begin({ account, endpoint, client, uid, since });
    const lane = laneOf(account, endpoint);
    const one = { trace, leave: lane === undefined ? () => undefined : attend(lane) };
    shown.set(news.id, one);
    accepted += 1;
    return one;
  };
  const tell = (news: News, offset: number): void => {
    const one = begin(news, offset);
    if (one === undefined) return;
    const { trace, leave } = one;
    const wasOpen = trace.upgraded !== undefined;
    trace.from = news.from;
    if (!wasOpen && news.upgraded !== undefined) history.opened(trace);
    for (const step of steps) {
      const at = news[step];
      trace[step] = at === undefined ? undefined : at + offset;
    }
    for (const text of news.notices) history.noticed(trace, text);
    const [up, down] = [news.bytesUp - trace.bytesUp, news.bytesDown - trace.bytesDown];
    if (up > 0) history.carriedUp(trace, up);
    if (down > 0) history.carriedDown(trace, down);
    if (news.end === undefined) return;
    shown.delete(news.id);
    history.ended(trace, news.end.ending, news.end.detail);
    trace.ended = news.end.at + offset;
    leave();
  };
  return {
    get open() {
      return open;
    },
    get turnedAway() {
      return turnedAwayBefore + turnedAway;
    },
    get accepted() {
      return accepted;
    },
    active,
    ingress: (account) => ingress.get(account),
    take(traffic, offset) {
      ({ open, turnedAway } = traffic);
      for (const [key, change] of traffic.meters) add(key, change);
      if (traffic.strangers !== undefined) addChange(relay.stats().strangers, traffic.strangers);
      for (const news of traffic.news) tell(news, offset);
      for (const news of traffic.ingress) ingress.set(news.account, news);
    },
    lose() {
      open = 0;
      turnedAwayBefore += turnedAway;
      turnedAway = 0;
      for (const { trace, leave } of shown.values()) {
        history.ended(trace, "reset", "the process that carried it has ended");
        leave();
      }
      shown.clear();
      for (const [key, count] of [...active]) add(key, lost(count));
      for (const [account, { stats }] of ingress)
        ingress.set(account, { account, stats: { ...stats, ready: 0 }, trouble: undefined });
    },
  };
}

/** So many connections of an endpoint were reset. */
function lost(count: number): Meter {
  const change = createMeter();
  change.active = -count;
  for (let i = 0; i < count; i += 1) countError(change, "reset");
  return change;
}

/** The statistics of an account in all processes together. */
export function withWorkers(own: IngressStats, workers: readonly IngressStats[]): IngressStats {
  return workers.reduce(
    (sum, one) => ({
      hits: sum.hits + one.hits,
      misses: sum.misses + one.misses,
      retries: sum.retries + one.retries,
      dials: sum.dials + one.dials,
      ready: sum.ready + one.ready,
      patienceMs: Math.min(sum.patienceMs, one.patienceMs),
    }),
    own,
  );
}

export const troubleOf = (news: IngressNews | undefined): NgrokdError | undefined =>
  news?.trouble &&
  new NgrokdError(
    news.trouble.code,
    news.trouble.message,
    news.trouble.hint === undefined ? {} : { hint: news.trouble.hint },
  );
