import { expect } from "bun:test";
import { until } from "./story.ts";

/** A third repair within a minute would look like a contest. */
const tries = 2;

/**
 * Does damage, and requires its repair within `promisedMs`. The default is the
 * promise of docs/operations.md. If this machine stalls meanwhile, a second try
 * is made, with the same bound.
 */
export async function repairedInTime(
  damage: () => Promise<unknown> | unknown,
  isRepaired: () => Promise<boolean> | boolean,
  promisedMs = 5000,
): Promise<void> {
  const tookMs: number[] = [];
  for (let i = 0; i < tries && !tookMs.some((ms) => ms < promisedMs); i += 1) {
    await damage();
    const began = performance.now();
    await until("the damage is repaired", isRepaired);
    tookMs.push(Math.round(performance.now() - began));
  }
  expect(Math.min(...tookMs), `repaired after ${tookMs.join(" and ")} ms`).toBeLessThan(promisedMs);
}
