import { describe, expect, test } from "bun:test";
import { createStore, newId } from "../../src/local-cloud/store.ts";
import { value } from "./support.ts";

const upstream = "127.0.0.1:1";

describe("route", () => {
  test("goes by host name and port, letters' case aside", () => {
    const store = createStore();
    const http = value(store.addEndpoint({ url: "http://Hello.Demo", upstream }));
    const other = value(store.addEndpoint({ url: "tcp://hello.demo:7000", upstream: "[::1]:5" }));
    expect(store.route("HELLO.demo", 80)?.id).toBe(http.id);
    expect(store.route("hello.demo", 7000)?.id).toBe(other.id);
    expect(other.upstreamAddress).toEqual({ host: "::1", port: 5 });
    expect(store.route("hello.demo", 443)).toBeUndefined();
    expect(store.route("o.demo", 80)).toBeUndefined();
  });

  test("takes the endpoints of one URL in turn", () => {
    const store = createStore();
    const ids = [1, 2, 3].map(
      () => value(store.addEndpoint({ url: "http://pool.demo", upstream })).id,
    );
    const seen = [1, 2, 3, 4, 5, 6].map(() => store.route("pool.demo", 80)?.id ?? "");
    expect(new Set(seen.slice(0, 3))).toEqual(new Set(ids));
    expect(seen.slice(3)).toEqual(seen.slice(0, 3));
  });

  test("prefers an exact name to a wildcard, and a longer wildcard to a shorter one", () => {
    const store = createStore();
    const [wide, narrow, exact] = ["https://*.demo", "https://*.a.demo", "https://x.a.demo"].map(
      (url) => value(store.addEndpoint({ url, upstream })).id,
    );
    expect(store.route("x.a.demo", 443)?.id).toBe(exact);
    expect(store.route("y.a.demo", 443)?.id).toBe(narrow);
    expect(store.route("b.demo", 443)?.id).toBe(wide);
    expect(store.route("demo", 443)).toBeUndefined();
    expect(store.route("a.demo", 443)?.id).toBe(wide);
  });

  test("leaves out endpoints with other bindings, deleted ones and unchecked ones", () => {
    const store = createStore();
    store.addEndpoint({ url: "http://public.demo", upstream, bindings: ["public", "internal"] });
    const gone = value(store.addEndpoint({ url: "http://gone.demo", upstream }));
    expect(store.removeEndpoint(gone.id, true)).toBe(true);
    store.addEndpoint({ url: "http://bad demo", upstream, unchecked: true });
    for (const host of ["public.demo", "gone.demo", "bad demo", ""])
      expect(store.route(host, 80)).toBeUndefined();
  });
});

describe("endpoints", () => {
  test("refuse a dead upstream, unless they are unchecked", () => {
    const store = createStore();
    for (const url of [
      "tcp://a.demo",
      "ftp://a.demo",
      "http://a b",
      "http://a\nb",
      "",
      "tcp://*.demo:1",
    ]) {
      expect(store.addEndpoint({ url, upstream }).ok).toBe(false);
      expect(store.addEndpoint({ url, upstream, unchecked: true }).ok).toBe(true);
    }
    expect(store.addEndpoint({ url: "http://a.demo", upstream: "127.0.0.1" }).ok).toBe(false);
  });

  test("keep their id and birthday when they move, and all if the move is refused", () => {
    const store = createStore();
    const old = value(store.addEndpoint({ url: "http://a.demo", upstream, name: "a" }));
    const moved = store.changeEndpoint(old.id, { url: "http://b.demo:81" });
    expect(moved).toMatchObject({
      ok: true,
      value: {
        id: old.id,
        createdAt: old.createdAt,
        name: "a",
        upstream,
        target: { host: "b.demo", port: 81 },
      },
    });
    expect(store.changeEndpoint(old.id, { upstream: "nowhere" })?.ok).toBe(false);
    expect(store.route("b.demo", 81)?.id).toBe(old.id);
    expect(store.changeEndpoint("ep_none", {})).toBeUndefined();
    expect(store.removeEndpoint("ep_none")).toBe(false);
    expect(store.removeEndpoint(old.id)).toBe(true);
    expect(store.endpoints.size).toBe(0);
  });
});

test("newId gives ids that sort by age and look like ngrok's", () => {
  const ids = Array.from({ length: 500 }, () => newId("ep"));
  expect([...ids].sort()).toEqual(ids);
  expect(new Set(ids).size).toBe(ids.length);
  for (const id of ids) expect(id).toMatch(/^ep_[0-9a-z]{27}$/);
});
