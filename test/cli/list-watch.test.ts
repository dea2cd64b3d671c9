import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import type { Io } from "../../src/cli/command.ts";
import { watch } from "../../src/cli/list-watch.ts";
import { startControlServer } from "../../src/control/server.ts";
import type { ListItem } from "../../src/desk/reply-schemas.ts";
import { silentLog } from "../../src/model/log.ts";
import { createSay, type Output } from "../../src/terminal/say.ts";
import {
  type Picture,
  type Rates,
  type WatchedEndpoint,
  watchText,
  withRates,
} from "../../src/terminal/watch-text.ts";
import { temporaryFolder } from "../machine/support.ts";
import { later, net } from "../support/conns.ts";
import { item, marked, plain, sink, status } from "./support.ts";

const at = { wall: new Date(2026, 0, 2, 3, 4, 5), steady: 0 };
const size = { columns: 80, rows: Number.POSITIVE_INFINITY };

function counts(
  more: Partial<ListItem["connections"]>,
  bytes = { up: 0, down: 0 },
): Partial<ListItem> {
  return {
    connections: {
      active: 0,
      total: 0,
      errors: 0,
      refused: 0,
      last_error: "",
      last_notice: "",
      ...more,
    },
    bytes,
  };
}

function watched(
  name: string,
  more: Partial<ListItem> = {},
  rates: Partial<Rates> | null = {},
): WatchedEndpoint {
  return {
    ...item(name, more),
    per_second: rates && { connections: 0, failures: 0, bytes_up: 0, bytes_down: 0, ...rates },
  };
}

const text = (
  items: readonly WatchedEndpoint[],
  more: Partial<Picture> = {},
  paint = plain,
  rows = size.rows,
): string => watchText({ at, status: status(), items, ...more }, paint, { ...size, rows });

describe("the rates", () => {
  const before = {
    at,
    items: [
      item("a", counts({ total: 10, errors: 1, refused: 1 }, { up: 100, down: 1000 })),
      item("b"),
    ],
  };
  // Meanwhile the clock was set back.
  const later2s = { wall: new Date(2025, 0, 2), steady: 2000 };

  test("are unknown at first", () => {
    expect(withRates([item("a")], at)).toEqual([{ ...item("a"), per_second: null }]);
  });

  test("are the growth of the counters in a second", () => {
    const now = [
      item("b"),
      item("a", counts({ active: 3, total: 15, errors: 2, refused: 2 }, { up: 2100, down: 1000 })),
    ];
    expect(withRates(now, later2s, before).map(({ per_second }) => per_second)).toEqual([
      { connections: 0, failures: 0, bytes_up: 0, bytes_down: 0 },
      { connections: 2.5, failures: 1, bytes_up: 1000, bytes_down: 0 },
    ]);
  });

  test("are unknown for new, moved and reset endpoints, and without time in between", () => {
    const items = [
      item("c"),
      item("a", { ...counts({ total: 20 }), ip: "127.0.0.9" }),
      item("a", counts({ total: 9 })),
    ];
    expect(withRates(items, later2s, before).map(({ per_second }) => per_second)).toEqual([
      null,
      null,
      null,
    ]);
    expect(withRates(before.items, at, before)[0]?.per_second).toBeNull();
  });
});

