import { describe, expect, test } from "bun:test";
import type { Exchange } from "../../src/inspect/exchange.ts";
import { createInspector, type InspectSettings } from "../../src/inspect/inspect.ts";
import { createStore } from "../../src/inspect/store.ts";
import { down, exchangesIn, head, up } from "./support.ts";

const usual: InspectSettings = {
  endpoints: ["*.demo"],
  headers: [],
  queries: false,
  bodyBytes: 0,
  count: 5,
  ms: 1000,
};

/** An inspector whose clock and settings the test sets. */
function inspecting(first: Partial<InspectSettings> = {}) {
  let settings = { ...usual, ...first };
  let steady = 0;
  const inspector = createInspector(
    () => settings,
    () => ({ wall: new Date(steady), steady }),
  );
  const subject = (endpoint: string) => ({
    endpoint,
    host: endpoint.replace(/:.*/, ""),
    client: "127.0.0.1:5",
  });
  const talk = (reader: ReturnType<typeof inspector.reader>, path: string, reply = "") => {
    reader?.up(Buffer.from(head(`GET ${path} HTTP/1.1`, "Authorization: Basic c2VjcmV0")));
    reader?.down(Buffer.from(head("HTTP/1.1 200 OK", `Content-Length: ${reply.length}`) + reply));
  };
  return {
    inspector,
    open: (endpoint: string) => inspector.reader(subject(endpoint)),
    talk,
    ask(path: string, endpoint = "a.demo:80", reply = "") {
      talk(inspector.reader(subject(endpoint)), path, reply);
    },
    set(next: Partial<InspectSettings>) {
      settings = { ...settings, ...next };
      inspector.settle();
    },
    pass(ms: number) {
      steady += ms;
    },
    targets: (host?: string) =>
      inspector.page({ host, bodies: false }).exchanges.map(({ target }) => target),
  };
}

describe("an inspector", () => {
  test("reads the endpoints of the patterns alone, by host or by host and port", () => {
    const { open, set } = inspecting({ endpoints: ["a.demo:80", "*.internal"] });
    const isRead = (endpoint: string): boolean => open(endpoint) !== undefined;
    expect([isRead("a.demo:80"), isRead("a.demo:81"), isRead("x.internal:9")]).toEqual([
      true,
      false,
      true,
    ]);
    set({ endpoints: [] });
    expect(isRead("a.demo:80")).toBe(false);
  });

  test("keeps the last exchanges, and finds those of one host or endpoint", () => {
    const { ask, targets } = inspecting();
    for (const n of [1, 2, 3, 4, 5, 6]) ask(`/${n}`, n % 2 === 0 ? "b.demo:80" : "a.demo:8080");
    expect(targets()).toEqual(["/2", "/3", "/4", "/5", "/6"]);
    expect(targets("b.demo")).toEqual(["/2", "/4", "/6"]);
    expect(targets("a.demo:8080")).toEqual(["/3", "/5"]);
    expect(targets("a.demo:80")).toEqual([]);
  });

  test("keeps no secret of a request, not even in memory", () => {
    const { ask, inspector } = inspecting({ headers: ["*"] });
    ask("/login?password=hunter2");
    expect(JSON.stringify(inspector.get(1))).not.toMatch(/hunter2|c2VjcmV0/);
    const [seen] = inspector.page({ bodies: true }).exchanges;
    expect(seen?.target).toBe("/login?password=***");
    expect(seen?.request.headers).toEqual([["Authorization", null]]);
  });

  test("forgets an exchange after its time", () => {
    const { ask, pass, targets, inspector } = inspecting();
    ask("/old");
    pass(600);
    ask("/new");
    pass(600);
    expect(targets()).toEqual(["/new"]);
    expect(inspector.get(1)).toBeUndefined();
    pass(600);
    expect(targets()).toEqual([]);
  });

  test("forgets an endpoint that is not inspected any more, its open readers too", () => {
    const { ask, set, open, talk, targets } = inspecting();
    const running = open("b.demo:80");
    ask("/a");
    ask("/b", "b.demo:80");
    set({ endpoints: ["a.demo"] });
    expect(targets()).toEqual(["/a"]);
    talk(running, "/later");
    expect(targets()).toEqual(["/a"]);
  });

  test("forgets values and bodies that may not be kept any more", () => {
    const { ask, set, open, talk, inspector } = inspecting({
      headers: ["authorization"],
      queries: true,
      bodyBytes: 100,
    });
    const running = open("a.demo:80");
    ask("/a?password=hunter2", "a.demo:80", "a long reply");
    expect(JSON.stringify(inspector.get(1))).toMatch(/c2VjcmV0/);
    set({ headers: [], queries: false, bodyBytes: 4 });
    talk(running, "/b?password=hunter2", "a long reply");
    for (const id of [1, 2]) {
      const exchange = inspector.get(id)?.exchange;
      expect(JSON.stringify(exchange)).not.toMatch(/hunter2|c2VjcmV0/);
      expect(exchange?.hidden).toBe(true);
      expect(Buffer.from(exchange?.reply?.body?.bytes ?? []).toString()).toBe("a lo");
      expect(exchange?.reply?.body?.whole).toBe(false);
    }
    set({ bodyBytes: 0 });
    expect(inspector.get(1)?.exchange.reply?.body).toBeUndefined();
  });

  test("gives pages that follow each other without a gap, and bodies if asked to", () => {
    const { ask, inspector } = inspecting({ count: 1000, bodyBytes: 10 });
    for (let n = 1; n <= 450; n += 1) ask(`/${n}`, "a.demo:80", "body");
    const sizes: number[] = [];
    const ids: number[] = [];
    for (let [after, more] = [0, true]; more; ) {
      const page = inspector.page({ after, bodies: true });
      sizes.push(page.exchanges.length);
      ids.push(...page.exchanges.map(({ id }) => id));
      [after, more] = [page.next, page.more];
    }
    expect(sizes).toEqual([200, 200, 50]);
    expect(ids).toEqual(Array.from({ length: 450 }, (_, i) => i + 1));
    const last = inspector.page({ bodies: true });
    expect(last.exchanges.map(({ id }) => id)).toEqual(ids.slice(-200));
    expect(Buffer.from(last.exchanges[0]?.reply?.body ?? "", "base64").toString()).toBe("body");
    expect(inspector.page({ bodies: false }).exchanges[0]?.reply?.body).toBeNull();
  });
});

test("a store drops the oldest when the rest is too heavy", () => {
  const store = createStore(() => ({ count: 1_000_000, ms: 1000 }));
  const [light] = exchangesIn([up(head("GET / HTTP/1.1")), down(head("HTTP/1.1 204 OK"))]);
  const body = { bytes: new Uint8Array(1024 * 1024), whole: true };
  const heavy = { ...light, request: { ...light?.request, body } } as Exchange;
  for (let n = 0; n < 100; n += 1) store.add(heavy, 0);
  const left = [...store.since(0)];
  expect(left.length).toBeGreaterThan(20);
  expect(left.length).toBeLessThan(33);
  expect(left.at(-1)?.id).toBe(100);
});
