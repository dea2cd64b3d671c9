import { describe, expect, test } from "bun:test";
import { createLimiter } from "../../src/ingress/limiter.ts";

describe("createLimiter", () => {
  test("runs so many at once, the others in the order in which they came", async () => {
    const limiter = createLimiter(2);
    const started: number[] = [];
    const gates = Array.from({ length: 5 }, () => Promise.withResolvers<void>());
    const all = gates.map(({ promise }, i) =>
      limiter.run(() => {
        started.push(i);
        return promise;
      }),
    );
    await Promise.resolve();
    expect(started).toEqual([0, 1]);
    gates[1]?.resolve();
    await all[1];
    await Promise.resolve();
    expect(started).toEqual([0, 1, 2]);
    for (const { resolve } of gates) resolve();
    await Promise.all(all);
    expect(started).toEqual([0, 1, 2, 3, 4]);
  });

  test("gives the place back if the work fails", async () => {
    const limiter = createLimiter(1);
    await expect(limiter.run(() => Promise.reject(new Error("no")))).rejects.toThrow("no");
    expect(await limiter.run(async () => "next")).toBe("next");
  });

  test("lets a waiting one leave, and keeps its place for the next", async () => {
    const limiter = createLimiter(1);
    const gate = Promise.withResolvers<void>();
    const leaving = new AbortController();
    const first = limiter.run(() => gate.promise);
    const second = limiter.run(async () => "second", leaving.signal);
    const third = limiter.run(async () => "third");
    leaving.abort(new Error("gone"));
    await expect(second).rejects.toThrow("gone");
    gate.resolve();
    await first;
    expect(await third).toBe("third");
    await expect(limiter.run(async () => "late", leaving.signal)).rejects.toThrow("gone");
    expect(await limiter.run(async () => "free")).toBe("free");
  });
});