describe("the picture", () => {
  test("has a line for each endpoint and one for all, within 80 columns", () => {
    const items = [
      watched("hello", counts({ active: 12 }), {
        connections: 3.04,
        bytes_up: 1258291,
        bytes_down: 348160,
      }),
      watched("db", {
        url: "tcp://db.demo:5432",
        port: 5432,
        hostname: "db.demo",
        ip: "127.100.100.3",
      }),
      watched("fresh", counts({ active: 1 }), null),
      watched("bad", {
        state: "failed",
        reason: "another program listens on 127.0.0.4:80 (or on port 80 of all addresses)",
      }),
      watched("wild", {
        url: "https://*.example.com",
        ip: "",
        port: 0,
        state: "unsupported",
        reason: "wildcard endpoints are no names",
      }),
      watched("old", { state: "draining", ...counts({ active: 2 }) }, { bytes_down: 1023 }),
      watched(
        "off",
        counts({
          refused: 5,
          last_error: `ERR_NGROK_3200: ${"the endpoint is offline ".repeat(5)}`,
        }),
        {
          connections: 120.6,
          failures: 120.6,
        },
      ),
    ];
    const endpoints = {
      listening: 4,
      failed: 1,
      unsupported: 1,
      refused: 0,
      paused: 0,
      draining: 1,
    };
    const lines = text(items, { status: status({ endpoints }) });
    expect(lines).toBe(
      `
serving: 4 listening, 1 failed, 1 unsupported, 1 draining               03:04:05

URL                    ADDRESS               OPEN   NEW/S      UP/S    DOWN/S
all                                            15     124   1.2 MiB   341 KiB
http://hello.demo      127.0.0.2:80            12     3.0   1.2 MiB   340 KiB
tcp://db.demo:5432     127.100.100.3:5432       0       0         0         0
http://fresh.demo      127.0.0.2:80             1       -         -         -
http://bad.demo        failed: another program listens on 127.0.0.4:80 (or on...
https://*.example.com  unsupported: wildcard endpoints are no names
http://old.demo        draining                 2       0         0    1023 B
http://off.demo        127.0.0.2:80             0     121         0         0
    121/s failed: ERR_NGROK_3200: the endpoint is offline the endpoint is off...`.slice(1),
    );
    expect(Math.max(...lines.split("\n").map(({ length }) => length))).toBe(80);
  });
});

describe("the lines of the picture", () => {
  test("name the name itself if it is below a wildcard", () => {
    const below = { url: "http://*.team.internal", hostname: "a.team.internal" };
    const lines = text([
      watched("a", below),
      watched("b", { ...below, hostname: "b.team.internal", state: "failed", reason: "no" }),
    ]);
    expect(lines).toContain("http://a.team.internal ");
    expect(lines).toContain("http://b.team.internal ");
    expect(lines).not.toContain("*");
  });

  test("have a long URL cut, and one from outside harmless", () => {
    const lines = text([
      watched("a", { url: `https://${"long.".repeat(20)}demo` }),
      watched("b", { url: "http://a\n\x1b[2J" }),
    ]).split("\n");
    expect(lines[4]).toMatch(/^https:\/\/(?:long\.)+l?o?n?g?\.\.\. {2}127\.0\.0\.2:80 /);
    expect(lines[5]).toStartWith('"http://a\\n\\u001b[2J"');
    expect(lines.every((line) => line.length <= 80)).toBe(true);
  });

  test("begin with the state and the time", () => {
    const head = (more: Partial<Picture>): string =>
      text([], more, marked).split("\n")[0]?.replace(/ {2,}/g, " ") ?? "";
    expect(head({})).toBe("+serving: 2 listening + .03:04:05.");
    expect(head({ status: status({ phase: "degraded", reason: "no route" }) })).toBe(
      "!degraded: no route ! .03:04:05.",
    );
    expect(head({ status: status({ phase: "stopping" }) })).toBe(
      "~stopping: 2 listening ~ .03:04:05.",
    );
    expect(head({ trouble: "No daemon answers" })).toBe("!No daemon answers ! .03:04:05.");
    expect(
      head({
        status: status({
          endpoints: {
            listening: 0,
            failed: 0,
            unsupported: 0,
            refused: 0,
            paused: 0,
            draining: 0,
          },
        }),
      }),
    ).toStartWith("+serving: no endpoints ");
    expect(text([], { trouble: "x".repeat(200) }).split("\n")[0]).toMatch(
      /^x{67}\.\.\. {2}03:04:05$/,
    );
    expect(text([], { status: status({ insecure_skip_verify: true }) }).split("\n")[1]).toBe(
      "The ingress's certificate is NOT verified.",
    );
  });

  test("count an endpoint once in the sum if it is listed twice", () => {
    const rates = { connections: 2, bytes_up: 10 };
    const twice = [
      watched("a", counts({ active: 3 }), rates),
      watched("a", { state: "draining", ...counts({ active: 3 }) }, rates),
    ];
    expect(text(twice).split("\n")[3]).toMatch(/^all +3 +2\.0 +10 B +0$/);
  });

  test("show a wildcard as served, and as quiet", () => {
    const wildcard = { ip: "", hostname: "*.team.demo", state: "wildcard" } as const;
    const items = [
      watched("a"),
      watched("team", { ...wildcard, url: "https://*.team.demo" }),
      watched("b", { ip: "", state: "refused", reason: "it resolves already" }),
    ];
    expect(text(items, {}, marked).split("\n").slice(4)).toEqual([
      expect.stringContaining("http://a.demo"),
      "https://*.team.demo  +wildcard+",
      "http://b.demo        ~refused: it resolves already~",
    ]);
    const few = text([...items, watched("c")], {}, plain, 7)
      .split("\n")
      .slice(4);
    expect(few.map((line) => line.slice(0, 33).trim())).toEqual([
      "http://a.demo        127.0.0.2:80",
      "http://b.demo        refused: it",
      "... and 2 more, with less traffic",
    ]);
  });

  test("count open connections of an endpoint that drains and is paused", () => {
    const twice = [
      watched("a", { state: "draining", ...counts({ active: 3 }) }),
      watched("a", { state: "paused", ip: "", reason: "it is paused" }),
    ];
    expect(text(twice).split("\n")[3]).toMatch(/^all +3 +0 +0 +0$/);
  });

  test("are of busy and failing endpoints, in order, if not all have room", () => {
    const quiet = Array.from({ length: 50 }, (_, i) => watched(`quiet${i}`));
    const failing = watched("failing", counts({ last_error: "no" }), { failures: 1 });
    const items = [
      ...quiet.slice(0, 25),
      watched("busy", {}, { bytes_up: 1 }),
      ...quiet.slice(25),
      failing,
      watched("open", counts({ active: 1 })),
    ];
    const lines = text(items, {}, plain, 12).split("\n");
    expect(lines.length).toBe(12);
    expect(lines.slice(4).map((line) => line.split(" ")[0] || line.trim())).toEqual([
      "http://quiet0.demo",
      "http://quiet1.demo",
      "http://quiet2.demo",
      "http://busy.demo",
      "http://failing.demo",
      "1.0/s failed: no",
      "http://open.demo",
      "...",
    ]);
    expect(lines.at(-1)).toBe("... and 47 more, with less traffic");
    expect(text(quiet, {}, plain, 54).split("\n").length).toBe(54);
    for (const rows of [1, 4, 5])
      expect(text(items, {}, plain, rows).split("\n").length).toBeLessThanOrEqual(
        Math.max(rows, 5),
      );
  });

  test("are as many as the rows, even of 10,000 endpoints", () => {
    const items = Array.from({ length: 10_000 }, (_, i) => watched(`e${i}`));
    expect(text(items, {}, plain, 24).split("\n").length).toBe(24);
  });
});

