import { afterEach, beforeEach, describe, expect, jest, test } from "bun:test";
import { createSay } from "../../src/terminal/say.ts";
import { sink } from "../cli/support.ts";

const speaker = ({ isTerminal = true, json = false, env = {} } = {}) => {
  const [out, err] = [sink({ isTerminal }), sink({ isTerminal })];
  return { say: createSay({ json, debug: false, env, out, err }), out, err };
};

describe("what is awaited", () => {
  // Bun's fake timers move performance.now() too.
  beforeEach(() => void jest.useFakeTimers());
  afterEach(() => void jest.useRealTimers());

  test("is shown on a terminal after a second, and erased at the end", async () => {
    const { say, out, err } = speaker({ env: { NO_COLOR: "1" } });
    const { promise, resolve } = Promise.withResolvers<string>();
    const end = say.awaiting("Asking ngrok", () => promise);
    jest.advanceTimersByTime(900);
    expect(err.text).toBe("");
    jest.advanceTimersByTime(200);
    expect(err.text).toBe("Asking ngrok … 1 s");
    jest.advanceTimersByTime(1000);
    expect(err.text).toBe("Asking ngrok … 1 s\r\x1b[KAsking ngrok … 2 s");
    say.note("by the way");
    expect(err.text).toEndWith("\r\x1b[Kby the way\n");
    resolve("done");
    expect(await end).toBe("done");
    jest.advanceTimersByTime(5000);
    expect(err.text).toEndWith("by the way\n");
    expect(out.text).toBe("");
  });

  test("stays while short questions come and go", async () => {
    const { say, err } = speaker({ env: { NO_COLOR: "1" } });
    const { promise, resolve } = Promise.withResolvers<void>();
    const end = say.awaiting("Waiting", () => promise);
    jest.advanceTimersByTime(1100);
    await say.awaiting("Asking ngrok", async () => undefined);
    expect(err.text).toBe("Waiting … 1 s");
    resolve();
    await end;
    expect(err.text).toBe("Waiting … 1 s\r\x1b[K");
  });

  test.each([
    ["without a terminal", { isTerminal: false }],
    ["with --json", { json: true }],
    ["on a dumb terminal", { env: { TERM: "dumb" } }],
  ])("is not shown %s", async (_, options) => {
    const { say, err } = speaker(options);
    const { promise, resolve } = Promise.withResolvers<void>();
    const end = say.awaiting("Asking ngrok", () => promise);
    jest.advanceTimersByTime(5000);
    resolve();
    await end;
    expect(err.text).toBe("");
  });

  test("is not shown beside a result that is shown in place", async () => {
    const { say, err } = speaker();
    say.live();
    const { promise, resolve } = Promise.withResolvers<void>();
    const end = say.awaiting("Asking ngrok", () => promise);
    jest.advanceTimersByTime(5000);
    resolve();
    await end;
    expect(err.text).toBe("");
  });

  test("can move no cursor by its text, and its failure passes through", async () => {
    const { say, err } = speaker({ env: { NO_COLOR: "1" } });
    const { promise, reject } = Promise.withResolvers<void>();
    const end = say.awaiting("a\x1b[2Jb", () => promise);
    jest.advanceTimersByTime(1100);
    expect(err.text).toBe("a\\u001b[2Jb … 1 s");
    reject(new Error("no"));
    expect(end).rejects.toThrow("no");
  });
});
