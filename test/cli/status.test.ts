import { describe, expect, test } from "bun:test";
import type { ListItem, Status } from "../../src/desk/reply-schemas.ts";
import { listText } from "../../src/terminal/list-text.ts";
import { statusText } from "../../src/terminal/status-text.ts";
import { item, marked, plain, status } from "./support.ts";

const now = new Date("2026-01-02T04:00:00.000Z");

describe("the text of ngrokd status", () => {
  test("is twelve lines that fit into 80 columns if all is well", () => {
    expect(statusText(status(), plain, now)).toBe(
      `
State:          serving
Registration:   registered as k8sop_1
Certificate:    valid for 61 days, until 2026-03-04
Ingress:        ingress.test:443
Last poll:      ok, 12 s ago, took 12 ms
Endpoints:      2 listening
Connections:    1 open, 7 in all
Traffic:        1.5 KiB up, 5.0 GiB down
Pool:           1 ready; 85 % of connections found one
Daemon:         ngrokd 1.2.3, pid 42, up 1 d 2 h
Configuration:  /etc/ngrokd/config.yml
Hosts file:     /etc/hosts`.slice(1),
    );
  });

  test("puts warnings and the hint below", () => {
    const text = statusText(
      status({
        phase: "degraded",
        reason: "no route",
        hint: "wait",
        warnings: ["mind this", "and that"],
      }),
      plain,
      now,
    );
    expect(text.split("\n")[0]).toBe("State:          degraded: no route");
    expect(text.split("\n").slice(12)).toEqual([
      "",
      "warning: mind this",
      "warning: and that",
      "hint: wait",
    ]);
  });

  test("wraps the remarks below, and loses no word", () => {
    const long = "a sentence that goes on ".repeat(10).trim();
    const below = statusText(status({ hint: long, warnings: [long] }), plain, now, 60)
      .split("\n")
      .slice(13);
    expect(below.filter((line) => line.length > 60)).toEqual([]);
    expect(below.join(" ").replaceAll(/ +/g, " ")).toBe(`warning: ${long} hint: ${long}`);
    expect(below.filter((line) => !/^(?:warning: | {9}| {6}|hint: )\S/.test(line))).toEqual([]);
  });

  test("names the proxy in use, and its purpose", () => {
    const row = (api: string, ingress: string) =>
      /^Proxy: +(.*)$/m.exec(statusText(status({ proxy: { api, ingress } }), plain, now))?.[1];
    expect(row("", "")).toBeUndefined();
    expect(row("http://p:1", "http://p:1")).toBe("http://p:1");
    expect(row("http://p:1", "")).toBe("http://p:1, for the API only");
    expect(row("", "http://p:1")).toBe("http://p:1, for the ingress only");
  });

  test.each([
    ["State", { phase: "serving" }, "+serving+"],
    ["State", { phase: "starting" }, "~starting~"],
    ["State", { phase: "stopping" }, "~stopping~"],
    ["State", { phase: "degraded", reason: "no" }, "!degraded!: no"],
    ["Registration", { registration: "waiting-for-key" }, "~waiting for an API key~"],
    ["Registration", { registration: "registering" }, "registering with ngrok"],
    ["Registration", { registration: "failed" }, "!failed!"],
    ["Certificate", { certificate: null }, "none yet"],
    ["Certificate", certificate(1.5), "valid for 1 d 12 h, until 2026-01-03"],
    ["Certificate", certificate(2), "valid for 2 days, until 2026-01-04"],
    ["Certificate", certificate(30 / 86_400), "valid for 30 s, until 2026-01-02"],
    ["Certificate", certificate(0.2 / 86_400), "valid for 1 s, until 2026-01-02"],
    ["Certificate", certificate(0), "!expired on 2026-01-02!"],
    ["Certificate", certificate(-0.01), "!expired on 2026-01-02!"],
    ["Ingress", { insecure_skip_verify: true }, "ingress.test:443  !NOT VERIFIED!"],
    ["Last poll", { last_poll: null }, "none yet"],
    [
      "Last poll",
      {
        last_poll: {
          time: now.toISOString(),
          seconds_ago: 0,
          ok: false,
          took_ms: 1,
          reason: "no route",
        },
      },
      "!failed! 0 ms ago: no route (next attempt in 18 s)",
    ],
    [
      "Last poll",
      {
        last_poll: { time: "2026-01-02T03:59:30Z", ok: false, took_ms: 1, reason: "no route" },
        next_poll: "2026-01-02T04:00:18Z",
        next_poll_seconds: undefined,
      },
      "!failed! 30 s ago: no route (next attempt in 18 s)",
    ],
    [
      "Last poll",
      {
        phase: "degraded",
        reason: "no route",
        last_poll: {
          time: now.toISOString(),
          seconds_ago: 3,
          ok: false,
          took_ms: 1,
          reason: "no route",
        },
      },
      "!failed! 3 s ago (next attempt in 18 s)",
    ],
    [
      "Endpoints",
      {
        endpoints: { listening: 0, failed: 0, unsupported: 0, refused: 0, paused: 0, draining: 0 },
      },
      "0 listening",
    ],
    ["Connections", open(5, 11), "5 open, 9 in all"],
    ["Connections", open(6, 11), "6 open of at most 11, 9 in all"],
    [
      "Failures",
      { ...open(0, null, 3), errors_by_kind: { dial: 1, tls: 0, reset: 20 } },
      "3 refused, 1 dial, 20 reset",
    ],
    ["Failures", { errors_by_kind: { dial: 0 } }, undefined],
    ["Pool", { pool: { ...status().pool, ready: 0, hits: 0, misses: 0 } }, "0 ready"],
    [
      "Endpoints",
      {
        endpoints: { listening: 1, failed: 2, unsupported: 3, refused: 0, paused: 0, draining: 4 },
      },
      "1 listening, !2 failed!, ~3 not supported~, 4 draining",
    ],
    [
      "Endpoints",
      { endpoints: { listening: 2, failed: 0, unsupported: 0, draining: 0, warned: 1 } },
      "2 listening, ~1 with a warning (see `ngrokd list`)~",
    ],
  ] as [string, Partial<Status>, string | undefined][])("says of %s %j: %s", (name, more, said) => {
    const line = statusText(status(more), marked, now)
      .split("\n")
      .find((one) => one.startsWith(`.${name}:`));
    expect(line?.replace(/^\..*?\. /, "")).toBe(said as string);
  });
});

