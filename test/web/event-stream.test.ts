import { describe, expect, test } from "bun:test";
import { createFeed } from "../../src/desk/feed.ts";
import { createHistory } from "../../src/history/history.ts";
import { eventStream } from "../../src/web/event-stream.ts";

function streamed(kinds = "") {
  const history = createHistory();
  const feed = createFeed(history, () => undefined);
  const ends: string[] = [];
  let welcome = true;
  const stream = eventStream(feed, {
    wanted: { kinds },
    after: undefined,
    isWelcome: () => welcome,
    ended: () => ends.push("ended"),
  });
  const reader = stream.getReader();
  const next = async (): Promise<string> => {
    const { value } = await reader.read();
    return new TextDecoder().decode(value);
  };
  const warn = (text: string): void => history.tell({ kind: "warning", text, isOver: false });
  const dismiss = (): void => {
    welcome = false;
  };
  return { history, reader, next, warn, ends, dismiss };
}

const textsIn = (chunk: string): unknown[] =>
  [...chunk.matchAll(/^data: (.*)$/gm)].map(([, data = ""]) => {
    const event = JSON.parse(data);
    return event.kind === "gap" ? `gap of ${event.lost}` : event.text;
  });

describe("a stream of events", () => {
  test("begins with a comment, then has what comes, each with its id", async () => {
    const { history, next, warn } = streamed();
    expect(await next()).toBe(": \n\n");
    warn("a");
    warn("b");
    const chunk = await next();
    expect(textsIn(chunk)).toEqual(["a", "b"]);
    expect([...chunk.matchAll(/^id: (.*)$/gm)].map(([, id]) => id)).toEqual([
      `${history.run}-1`,
      `${history.run}-2`,
    ]);
    warn("c");
    expect(textsIn(await next())).toEqual(["c"]);
  });

  test("keeps nothing for a slow reader, who gets a gap", async () => {
    const { next, warn } = streamed();
    await next();
    for (let i = 1; i <= 12_000; i += 1) warn(String(i));
    const texts = textsIn(await next());
    expect(texts.slice(0, 2)).toEqual(["gap of 2000", "2001"]);
    expect(texts).toHaveLength(200);
  });

  test("passes over other kinds without an end of its patience", async () => {
    const { history, next, warn } = streamed("phase");
    await next();
    const reading = next();
    for (let i = 0; i < 50; i += 1) {
      warn("x");
      await Bun.sleep(1);
    }
    history.tell({ kind: "phase", phase: "serving", reason: "", hint: "" });
    expect(await reading).toContain('"kind":"phase"');
  });

  test("ends with the session of its client, before it tells anything more", async () => {
    const { reader, next, warn, ends, dismiss } = streamed();
    await next();
    const reading = reader.read();
    dismiss();
    warn("secret");
    expect({ done: (await reading).done, ends }).toEqual({ done: true, ends: ["ended"] });
  });

  test("ends once its client has gone, also in the midst of a wait", async () => {
    const { reader, next, ends } = streamed();
    await next();
    const reading = reader.read();
    await reader.cancel();
    expect({ done: (await reading).done, ends }).toEqual({ done: true, ends: ["ended"] });
  });
});
