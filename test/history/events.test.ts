import { describe, expect, test } from "bun:test";
import { createEventLog } from "../../src/history/events.ts";

const never = new AbortController().signal;

describe("the event log", () => {
  test("hands each reader what came after its place, at its own pace", () => {
    const log = createEventLog<string>(100);
    for (const text of ["a", "b", "c"]) log.push(text, 0);
    const first = log.after(0, 2);
    const rest = log.after(first.next, 2);
    expect(
      [first, rest].map(({ events, lost }) => [events.map(({ event }) => event), lost]),
    ).toEqual([
      [["a", "b"], 0],
      [["c"], 0],
    ]);
    expect(log.after(rest.next, 2)).toEqual({ events: [], lost: 0, next: 3 });
  });

  test("says how many events a slow reader has lost", () => {
    const log = createEventLog<number>(10);
    for (let i = 1; i <= 25; i += 1) log.push(i, 0);
    const { events, lost, next } = log.after(3, 4);
    expect({ numbers: events.map(({ number }) => number), lost, next }).toEqual({
      numbers: [16, 17, 18, 19],
      lost: 12,
      next: 19,
    });
  });

  test("wakes its readers once for events that come together", async () => {
    const log = createEventLog<string>(100);
    const waiting = [log.changed(0, never), log.changed(0, never)];
    log.push("a", 0);
    log.push("b", 0);
    await Promise.all(waiting);
    expect(log.after(0, 10).events).toHaveLength(2);
  });

  test("does not keep a reader that is late, or that gives up", async () => {
    const log = createEventLog<string>(100);
    log.push("a", 0);
    await log.changed(0, never);
    await log.changed(1, AbortSignal.timeout(10));
    await log.changed(1, AbortSignal.abort());
    expect(log.last).toBe(1);
  });
});