describe("the text of ngrokd list", () => {
  test("has one line an endpoint, and remarks below it", () => {
    const items = [
      item("hello", {
        connections: {
          active: 2,
          total: 31,
          errors: 0,
          refused: 0,
          last_error: "",
          last_notice: "",
        },
      }),
      item("db", {
        url: "tcp://db.demo:5432",
        port: 5432,
        ip: "127.0.0.3",
        state: "failed",
        reason: "another program listens on 127.0.0.3:5432 (or on port 5432 of all addresses)",
      }),
      item("wild", {
        url: "https://*.example.com",
        ip: "",
        port: 0,
        state: "unsupported",
        reason: "wildcard endpoints are not supported yet",
      }),
      item("old", {
        state: "draining",
        warning: "mind this",
        connections: {
          active: 1,
          total: 9,
          errors: 2,
          refused: 1,
          last_error: "offline",
          last_notice: "",
        },
      }),
    ];
    const text = listText(items, plain, 80);
    expect(text).toBe(
      `
URL                    ADDRESS         STATE        CONNECTIONS
http://hello.demo      127.0.0.2:80    listening    2 open, 31 total
tcp://db.demo:5432     127.0.0.3:5432  failed       0 open, 0 total
    another program listens on 127.0.0.3:5432 (or on port 5432 of all
    addresses)
https://*.example.com  -               unsupported  -
    wildcard endpoints are not supported yet
http://old.demo        127.0.0.2:80    draining     1 open, 9 total, 3 failed
    mind this
    the latest connection failed: offline`.slice(1),
    );
    expect(Math.max(...text.split("\n").map(({ length }) => length))).toBeLessThanOrEqual(80);
  });

  test("shows the name itself if it is below a wildcard", () => {
    const url = "https://*.team.internal:8443";
    const text = listText(
      [
        item("w", { url, hostname: "*.team.internal", ip: "", state: "wildcard", wildcard: true }),
        item("a", { url, hostname: "a.team.internal" }),
      ],
      plain,
      80,
    );
    expect(text.split("\n").map((line) => line.split(" ")[0])).toEqual([
      "URL",
      url,
      "https://a.team.internal:8443",
    ]);
  });

  test("gives a URL that has no room in the table a line of its own", () => {
    const url = `tcp://${"a-rather-long-name.".repeat(4)}example.com:5432`;
    const text = listText(
      [item("hello"), item("long", { url, state: "failed", reason: "no" })],
      plain,
      80,
    );
    expect(text).toBe(
      `
URL                ADDRESS       STATE      CONNECTIONS
http://hello.demo  127.0.0.2:80  listening  0 open, 0 total
${url}
                   127.0.0.2:80  failed     0 open, 0 total
    no`.slice(1),
    );
    expect(listText([item("long", { url })], marked, 120).split("\n")).toHaveLength(3);
    expect(listText([item("long", { url })], plain, 200).split("\n")).toHaveLength(2);
  });

  test("breaks long remarks at words, and keeps every word", () => {
    const reason = `${"several words of explanation ".repeat(12)}${"x".repeat(120)} end`;
    const [, , ...lines] = listText([item("a", { state: "failed", reason })], plain, 80).split(
      "\n",
    );
    expect(lines.map((line) => line.trim()).join(" ")).toBe(reason);
    expect(lines.filter((line) => line.length > 80 && !line.includes("xxx"))).toEqual([]);
    expect(lines.every((line) => line.startsWith("    "))).toBe(true);
  });

  test("shows a URL from outside harmlessly, and the colours of the states", () => {
    const evil = listText(
      [item("a", { url: "http://a\n\x1b[2J.demo", ip: "", state: "unsupported" })],
      plain,
      80,
    );
    expect(evil.split("\n")[1]).toStartWith('"http://a\\n\\u001b[2J.demo"  -');
    const states = ["listening", "failed", "unsupported", "draining"] as const;
    const lines = listText(
      states.map((state): ListItem => item("a", { state })),
      marked,
      80,
    ).split("\n");
    expect(lines.slice(1).map((line) => line.split(/ {2,}/)[2])).toEqual([
      "+listening+",
      "!failed!",
      "~unsupported~",
      "~draining~",
    ]);
  });
});

function certificate(days: number): Partial<Status> {
  return {
    certificate: {
      not_after: new Date(now.getTime() + days * 86_400_000).toISOString(),
      days_left: Math.floor(days * 100) / 100,
      fingerprint: "",
      renewal_trouble: null,
    },
  };
}

function open(active: number, limit: number | null, refused = 0): Partial<Status> {
  return { connections: { active, total: 9, errors: 0, refused, limit } };
}
