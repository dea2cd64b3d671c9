import { describe, expect, test } from "bun:test";
import type { Connection } from "../../src/desk/history-schemas.ts";
import { widthOf } from "../../src/terminal/width.ts";
import { timelineBar } from "../../src/top/endpoint-page.ts";
import type { Closer } from "../../src/top/look.ts";
import { lookLines, lookValue } from "../../src/top/screenless.ts";
import { glyphsFor, shortBytes, shortCount, shortMs, sparkline } from "../../src/top/style.ts";
import { firstView } from "../../src/top/view.ts";
import { status } from "../cli/support.ts";
import { after, drawn, endpoint, look, open, style, traffic } from "./support.ts";

const latency = {
  latency_ms: {
    upgrade: { count: 3, p50: 0.9, p90: 2, p99: 3 },
    first_byte: { count: 3, p50: 1.25, p90: 3, p99: 1234 },
  },
};
const items = [
  endpoint(
    "hello",
    { ...open(12, { errors: 3 }), ...latency },
    { bytes_up: 1230, bytes_down: 3_400_000, connections: 2.5, failures: 1 },
  ),
  endpoint("shop", open(1)),
  endpoint("bad", { state: "failed", ip: "", reason: "another program listens on 127.0.0.4:80" }),
  endpoint("a-name-that-is-much-longer-than-its-column.internal"),
];
const seen = look(items, { traffic: traffic({ "hello.demo:80": [0, 1, 2, 4, 8] }) });
const connection: Connection = {
  id: 1,
  endpoint: "shop.demo:80",
  profile: "",
  client: "127.0.0.1:40000",
  user: { uid: 1000, name: "alice" },
  state: "ended",
  accepted: "2026-01-02T03:04:05.000Z",
  from: "pool",
  timeline_ms: { connected: null, ready: 0.1, upgraded: 1, first_up: 1.1, first_down: 2, ended: 4 },
  bytes: { up: 100, down: 2048 },
  end: { kind: "finished", reason: "" },
};

describe("the screen", () => {
  test("has a head, a table and the keys, in 80 columns and 24 rows", () => {
    const lines = drawn(seen);
    expect(lines).toHaveLength(24);
    expect(lines.map((line) => line.trimEnd())).toEqual([
      "ngrokd 1.2.3  serving, up 1 d 2 h                                       03:04:05",
      "endpoints    2 listening                certificate  61 d 1 h left",
      "connections  1 open, 2.5 new/s          pool         1 ready, 86 % used",
      "traffic      512 B/s up, 2.0 KiB/s down                                       █▄",
      "",
      "  ENDPOINT              STATE      OPEN  UP/S DOWN/S   P50   P99  ERR   TRAFFIC▼",
      "> hello.demo:80         listening    12  1.2K   3.2M 1.3ms  1.2s    3       ▁▂▄█",
      "  shop.demo:80          listening     1     0      0     -     -    0",
      "  bad.demo:80           failed    another program listens on 127.0.0.4:80",
      "  a-name-that-is-muc... listening     0     0      0     -     -    0",
      ...Array.from({ length: 13 }, () => ""),
      "Enter details  / search  s sort: traffic  r reverse  p pause  ? help  q quit",
    ]);
  });

  test.each([
    [80, 24],
    [200, 50],
    [60, 10],
    [300, 100],
  ])("never has a line too wide, nor a row too many: %d x %d", (columns, rows) => {
    const known = <T>(value: T[]) => ({ kind: "known", value }) as const;
    const closer: Closer = {
      name: "shop.demo:80",
      connections: known([connection, { ...connection, end: null, state: "open" }]),
      events: { kind: "unknown", reason: "x".repeat(400) },
      exchanges: known([]),
    };
    const warned = status({ warnings: ["w".repeat(400), "two", "three"], phase: "degraded" });
    const busy = { ...seen, closer, status: { ...warned, reason: "r".repeat(400) } };
    const pages = [[], ["?"], ["down", "enter"], ["/", ..."x".repeat(400)], ["r", "enter"]];
    for (const keys of pages) {
      const lines = drawn(busy, after(busy, keys, { columns, rows }), { columns, rows });
      expect({ keys, rows: lines.length }).toEqual({ keys, rows });
      expect(lines.filter((line) => widthOf(line) > columns)).toEqual([]);
    }
  });

  test("shows long names, all states and longer bars if it is wide", () => {
    const lines = drawn(seen, firstView(), { columns: 200, rows: 50 });
    expect(lines).toHaveLength(50);
    expect(lines.join("\n")).toContain(
      " a-name-that-is-much-longer-than-its-column.internal.demo:80 ",
    );
  });

  test("says if the daemon is away, or the picture is kept", () => {
    const away = drawn({ ...seen, trouble: "No daemon answers" });
    expect(away[0]).toMatch(/^waiting: No daemon answers +03:04:05$/);
    expect(drawn(seen, after(seen, ["p"]))[0]).toMatch(/ {2}paused {2}03:04:05$/);
  });

  test("has warnings in its head, and says if there are more", () => {
    const warnings = ["one", "two", "three"];
    expect(drawn({ ...seen, status: status({ warnings }) }).slice(4, 7)).toEqual([
      "warning: one",
      "and 2 more warnings: `ngrokd status` has them",
      "",
    ]);
  });

  test("formats only the rows that are visible, of 10,000 endpoints", () => {
    let read = 0;
    const many = Array.from({ length: 10_000 }, (_, i) => {
      const one = endpoint(`e${i}`);
      return Object.defineProperty({ ...one }, "latency_ms", {
        get() {
          read += 1;
          return one.latency_ms;
        },
      });
    });
    const lines = drawn(look(many));
    expect(lines.at(-2)).toContain("e16.demo:80");
    // Both quantiles of 17 rows.
    expect(read).toBe(34);
  });

  test("draws in ASCII where the locale has no bars", () => {
    expect(sparkline([0, 1, 8], 5, glyphsFor({ LANG: "C" }))).toBe("   .@");
    expect(sparkline([0, 1, 8], 2, glyphsFor({ LC_ALL: "C.UTF-8", LANG: "C" }))).toBe("▁█");
  });
});

