import type { LocalCloud } from "../../src/local-cloud/cloud.ts";
import type { Alibis } from "./alibis.ts";
import type { Target } from "./clients.ts";
import { type Daemons, type Report, report } from "./daemons.ts";
import { type Dashboard, lastingPlaces, placeIn } from "./dashboard.ts";

export interface ObserverDeps {
  readonly cloud: LocalCloud;
  readonly daemons: Daemons;
  readonly dashboard: Dashboard;
  readonly alibis: Alibis;
  /** The errors of the hosts file; empty if it is right. */
  readonly loss: () => string;
  /** Called with the places for clients. */
  readonly aim: (targets: readonly Target[]) => void;
  readonly wrong: (text: string) => void;
}

/**
 * The longest life of a second operator, in milliseconds. The API may have held
 * a request to register while its daemon was killed. Then it makes an operator
 * unknown to the next daemon, which registers within 30 s, looks for it then,
 * and again 30 s later.
 */
const twinsForMs = 60_000;

/**
 * Checks the daemon several times a second: invariants hold at every moment,
 * and alibis end with their reason.
 */
export interface Observer {
  /**
   * Whether it has seen the daemon serve, with a known operator, after all
   * acts.
   */
  readonly isContent: boolean;
  /**
   * Announces a kill. All that `act` does until the next start belongs to it.
   */
  during(act: () => Promise<void>): Promise<void>;
  stop(): Promise<void>;
}

export function startObserver({
  cloud,
  daemons,
  dashboard,
  alibis,
  loss,
  aim,
  wrong,
}: ObserverDeps): Observer {
  const addresses = new Map<string, string>();
  let lasting: readonly Target[] = [];
  let endOfKill: (() => void) | undefined = alibis.begin({ kind: "killed" });
  let endOfUnknown: (() => void) | undefined;
  /**
   * The time at which ngrok last knew the daemon, and the start of the current
   * one. Earlier replies do not count.
   */
  let [knownAt, startedAt] = [0, performance.now()];
  let identity = { operator: "", end: 0 };
  let answeredAt = performance.now();
  let aloneAt = performance.now();
  let over = false;

  const watching = (async () => {
    while (!over) {
      const asked = performance.now();
      const seen = await report().catch(() => undefined);
      if (seen !== undefined && seen.status.pid === daemons.current.pid && asked > startedAt)
        note(seen, asked);
      if (seen !== undefined || endOfKill !== undefined) answeredAt = performance.now();
      else if (performance.now() - answeredAt > 5000)
        wrong("no daemon answers, and none was killed");
      const operators = cloud.operators().map(({ id }) => id);
      if (operators.length <= 1) aloneAt = performance.now();
      else if (performance.now() - aloneAt > twinsForMs)
        wrong(`the account still has the operators ${operators.join(", ")}`);
      const lost = loss();
      if (lost !== "") wrong(lost);
      await Bun.sleep(150);
    }
  })();

  function note({ status, list, polledAt }: Report, asked: number): void {
    for (const { hostname, ip } of list) {
      if (ip === "") continue;
      const known = addresses.get(hostname) ?? ip;
      if (known !== ip) wrong(`${hostname} had the address ${known} and has ${ip}`);
      addresses.set(hostname, ip);
    }
    const targets = list
      .filter(({ state }) => state === "listening")
      .map((item) => ({ host: item.ip, port: item.port, place: placeIn(item) }));
    const places = new Set(targets.map(({ place }) => place));
    if (lastingPlaces.every((place) => places.has(place))) {
      lasting = targets.filter(({ place }) => lastingPlaces.includes(place));
      endOfKill?.();
      endOfKill = undefined;
    }
    if (endOfKill === undefined) aim(targets);
    dashboard.seen(list, polledAt);
    const isKnown = cloud.operators().some(({ id }) => id === status.operator_id);
    const end = Date.parse(status.certificate?.not_after ?? "");
    // Between two checks another identity may have replaced one that ngrok had
    // forgotten.
    const wasKnown = status.operator_id === identity.operator && identity.end > Date.now();
    if (!isKnown || end <= Date.now() || !wasKnown)
      endOfUnknown ??= alibis.begin({ kind: "unknown" }, knownAt);
    identity = { operator: status.operator_id, end };
    if (!isKnown || end <= Date.now()) return;
    endOfUnknown?.();
    endOfUnknown = undefined;
    knownAt = asked;
  }

  return {
    get isContent() {
      return endOfKill === undefined && endOfUnknown === undefined;
    },
    async during(act) {
      endOfKill ??= alibis.begin({ kind: "killed" });
      startedAt = Number.POSITIVE_INFINITY;
      // Clients keep trying the places where the daemon will be again.
      if (lasting.length > 0) aim(lasting);
      await act();
      startedAt = performance.now();
    },
    async stop() {
      over = true;
      await watching;
    },
  };
}
