import { describe, expect, test } from "bun:test";
import { createSerial } from "../../src/model/serial.ts";

describe("a serial", () => {
  test("runs one piece of work at a time, in the order of the calls", async () => {
    const inTurn = createSerial();
    const events: string[] = [];
    const work = (name: string) => async () => {
      events.push(`${name} begins`);
      await Promise.resolve();
      events.push(`${name} ends`);
      return name;
    };
    const results = await Promise.all([inTurn(work("a")), inTurn(work("b"))]);
    expect(results).toEqual(["a", "b"]);
    expect(events).toEqual(["a begins", "a ends", "b begins", "b ends"]);
  });

  test("gives a failure to its caller alone, and goes on", async () => {
    const inTurn = createSerial();
    const failed = inTurn(() => Promise.reject(new Error("no")));
    const next = inTurn(async () => "next");
    await expect(failed).rejects.toThrow("no");
    expect(await next).toBe("next");
  });

  test("an abort ends the wait at once, and the work never runs", async () => {
    const inTurn = createSerial();
    const first = Promise.withResolvers<void>();
    const running = inTurn(() => first.promise);
    const stop = new AbortController();
    let ran = false;
    const waiting = inTurn(async () => {
      ran = true;
    }, stop.signal);
    stop.abort(new Error("stopping"));
    await expect(waiting).rejects.toThrow("stopping");
    first.resolve();
    await running;
    await inTurn(async () => undefined);
    expect(ran).toBe(false);
  });

  test("an abort of a waiting call does not let the next one begin early", async () => {
    const inTurn = createSerial();
    const first = Promise.withResolvers<void>();
    const running = inTurn(() => first.promise);
    const aborted = inTurn(async () => "never", AbortSignal.abort(new Error("stopping")));
    let began = false;
    const next = inTurn(async () => {
      began = true;
    });
    await expect(aborted).rejects.toThrow("stopping");
    expect(began).toBe(false);
    first.resolve();
    await running;
    await next;
    expect(began).toBe(true);
  });
});
