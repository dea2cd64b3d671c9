import { describe, expect, test } from "bun:test";
import { configSchema } from "../../src/config/schema.ts";
import { apply } from "../../src/daemon/apply.ts";

describe("the jobs of a changed configuration", () => {
  test("are not done by a reload that ends after the stop has begun", async () => {
    const done: string[] = [];
    const parts = {
      settings: { current: { config: configSchema.parse({}) } },
      options: { log: {}, keepSecret: () => undefined },
      link: { settle: async () => void done.push("ground") },
      accounts: {
        all: [{ board: { state: { phase: "stopping" } } }],
        kick: () => void done.push("poll"),
      },
      relay: { limits: () => void done.push("limits") },
    };
    // The other parts must not be touched either.
    const jobs = new Set(["ground", "poll"] as const);
    await apply(parts as unknown as Parameters<typeof apply>[0], jobs);
    expect(done).toEqual([]);
  });
});
