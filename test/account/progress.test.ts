import { expect, test } from "bun:test";
import { createProgress } from "../../src/account/progress.ts";

const minute = 60_000;
const fine = { ok: true, reason: "" };

test("a poll without an answer for ten minutes is stuck; a slow one is not", () => {
  let now = 1e9;
  const progress = createProgress(() => now);
  const later = (ms: number) => {
    now += ms;
    return progress.live();
  };
  expect(later(60 * minute)).toEqual(fine);
  progress.begin();
  for (let page = 0; page < 60; page += 1) {
    expect(later(minute / 2)).toEqual(fine);
    progress.answered();
  }
  expect(later(10 * minute - 1)).toEqual(fine);
  expect(later(1)).toEqual({ ok: false, reason: "a poll has been stuck for 10 minutes" });
  expect(later(32 * minute)).toEqual({ ok: false, reason: "a poll has been stuck for 42 minutes" });
  progress.answered();
  expect(progress.live()).toEqual(fine);
  progress.end();
  // A reply to a command, between polls, does not begin a poll.
  progress.answered();
  expect(later(60 * minute)).toEqual(fine);
});
