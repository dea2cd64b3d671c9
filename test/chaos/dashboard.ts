import type { ListItem } from "../../src/desk/reply-schemas.ts";
import type { LocalCloud } from "../../src/local-cloud/cloud.ts";
import type { Alibis } from "./alibis.ts";

/**
 * Changes in ngrok's dashboard: endpoints come, go and move, and an operator is
 * deleted. A place is `host:port`.
 */
export interface Dashboard {
  readonly changes: number;
  readonly deleted: number;
  /** The places on offer now. */
  places(): Set<string>;
  change(random: () => number): void;
  deleteOperator(): Promise<void>;
  /**
   * Takes the daemon's list. A place that came back counts again after a later
   * poll has made it listen.
   */
  seen(list: readonly ListItem[], polledAt: number): void;
}

const pooled = "tcp://pool.chaos:7000";
/**
 * Endpoints that stay. Of the last one there are two at times, and always at
 * least one.
 */
export const lasting: readonly string[] = [
  "tcp://one.chaos:7000",
  "tls://two.chaos",
  "http://three.chaos",
  pooled,
];
export const lastingPlaces: readonly string[] = [
  "one.chaos:7000",
  "two.chaos:443",
  "three.chaos:80",
  "pool.chaos:7000",
];
const guests = 6;

export const placeIn = ({ hostname, port }: Pick<ListItem, "hostname" | "port">): string =>
  `${hostname}:${port}`;

export function createDashboard(cloud: LocalCloud, upstream: string, alibis: Alibis): Dashboard {
  let [changes, deleted] = [0, 0];
  const ids = new Map<number, string>();
  let second: string | undefined;
  /**
   * Places that are gone, or not yet back for the daemon; with the end of their
   * span.
   */
  const gone = new Map<string, () => void>();
  const returning = new Map<string, number>();

  const places = (): Set<string> =>
    new Set(
      cloud
        .endpoints()
        .flatMap(({ target, lingers }) =>
          target === undefined || lingers ? [] : [`${target.host}:${target.port}`],
        ),
    );
  const urlOf = (guest: number, random: () => number): string => {
    if (guest % 3 === 0) return `http://guest-${guest}.chaos`;
    return `tcp://guest-${guest}.chaos:${7000 + Math.floor(random() * 3)}`;
  };

  function noting(act: () => void): void {
    const before = places();
    act();
    changes += 1;
    const after = places();
    for (const place of before) {
      if (after.has(place)) continue;
      returning.delete(place);
      if (!gone.has(place)) gone.set(place, alibis.begin({ kind: "removed", place }));
    }
    for (const place of after)
      if (!before.has(place) && gone.has(place)) returning.set(place, Date.now());
  }

  return {
    get changes() {
      return changes;
    },
    get deleted() {
      return deleted;
    },
    places,
    change: (random) =>
      noting(() => {
        const [stale, ...others] = cloud.endpoints().filter(({ lingers }) => lingers);
        if (stale !== undefined && others.length > 1) cloud.removeEndpoint(stale.id);
        const guest = Math.floor(random() * guests);
        const id = ids.get(guest);
        const what = random();
        if (what < 0.15) {
          if (second !== undefined) cloud.removeEndpoint(second);
          second =
            second === undefined ? cloud.addEndpoint({ url: pooled, upstream }).id : undefined;
        } else if (id === undefined)
          ids.set(guest, cloud.addEndpoint({ url: urlOf(guest, random), upstream }).id);
        else if (what < 0.5) cloud.moveEndpoint(id, { url: urlOf(guest, random) });
        else {
          // ngrok's list of bound endpoints lags behind deletions.
          cloud.removeEndpoint(id, { lingers: random() < 0.3 });
          ids.delete(guest);
        }
      }),
    async deleteOperator() {
      const [operator] = cloud.operators();
      if (operator === undefined) return;
      const headers = { authorization: `Bearer ${cloud.apiKey}`, "ngrok-version": "2" };
      // The API's faults hit this client, too, so its answers are ignored.
      while (cloud.operators().some(({ id }) => id === operator.id)) {
        const call = fetch(`${cloud.apiUrl}/kubernetes_operators/${operator.id}`, {
          method: "DELETE",
          headers,
        });
        await call.then((answer) => answer.arrayBuffer()).catch(() => undefined);
        await Bun.sleep(20);
      }
      deleted += 1;
    },
    seen(list, polledAt) {
      const listening = new Set(list.filter(({ state }) => state === "listening").map(placeIn));
      for (const [place, since] of returning) {
        if (polledAt <= since || !listening.has(place)) continue;
        gone.get(place)?.();
        gone.delete(place);
        returning.delete(place);
      }
    },
  };
}