describe("watching", () => {
  test("prints block after block without a terminal, until it is stopped", async () => {
    await using daemon = await daemonThat(async () => [item("a")]);
    const { out, end } = watching(daemon.path);
    await until(() => out.text.split("serving: ").length > 3);
    await end();
    const blocks = out.text.split("\n\n\n")[0]?.split(/(?=serving: )/) ?? [];
    expect(blocks[0]).toMatch(
      /^serving: 2 listening +\d\d:\d\d:\d\d\n\nURL .*\nall +0 +- +- +-\nhttp:\/\/a\.demo +127\.0\.0\.2:80 +0 +- +- +-\n\n$/,
    );
    expect(blocks[1]).toMatch(/\nhttp:\/\/a\.demo +127\.0\.0\.2:80 +0 +0 +0 +0\n\n$/);
    expect(out.text).not.toContain("\u001b");
  });

  test("prints one JSON array a line with --json, the rates included", async () => {
    let asked = 0;
    await using daemon = await daemonThat(async () => {
      asked += 1;
      return [item("a", counts({ total: 5 * asked }))];
    });
    const { out, end } = watching(daemon.path, {
      json: true,
      terminal: { isTerminal: true, columns: 80, rows: 24 },
    });
    await until(() => out.text.split("\n").length > 2);
    await end();
    const [first, second] = out.text
      .split("\n")
      .map((line) => (line === "" ? [] : JSON.parse(line)));
    expect(first).toEqual([{ ...item("a", counts({ total: 5 })), per_second: null }]);
    expect(second[0].per_second.connections).toBeGreaterThan(0);
  });

  test("draws over itself on a terminal of changing size, and restores it", async () => {
    await using daemon = await daemonThat(async () =>
      Array.from({ length: 50 }, (_, i) => item(`e${i}`)),
    );
    const { out, end } = watching(daemon.path, {
      terminal: { isTerminal: true, columns: 80, rows: 12 },
    });
    await until(() => out.text.split("serving: ").length > 2);
    Object.assign(out, { rows: 20 });
    await until(() => out.text.includes("... and 36 more"));
    await end();
    const [enter, leave] = [
      "\u001b[?1049h\u001b[?25l\u001b[?7l",
      "\u001b[?7h\u001b[?25h\u001b[?1049l",
    ];
    expect(out.text).toStartWith(enter);
    expect(out.text).toEndWith(leave);
    const frames = out.text.slice(enter.length, -leave.length).split("\u001b[H").slice(1);
    expect(out.text.split(enter).length + out.text.split(leave).length).toBe(4);
    // The last of the rows stays free, for the cursor.
    expect([...new Set(frames.map((frame) => frame.split("\n").length))]).toEqual([12, 20]);
    expect(
      frames.every((frame) =>
        frame
          .split("\n")
          .slice(0, -1)
          .every((line) => line.startsWith("\u001b[K")),
      ),
    ).toBe(true);
  });

  test("fails if no daemon replies at first, and leaves no trace on the terminal", async () => {
    const { out, done } = watching("/nowhere/s", { terminal: { isTerminal: true } });
    expect(await done.catch((error) => error.code)).toBe("not-running");
    expect(out.text).toBe("");
  });

  test("on a terminal keeps its picture when the daemon goes; elsewhere it ends", async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, "s");
    const gone = Promise.withResolvers<void>();
    let [isLeaving, waiting] = [false, 0];
    const first = await daemonThat(async () => {
      if (isLeaving) waiting += 1;
      if (isLeaving) await gone.promise;
      return [item("a")];
    }, path);
    const seen = watching(path, { terminal: { isTerminal: true } });
    const piped = watching(path);
    await until(() => seen.out.text.includes("a.demo") && piped.out.text.includes("a.demo"));
    // The daemon goes while both clients wait for a reply, which they get. A
    // connection that was not accepted yet would break instead of being
    // refused.
    isLeaving = true;
    await until(() => waiting === 2);
    await first[Symbol.asyncDispose]();
    gone.resolve();
    expect(await piped.done.catch((error) => error.code)).toBe("not-running");
    await until(() => /No daemon answers[\s\S]*http:\/\/a\.demo/.test(seen.out.text));
    await using _again = await daemonThat(async () => [item("b")], path);
    await until(() => seen.out.text.includes("b.demo"));
    await seen.end();
  });

  test("ends at once, also while the daemon owes an answer", async () => {
    const asked = Promise.withResolvers<void>();
    await using daemon = await daemonThat(async () => {
      asked.resolve();
      return await new Promise<never>(() => undefined);
    });
    const { end } = watching(daemon.path);
    await asked.promise;
    await end();
  });
});

