import { describe, expect, mock, test } from "bun:test";
import {
  abortSignalOf,
  Cancellation,
  cancellable,
  onAbort,
  throwIfAborted,
  unlessAborted,
} from "../../src/model/abort.ts";

describe("onAbort", () => {
  test("calls the listener once when the signal aborts", () => {
    const listener = mock();
    const abort = new AbortController();
    onAbort(abort.signal, listener);
    expect(listener).toHaveBeenCalledTimes(0);
    abort.abort();
    abort.abort();
    expect(listener).toHaveBeenCalledTimes(1);
  });

  test("calls the listener at once if the signal has aborted", () => {
    const listener = mock();
    const unhook = onAbort(AbortSignal.abort(), listener);
    expect(listener).toHaveBeenCalledTimes(1);
    unhook();
  });

  test("passes no event to the listener, which may be a promise's resolve", () => {
    const listener = mock();
    const abort = new AbortController();
    onAbort(abort.signal, listener);
    abort.abort();
    expect(listener.mock.calls).toEqual([[]]);
  });

  test("calls no listener that was taken away, or that has no signal", () => {
    const listener = mock();
    const abort = new AbortController();
    const unhook = onAbort(abort.signal, listener);
    unhook();
    unhook();
    abort.abort();
    onAbort(undefined, listener)();
    expect(listener).toHaveBeenCalledTimes(0);
  });
});

describe("unlessAborted", () => {
  test("settles as the work does", async () => {
    const { signal } = new AbortController();
    const failure = new Error("failed");
    expect(await unlessAborted(Promise.resolve(7), signal)).toBe(7);
    await expect(unlessAborted(Promise.reject(failure), signal)).rejects.toBe(failure);
  });

  test("rejects at once with the reason of an abort", async () => {
    const reason = new Error("given up");
    const abort = new AbortController();
    const waiting = unlessAborted(new Promise(() => undefined), abort.signal);
    abort.abort(reason);
    await expect(waiting).rejects.toBe(reason);
    await expect(unlessAborted(Promise.resolve(7), abort.signal)).rejects.toBe(reason);
  });

  test("ignores work that fails after the abort", async () => {
    const { promise, reject } = Promise.withResolvers<never>();
    const waiting = unlessAborted(promise, AbortSignal.abort("given up"));
    reject(new Error("too late"));
    await expect(waiting).rejects.toBe("given up");
  });

  test("leaves no listener behind", async () => {
    const { signal } = new AbortController();
    const removed = mock(signal.removeEventListener.bind(signal));
    signal.removeEventListener = removed;
    await unlessAborted(Promise.resolve(), signal);
    await Promise.resolve();
    expect(removed).toHaveBeenCalledTimes(1);
  });
});

describe("a Cancellation", () => {
  test("calls its listeners once, in order, and keeps the first reason", () => {
    const called: string[] = [];
    const own = new Cancellation();
    onAbort(own, () => called.push("first"));
    onAbort(own, () => called.push("second"));
    onAbort(own, () => called.push("taken away"))();
    own.abort("a reason");
    own.abort("another");
    expect(called).toEqual(["first", "second"]);
    expect(own.reason).toBe("a reason");
    onAbort(own, () => called.push("at once"));
    expect(called).toEqual(["first", "second", "at once"]);
  });

  test("is thrown by its reason, and only after an abort", () => {
    const own = new Cancellation();
    expect(() => throwIfAborted(own)).not.toThrow();
    expect(() => throwIfAborted(undefined)).not.toThrow();
    own.abort(new Error("a reason"));
    expect(() => throwIfAborted(own)).toThrow("a reason");
  });

  test("passes its abort on to an AbortSignal, which stays what it is", () => {
    const own = new Cancellation();
    const signal = abortSignalOf(own);
    expect(signal.aborted).toBe(false);
    own.abort("a reason");
    expect({ aborted: signal.aborted, reason: signal.reason }).toEqual({
      aborted: true,
      reason: "a reason",
    });
    expect(abortSignalOf(signal)).toBe(signal);
  });
});

describe("cancellable", () => {
  test("aborts its work with the signal, and by itself", async () => {
    const outer = new Cancellation();
    const work = cancellable(outer, (own) => unlessAborted(new Promise<never>(() => {}), own));
    outer.abort("of the signal");
    expect(await work.catch((reason: unknown) => reason)).toBe("of the signal");
    const other = cancellable(undefined, async (own) => {
      own.abort("by itself");
      throwIfAborted(own);
    });
    expect(await other.catch((reason: unknown) => reason)).toBe("by itself");
  });

  test("leaves no listener behind", async () => {
    const outer = new Cancellation();
    let kept: Cancellation | undefined;
    await cancellable(outer, async (own) => {
      kept = own;
    });
    outer.abort("late");
    expect(kept?.aborted).toBe(false);
  });
});
