import { describe, expect, test } from "bun:test";
import { createFeed } from "../../src/desk/feed.ts";
import { eventKinds, eventSchema } from "../../src/desk/history-schemas.ts";
import { events as eventsOperation } from "../../src/desk/remembering.ts";
import { createHistory, type Happening } from "../../src/history/history.ts";
import { endpoint } from "./support.ts";

const nobody = (): undefined => undefined;
const raised = (name: string): Happening => ({ kind: "endpoint.raised", endpoint: endpoint(name) });
const warning = (text: string): Happening => ({ kind: "warning", text, isOver: false });

function feedOf(...happenings: Happening[]) {
  const history = createHistory();
  for (const one of happenings) history.tell(one);
  return { history, feed: createFeed(history, nobody) };
}

describe("the feed of events", () => {
  test("goes on after an id, and begins with the newest events without one", () => {
    const { feed } = feedOf(warning("a"), warning("b"), warning("c"));
    const newest = feed.read({}, undefined, 2);
    expect(newest.events).toMatchObject([{ text: "b" }, { text: "c" }]);
    const [first] = newest.events;
    expect(feed.read({}, first?.id, 10).events).toMatchObject([{ text: "c" }]);
    expect(feed.read({}, newest.next, 10)).toEqual({ events: [], next: newest.next });
  });

  test("has the asked kinds and endpoint alone, and passes over all others", () => {
    const { feed } = feedOf(raised("hello"), warning("a"), raised("other"));
    const start = feed.read({}, undefined, 1).next.replace(/\d+$/, "0");
    const kindsOf = (kinds: string, host = ""): unknown[] =>
      feed
        .read({ kinds, host }, start, 10)
        .events.map((event) => ("url" in event ? event.url : event.kind));
    expect(kindsOf("warning")).toEqual(["warning"]);
    expect(kindsOf("endpoint")).toEqual(["http://hello.demo", "http://other.demo"]);
    expect(kindsOf("", "hello.demo")).toEqual(["http://hello.demo"]);
    expect(kindsOf("", "hello.demo:80")).toEqual(["http://hello.demo"]);
    expect(kindsOf("", "ello.demo")).toEqual([]);
    expect(feed.read({ kinds: "poll" }, start, 10).next).toEndWith("-3");
  });

  test("tells of a gap after a restart of the daemon, and after lost events", () => {
    const { feed } = feedOf(warning("a"));
    const other = feed.read({}, "0123abcd-7", 10);
    expect(other.events).toMatchObject([{ kind: "gap", lost: null }, { text: "a" }]);
    const { feed: busy, history } = feedOf();
    for (let i = 0; i < 10_005; i += 1) history.tell(warning(String(i)));
    const late = busy.read({}, `${history.run}-2`, 1);
    expect(late.events).toMatchObject([{ kind: "gap", lost: 3 }]);
    expect(busy.read({}, late.next, 1).events).toMatchObject([{ text: "5" }]);
  });

  test("refuses a wrong id and an unknown kind with the ones there are", () => {
    const { feed } = feedOf();
    expect(() => feed.read({}, "seven", 1)).toThrow('"seven" is not the id of an event');
    expect(() => feed.read({ kinds: "polls" }, undefined, 1)).toThrow('of the kind "polls"');
  });

  test("sends nothing that its schema does not have", () => {
    const history = createHistory();
    const trace = history.begin({
      account: "default",
      endpoint: "hello.demo:80",
      client: { host: "::1", port: 5 },
      uid: 1000,
    });
    const certificate = { account: "default", notAfter: new Date(), fingerprint: "AB", reason: "" };
    const poll = { account: "default", ok: true, tookMs: 1.5, reason: "", hint: "", endpoints: 1 };
    const all: Happening[] = [
      raised("hello"),
      { kind: "endpoint.failed", endpoint: endpoint("hello", { state: "failed" }) },
      { kind: "endpoint.gone", endpoint: endpoint("hello") },
      { kind: "poll", ...poll },
      { kind: "certificate", ...certificate },
      { kind: "notice", account: "default", endpoint: "hello.demo:80", text: "mind the gap" },
      warning("a"),
      { kind: "phase", phase: "serving", reason: "", hint: "" },
    ];
    history.opened(trace);
    history.ended(trace, "finished", "");
    history.stop();
    for (const one of all) history.tell(one);
    const { events } = createFeed(history, () => "alice").read({}, "0123abcd-7", 100);
    expect(new Set(events.map(({ kind }) => kind))).toEqual(new Set(eventKinds));
    expect(events.map((event) => eventSchema.parse(event))).toEqual(events);
    expect(events).toContainEqual(
      expect.objectContaining({
        kind: "connection.opened",
        connection: expect.objectContaining({
          ...{ client: "[::1]:5", user: { uid: 1000, name: "alice" } },
          ...{ state: "open", end: null },
        }),
      }),
    );
  });

  test("waits for the next event, or until the time is over", async () => {
    const { feed, history } = feedOf(warning("a"));
    const memory = { history, nameOf: nobody, feed };
    const { next } = feed.read({}, undefined, 1);
    const asked = eventsOperation(memory, { after: next, kinds: "phase", wait: 20 });
    history.tell(warning("b"));
    await Bun.sleep(50);
    history.tell({ kind: "phase", phase: "serving", reason: "", hint: "" });
    expect((await asked).events).toMatchObject([{ kind: "phase" }]);
    const none = await eventsOperation(memory, { after: next, kinds: "poll", wait: 1 });
    expect(none.events).toEqual([]);
  });
});