describe("an endpoint's page", () => {
  test("has its facts, connections with their steps, and events", () => {
    const closer: Closer = {
      name: "shop.demo:80",
      connections: { kind: "known", value: [connection] },
      events: { kind: "unknown", reason: "only its user may ask" },
      exchanges: { kind: "known", value: [] },
    };
    const page = drawn({ ...seen, closer }, after(seen, ["down", "enter"]));
    const text = page.map((line) => line.trimEnd()).join("\n");
    expect(text).toContain("\nshop.demo:80  listening\nurl             http://shop.demo\n");
    expect(text).toContain("\naddress         127.0.0.2:80\n");
    expect(text).toMatch(
      /\n {2}\d\d:\d\d:05 127\.0\.0\.1:40000 alice {0,4} finished {3}1\.0ms {2}1\.1ms {2}2\.0ms {2}4\.0ms 100B\+2\.0K\n/,
    );
    expect(text).toContain("EVENTS\n  not shown: only its user may ask\n");
  });

  test("has the reason and what to do, if it is not served", () => {
    const page = drawn(seen, after(seen, ["down", "down", "enter"])).join("\n");
    expect(page).toContain("\nanother program listens on 127.0.0.4:80\n");
    expect(page).toContain("to do: `ngrokd why bad.demo:80` shows which step fails");
  });

  test("scrolls, and follows its endpoint to another address", () => {
    const small = { columns: 80, rows: 10 };
    const view = after(seen, ["enter", "pagedown"], small);
    expect(drawn(seen, view, small)).not.toEqual(drawn(seen, after(seen, ["enter"]), small));
    const moved = look([endpoint("hello", { ip: "127.0.0.9" })]);
    expect(drawn(moved, after(seen, ["enter"])).join("\n")).toContain("127.0.0.9:80");
    expect(drawn(look([]), after(seen, ["enter"])).join("\n")).toContain("hello.demo:80 is gone");
  });

  test("draws a timeline in scale", () => {
    expect(timelineBar(connection, 20)).toBe(".....-----========== 4.0 ms");
    expect(
      timelineBar({ ...connection, timeline_ms: { ...connection.timeline_ms, ended: null } }, 20),
    ).toBe("");
  });
});

describe("short numbers", () => {
  test("fit into their columns", () => {
    expect([0, 0.4, 512, 999, 1000, 1230, 10_200, 1e6, 1e9, 1e15].map(shortBytes)).toEqual([
      "0",
      "0",
      "512B",
      "999B",
      "1.0K",
      "1.2K",
      "10K",
      "977K",
      "954M",
      "909T",
    ]);
    expect([null, 0.04, 1.25, 9.96, 123.4, 999.6, 1234, 12_345].map(shortMs)).toEqual([
      "-",
      "0.0ms",
      "1.3ms",
      "10ms",
      "123ms",
      "1.0s",
      "1.2s",
      "12s",
    ]);
    expect([0, 0.25, 3, 9.96, 1234, 12_345].map(shortCount)).toEqual([
      "0",
      "0.3",
      "3",
      "10",
      "1234",
      "12k",
    ]);
  });
});

describe("without a terminal", () => {
  test("a look is a line, and one for each busy endpoint", () => {
    expect(lookLines(seen, style)).toBe(
      "03:04:05 serving; 2 listening, 1 open, 512 B/s up, 2.0 KiB/s down\n" +
        "  hello.demo:80 12 open, 2.5 new/s, 1.2K/s up, 3.2M/s down, p99 1.2s\n" +
        "  shop.demo:80 1 open, 0 new/s, 0/s up, 0/s down, p99 -",
    );
  });

  test("a look for programs has the status, the sums and all endpoints", () => {
    const value = lookValue(seen);
    expect(value.total_per_second).toEqual({ bytes_up: 512, bytes_down: 2048 });
    expect(value.endpoints).toBe(items);
    expect(Object.keys(value)).toEqual(["at", "status", "total_per_second", "endpoints"]);
  });
});
