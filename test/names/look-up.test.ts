import { describe, expect, test } from "bun:test";
import { lookUp } from "../../src/names/look-up.ts";
import type { Answer } from "../../src/names/question.ts";

const conf = { servers: ["192.0.2.53"], search: [] };

describe("lookUp", () => {
  test("asks sixteen questions at a time at most, and tells of every name", async () => {
    const subjects = Array.from({ length: 100 }, (_, i) => `n${i}.demo`);
    const found = new Map<string, Answer>();
    let open = 0;
    let most = 0;
    const ask = async (): Promise<Answer> => {
      open += 1;
      most = Math.max(most, open);
      await Bun.sleep(0);
      open -= 1;
      return { kind: "none" };
    };
    await lookUp(subjects, { ask, conf, isOwn: () => false }, (one, answer) =>
      found.set(one, answer),
    );
    expect([...found.keys()].sort()).toEqual(subjects.sort());
    expect(most).toBe(16);
  });

  test("counts the rest as silence when its time is over", async () => {
    const kinds = new Map<string, string>();
    const ask = async (): Promise<Answer> => ({ kind: "none" });
    const subjects = Array.from({ length: 40 }, (_, i) => `n${i}.demo`);
    await lookUp(subjects, { ask, conf, isOwn: () => false, budgetMs: -1 }, (one, { kind }) =>
      kinds.set(one, kind),
    );
    expect([...new Set(kinds.values())]).toEqual(["silent"]);
    expect(kinds.size).toBe(subjects.length);
  });

  test("sends one question if the servers are silent", async () => {
    const asked: string[] = [];
    const ask = async (name: string): Promise<Answer> => {
      asked.push(name);
      return { kind: "silent" };
    };
    const kinds = new Map<string, Answer["kind"]>();
    await lookUp(["a.demo", "*.b.demo"], { ask, conf, isOwn: () => false }, (subject, answer) =>
      kinds.set(subject, answer.kind),
    );
    expect(asked).toMatchObject([expect.stringMatching(/^[0-9a-f]{16}\.com$/)]);
    expect(Object.fromEntries(kinds)).toEqual({ "a.demo": "silent", "*.b.demo": "silent" });
  });
});
