import type { Exchange, Message } from "./exchange.ts";

/** An exchange with its number, which counts from 1 since the start. */
export interface Kept {
  readonly id: number;
  readonly exchange: Exchange;
}

export interface StoreLimits {
  /** The most exchanges. */
  readonly count: number;
  /** How long each is kept, in milliseconds. */
  readonly ms: number;
}

/** The last exchanges, oldest first. The oldest go first, too. */
export interface Store {
  /** The number of the newest exchange that there ever was; 0 before it. */
  readonly newest: number;
  add(exchange: Exchange, now: number): void;
  get(id: number): Kept | undefined;
  /** Those behind `after`, oldest first. */
  since(after: number): Iterable<Kept>;
  /** Drops what is too old; returns when the next one will be, if any. */
  expire(now: number): number | undefined;
  /** Drops all for which `wanted` is false. */
  retain(wanted: (exchange: Exchange) => boolean): void;
  /** Puts another exchange in the place of each. */
  change(to: (exchange: Exchange) => Exchange): void;
}

/** The most bytes of all exchanges, as {@link weightOf} counts them. */
const mostBytes = 32 * 1024 * 1024;

/** `now` is on the steady clock. `limits` are read each time. */
export function createStore(limits: () => StoreLimits): Store {
  const all = new Map<number, Kept & { readonly at: number; readonly weight: number }>();
  let newest = 0;
  let bytes = 0;
  const drop = (id: number): void => {
    bytes -= all.get(id)?.weight ?? 0;
    all.delete(id);
  };
  const trim = (): void => {
    const { count } = limits();
    if (all.size <= count && bytes <= mostBytes) return;
    for (const id of all.keys()) {
      if (all.size <= count && bytes <= mostBytes) return;
      drop(id);
    }
  };
  return {
    get newest() {
      return newest;
    },
    add(exchange, now) {
      newest += 1;
      const weight = weightOf(exchange);
      all.set(newest, { id: newest, exchange, at: now, weight });
      bytes += weight;
      trim();
    },
    get: (id) => all.get(id),
    *since(after) {
      for (const kept of all.values()) if (kept.id > after) yield kept;
    },
    expire(now) {
      trim();
      const { ms } = limits();
      for (const { id, at } of all.values()) {
        if (at + ms > now) return at + ms;
        drop(id);
      }
      return undefined;
    },
    retain(wanted) {
      for (const { id, exchange } of all.values()) if (!wanted(exchange)) drop(id);
    },
    change(to) {
      for (const [id, kept] of all) {
        const exchange = to(kept.exchange);
        const weight = weightOf(exchange);
        bytes += weight - kept.weight;
        all.set(id, { ...kept, exchange, weight });
      }
    },
  };
}

/** Pure: about how many bytes of memory an exchange costs. */
export function weightOf({ request, reply, target }: Exchange): number {
  const ofReply = reply === undefined ? 0 : weightOfMessage(reply);
  return 1024 + 2 * target.length + weightOfMessage(request) + ofReply;
}

const weightOfMessage = ({ headBytes, body, fields }: Message): number =>
  2 * headBytes + 64 * fields.length + (body?.bytes.length ?? 0);
