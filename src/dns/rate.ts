/** How many questions one client may ask. */
export interface Rate {
  /** In the long run. */
  readonly perSecond: number;
  /** At once, after a pause. */
  readonly burst: number;
}

/** Whether a client may ask now. */
export type Allowance = (client: string, now: number) => boolean;

/**
 * One allowance for each client, as a bucket that fills again. Beyond `clients`
 * the client that has been silent longest is forgotten, so a flood of forged
 * addresses takes no memory. `now` is in milliseconds of a steady clock.
 */
export function createAllowance({ perSecond, burst }: Rate, clients = 10_000): Allowance {
  const buckets = new Map<string, { left: number; at: number }>();
  return (client, now) => {
    const before = buckets.get(client) ?? { left: burst, at: now };
    const left = Math.min(burst, before.left + ((now - before.at) * perSecond) / 1000);
    // The latest clients stand at the end.
    buckets.delete(client);
    buckets.set(client, { left: left < 1 ? left : left - 1, at: now });
    if (buckets.size > clients) {
      const [oldest] = buckets.keys();
      if (oldest !== undefined) buckets.delete(oldest);
    }
    return left >= 1;
  };
}