/** Runs the watch at 50 pictures a second; `end` stops it and waits. */
function watching(
  path: string,
  { json = false, terminal = {} }: { json?: boolean; terminal?: Partial<Output> } = {},
) {
  const out = sink(terminal);
  const stop = new AbortController();
  const say = createSay({ json, debug: false, out, err: sink(), env: { NO_COLOR: "1" } });
  const io: Io = { net, say, env: {}, stop: stop.signal, hurry: stop.signal, onHangUp: () => {} };
  const done = watch({ socket: path }, io, 20);
  done.catch(() => undefined);
  const end = async (): Promise<void> => {
    stop.abort();
    await done;
  };
  return { out, done, end };
}

/** A daemon that answers `list` with these, and `status`. */
async function daemonThat(list: () => Promise<ListItem[]>, path?: string) {
  const folder = await temporaryFolder();
  const at = path ?? join(folder.path, "s");
  const handle = ({ command }: { command: string }): Promise<unknown> =>
    command === "list" ? list() : Promise.resolve(status());
  const server = await startControlServer({
    net,
    path: at,
    group: "nobody-has-this-group",
    log: silentLog,
    handle,
  });
  const stop = async (): Promise<void> => {
    await server.close();
    await folder[Symbol.asyncDispose]();
  };
  return { path: at, [Symbol.asyncDispose]: stop };
}

async function until(holds: () => boolean): Promise<void> {
  for (let waited = 0; !holds() && waited < 1000; waited += 1) await later(10);
  expect(holds()).toBe(true);
}
