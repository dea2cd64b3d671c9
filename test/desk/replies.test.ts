import { describe, expect, test } from "bun:test";
import type { Loaded } from "../../src/config/load.ts";
import { configSchema } from "../../src/config/schema.ts";
import { healthReply, listReply, statusReply } from "../../src/desk/replies.ts";
import { healthSchema, listSchema, statusSchema } from "../../src/desk/reply-schemas.ts";
import { createStatusBody, type StatusBody } from "../../src/desk/status-body.ts";
import { createMeter, noErrors } from "../../src/model/meter.ts";
import { later } from "../../src/model/moment.ts";
import {
  type EndpointState,
  type Registration,
  readiness,
  type State,
} from "../../src/model/state.ts";
import { version } from "../../src/version.ts";
import { endpoint, meter, network, unusable } from "./support.ts";

/** The clock was set by a month after the start. */
const started = { wall: new Date("2025-12-02T03:04:05Z"), steady: 1000 };
const now = { wall: new Date("2026-01-02T04:04:05.678Z"), steady: 1000 + 3_600_678 };
const loaded = {
  config: configSchema.parse({}),
  path: "/etc/ngrokd/config.yml",
  hostsPath: "/etc/hosts",
  proxy: { noProxy: "" },
} as unknown as Loaded;
const ingress = { hits: 8, misses: 2, retries: 1, dials: 12, ready: 3, patienceMs: 45_000 };
const schedule = { failures: 2, next: later(now, 29_322) };
const facts = {
  loaded,
  runtime: "bun",
  network,
  now,
  ingress,
  strangers: createMeter(),
  departed: createMeter(),
  limit: 500,
  fileLimit: 20_000,
  schedule,
  renewalTrouble: undefined,
};

const registered: Registration = {
  kind: "registered",
  operatorId: "k8sop_1",
  certificate: { notAfter: new Date("2026-01-12T16:04:05.678Z"), fingerprint256: "AB:CD" },
};
const ok = { at: later(now, -12_345), ok: true, tookMs: 12, reason: "", hint: "" };
const failed = { ...ok, ok: false, reason: "no route", hint: "wait" };

function state(more: Partial<State> = {}): State {
  const nothing = { reason: "", hint: "", endpoints: [], warnings: [] };
  return {
    phase: "serving",
    startedAt: started,
    registration: registered,
    ingress: "ingress.test:443",
    lastPass: ok,
    ...nothing,
    ...more,
  };
}

const healthStatus = (...facts: Parameters<StatusBody>) =>
  JSON.parse([...createStatusBody()(...facts)].join(""));

describe("the reply to status", () => {
  test("has every field of the protocol at once", () => {
    const failures = { ...createMeter().errorsBy, dial: 1, reset: 2 };
    const busy = endpoint("a", {
      meter: meter({
        active: 2,
        total: 5,
        errors: 3,
        errorsBy: failures,
        refused: 1,
        bytesUp: 10,
        bytesDown: 20,
      }),
    });
    const reply = statusReply(
      state({
        endpoints: [busy, endpoint("b", { state: "failed", reason: "no" }), unusable],
        warnings: ["mind this"],
      }),
      facts,
    );
    expect(statusSchema.parse(reply)).toEqual(reply);
    expect(reply).toEqual({
      registered: true,
      operator_id: "k8sop_1",
      endpoint_count: 3,
      ingress_endpoint: "ingress.test:443",
      version,
      pid: process.pid,
      runtime: "bun",
      network,
      phase: "serving",
      reason: "",
      hint: "",
      registration: "registered",
      start_time: "2025-12-02T03:04:05.000Z",
      uptime_seconds: 3600.7,
      certificate: {
        not_after: "2026-01-12T16:04:05.678Z",
        days_left: 10.5,
        fingerprint: "AB:CD",
        renewal_trouble: null,
      },
      last_poll: {
        time: "2026-01-02T04:03:53.333Z",
        seconds_ago: 12.3,
        ok: true,
        took_ms: 12,
        reason: "",
      },
      next_poll: "2026-01-02T04:04:35.000Z",
      next_poll_seconds: 29.3,
      failed_polls: 2,
      endpoints: {
        listening: 1,
        wildcard: 0,
        failed: 1,
        unsupported: 1,
        refused: 0,
        paused: 0,
        draining: 0,
        warned: 0,
      },
      connections: { active: 2, total: 5, errors: 3, refused: 1, limit: 500 },
      errors_by_kind: { ...noErrors, dial: 1, reset: 2 },
      bytes: { up: 10, down: 20 },
      files: { limit: 20_000 },
      pool: { ready: 3, hits: 8, misses: 2, retries: 1, dials: 12, idle_limit_seconds: 45 },
      config_path: "/etc/ngrokd/config.yml",
      hosts_path: "/etc/hosts",
      proxy: { api: "", ingress: "" },
      insecure_skip_verify: false,
      warnings: ["mind this"],
    });
  });

  test("names the proxies in use, without their passwords", () => {
    const credentials = { username: "me", password: "s3cret" };
    const rules = {
      proxy: { kind: "http", host: "proxy", port: 3128, credentials },
      fromEnvironment: false,
      noProxy: "ingress.test",
    } as const;
    const through = (noProxy: string, url = "https://api.test") =>
      statusReply(state(), {
        ...facts,
        loaded: {
          ...loaded,
          config: configSchema.parse({ api: { url } }),
          proxy: { ...rules, noProxy },
        },
      }).proxy;
    const shown = "http://[redacted]@proxy:3128";
    expect(through("")).toEqual({ api: shown, ingress: shown });
    expect(through("ingress.test")).toEqual({ api: shown, ingress: "" });
    expect(through("api.test")).toEqual({ api: "", ingress: shown });
    // Plain http is only for this machine.
    expect(through("", "http://127.0.0.1:1")).toEqual({ api: "", ingress: shown });
  });

  test("has null for missing values", () => {
    const reply = statusReply(
      state({ phase: "starting", registration: { kind: "registering" }, lastPass: undefined }),
      {
        ...facts,
        limit: Number.POSITIVE_INFINITY,
        now: started,
        schedule: { failures: 0, next: undefined },
      },
    );
    expect(statusSchema.parse(reply)).toEqual(reply);
    expect(reply).toMatchObject({
      registered: false,
      operator_id: "",
      certificate: null,
      last_poll: null,
      next_poll: "",
      next_poll_seconds: null,
      uptime_seconds: 0,
    });
    expect(reply.connections.limit).toBeNull();
  });

  test("says of an expired certificate for how long, and why a poll failed", () => {
    const expired = {
      ...registered,
      certificate: { notAfter: new Date("2026-01-01T04:04:05.678Z"), fingerprint256: "" },
    };
    const reply = statusReply(state({ registration: expired, lastPass: failed }), facts);
    expect({ daysLeft: reply.certificate?.days_left, reason: reply.last_poll?.reason }).toEqual({
      daysLeft: -1,
      reason: "no route",
    });
  });

  test("counts the connections of an endpoint once that drains and has come back since", () => {
    const shared = meter({ active: 1, total: 7 });
    const reply = statusReply(
      state({
        endpoints: [
          endpoint("a", { meter: shared }),
          endpoint("a", { state: "draining", meter: shared }),
        ],
      }),
      facts,
    );
    expect(reply.connections).toMatchObject({ active: 1, total: 7 });
  });

  test("goes on counting the connections of endpoints that are gone", () => {
    const [departed, strangers] = [meter({ total: 4, bytesUp: 9, errors: 1 }), meter({ total: 2 })];
    const endpoints = [endpoint("a", { meter: meter({ total: 7, bytesUp: 1 }) })];
    const reply = statusReply(state({ endpoints }), { ...facts, departed, strangers });
    expect(reply.connections).toMatchObject({ total: 13, errors: 1 });
    expect(reply.bytes).toMatchObject({ up: 10 });
  });
});

describe("the reply to list", () => {
  test("has the Go program's fields first, and ours behind them", () => {
    const counts = meter({
      active: 1,
      total: 9,
      bytesUp: 10,
      bytesDown: 20,
      refused: 3,
      errors: 4,
      refusedBy: { ERR_NGROK_3200: 3 },
      upgrade: { counts: [0, 0, 0, 4], sum: 0.03 },
      lastActivity: now.wall.getTime(),
      lastError: "no",
    });
    const [item, ...more] = listReply(
      state({
        endpoints: [endpoint("a", { ids: ["ep_1", "ep_2"], meter: counts, warning: "mind" })],
      }),
    );
    expect(more).toEqual([]);
    expect(Object.entries(item ?? {})).toEqual([
      ["id", "ep_1"],
      ["hostname", "a.demo"],
      ["ip", "127.0.0.2"],
      ["port", 80],
      ["url", "http://a.demo"],
      ["local_listener", true],
      ["network_port", 0],
      ["listen_interface", "virtual"],
      ["wildcard", false],
      ["wildcard_suffix", ""],
      ["shared_listener_key", ""],
      ["ip6", ""],
      ["proto", "http"],
      ["ids", ["ep_1", "ep_2"]],
      ["state", "listening"],
      ["reason", ""],
      ["warning", "mind"],
      [
        "connections",
        { active: 1, total: 9, errors: 4, refused: 3, last_error: "no", last_notice: "" },
      ],
      ["errors_by_kind", noErrors],
      ["refused_by_code", { ERR_NGROK_3200: 3 }],
      ["bytes", { up: 10, down: 20 }],
      ["latency_ms", { upgrade: { count: 4, p50: 7.5, p90: 9.5, p99: 10 }, first_byte: null }],
      ["last_activity", "2026-01-02T04:04:05.678Z"],
    ]);
  });

  test("can be read by its clients, whatever the states of endpoints", () => {
    const reply = listReply(
      state({
        endpoints: [endpoint("a", { ids: [] }), endpoint("b", { state: "draining" }), unusable],
      }),
    );
    expect(listSchema.parse(reply)).toEqual(reply);
    expect(reply).toMatchObject([
      { id: "", local_listener: true },
      { id: "ep_b", local_listener: false },
      { id: "ep_w", local_listener: false },
    ]);
  });

  test("has a time of the last activity or none, since Go reads no empty time", () => {
    const [idle, used] = listReply(
      state({ endpoints: [endpoint("a"), endpoint("b", { meter: meter({ lastActivity: 1 }) })] }),
    );
    expect(Object.keys(idle ?? {})).not.toContain("last_activity");
    expect(used?.last_activity).toBe("1970-01-01T00:00:00.001Z");
  });

  test.each([
    ["https://*.b.demo", true, "b.demo"],
    ["tls://*.b.demo:8443", true, "b.demo"],
    ["*.B.demo:80", true, "b.demo"],
    ["https://*", true, ""],
    ["https://a*.b.demo", false, ""],
    ["https://a.demo", false, ""],
    ["", false, ""],
  ])("names the suffix of a wildcard as the Go program does: %j", (url, wildcard, suffix) => {
    const [item] = listReply(state({ endpoints: [endpoint("w", { url, host: "" })] }));
    expect({ wildcard: item?.wildcard, suffix: item?.wildcard_suffix }).toEqual({
      wildcard,
      suffix,
    });
  });
});

test("the list names a wildcard as the Go program does, and its names by themselves", () => {
  const url = "https://*.b.demo";
  const rows = listReply(
    state({
      endpoints: [
        endpoint("w", { url, host: "", ip: "", state: "wildcard" }),
        endpoint("a", { url }),
      ],
    }),
  );
  expect(
    rows.map(({ hostname, wildcard, local_listener }) => [hostname, wildcard, local_listener]),
  ).toEqual([
    ["*.b.demo", true, false],
    ["a.demo", false, true],
  ]);
});

describe("the reply to health", () => {
  const live = { ok: true, reason: "" };

  test.each([
    ["registered, the last poll worked, no endpoint at all", {}, ""],
    ["stopping", { phase: "stopping" }, "the daemon is stopping"],
    [
      "no key",
      { registration: { kind: "waiting-for-key" } },
      "waiting for an API key: run `ngrokd set-api-key`",
    ],
    ["registering", { registration: { kind: "registering" } }, "registering with ngrok"],
    [
      "registration failed",
      { registration: { kind: "failed", reason: "401", hint: "" } },
      "not registered: 401",
    ],
    ["no poll yet", { lastPass: undefined }, "the first poll has not finished"],
    ["the last poll failed", { lastPass: failed }, "the last poll failed: no route"],
    [
      "the ingress cannot be reached",
      { phase: "degraded", reason: "New connections fail: not trusted" },
      "New connections fail: not trusted",
    ],
  ] as [string, Partial<State>, string][])(
    "is ready or says why not: %s",
    (_name, more, reason) => {
      expect(readiness(state(more))).toEqual({ ready: reason === "", reason });
      const reply = healthReply(state(more), live, undefined);
      expect(healthSchema.parse(reply)).toEqual({
        healthy: true,
        ready: reason === "",
        reason,
        address: "not listening",
      });
    },
  );

  test("is unhealthy with its own reason if the process makes no progress", () => {
    const stuck = { ok: false, reason: "the last poll began 600 s ago" };
    expect(healthReply(state(), stuck, undefined)).toMatchObject({
      healthy: false,
      ready: true,
      reason: stuck.reason,
    });
    expect(healthStatus(state(), stuck, now)).toMatchObject({
      healthy: false,
      reason: stuck.reason,
    });
  });

  test("names its address", () => {
    expect(healthReply(state(), live, "http://127.0.0.1:8081/").address).toBe(
      "http://127.0.0.1:8081/",
    );
  });
});

describe("the body of /status", () => {
  const live = { ok: true, reason: "" };

  test("shows each endpoint by its id, with the Go program's fields", () => {
    const counts = meter({
      active: 1,
      total: 9,
      refused: 3,
      errors: 4,
      lastActivity: now.wall.getTime(),
      lastError: "refused",
      bytesUp: 5,
    });
    const unmeasured = {
      errors_by_kind: noErrors,
      refused_by_code: {},
      bytes: { up: 0, down: 0 },
      latency_ms: { upgrade: null, first_byte: null },
    };
    expect(
      healthStatus(
        state({ endpoints: [endpoint("a", { ids: ["ep_1", "ep_2"], meter: counts }), unusable] }),
        live,
        now,
      ),
    ).toEqual({
      healthy: true,
      ready: true,
      reason: "",
      phase: "serving",
      uptime: "1h0m0s",
      uptime_seconds: 3600.7,
      start_time: "2025-12-02T03:04:05.000Z",
      endpoints: {
        ...Object.fromEntries(
          ["ep_1", "ep_2"].map((id) => [
            id,
            {
              name: id,
              local_address: "127.0.0.2:80",
              target_uri: "http://a.demo",
              active: true,
              connections: 1,
              total_connections: 9,
              last_activity: "2026-01-02T04:04:05.678Z",
              errors: 7,
              state: "listening",
              reason: "refused",
              ...unmeasured,
              bytes: { up: 5, down: 0 },
            },
          ]),
        ),
        ep_w: {
          name: "ep_w",
          local_address: "",
          target_uri: "https://*.demo",
          active: false,
          connections: 0,
          total_connections: 0,
          errors: 0,
          state: "unsupported",
          reason: "wildcard",
          ...unmeasured,
        },
      },
    });
  });

  test("prefers the listening endpoint of an id, and names one without id by its URL", () => {
    const { endpoints } = healthStatus(
      state({
        endpoints: [
          endpoint("a"),
          endpoint("n", { ids: [""] }),
          endpoint("a", { state: "draining" }),
        ],
      }),
      live,
      now,
    ) as { endpoints: Record<string, { state: string }> };
    expect(
      Object.entries(endpoints)
        .map(([id, { state }]) => `${id} ${state}`)
        .sort(),
    ).toEqual(["ep_a listening", "http://n.demo listening"]);
  });

  test("comes in pieces if there are many endpoints, and is whole", () => {
    const endpoints = Array.from({ length: 2000 }, (_, i) => endpoint(`e${i}`));
    const pieces = [...createStatusBody(10_000)(state({ endpoints }), live, now)];
    expect(pieces.length).toBeGreaterThan(50);
    expect(pieces.filter((piece) => piece.length > 11_000)).toEqual([]);
    const body = JSON.parse(pieces.join(""));
    expect(Object.keys(body.endpoints)).toEqual(endpoints.map(({ ids }) => `${ids[0]}`));
  });

  test("keeps the text of an endpoint until it is used or published again", () => {
    const body = createStatusBody();
    let asked = 0;
    const counted = (one: EndpointState): EndpointState => ({
      ...one,
      get url() {
        asked += 1;
        return "http://counted.demo";
      },
    });
    const one = counted(endpoint("a"));
    const written = (endpoint: EndpointState) =>
      JSON.parse([...body(state({ endpoints: [endpoint] }), live, now)].join("")).endpoints.ep_a;
    expect({ counts: [written(one).connections, written(one).connections], asked }).toEqual({
      counts: [0, 0],
      asked: 1,
    });
    one.meter.total = 1;
    one.meter.active = 1;
    expect({ count: written(one).connections, asked }).toEqual({ count: 1, asked: 2 });
    const published = counted(endpoint("a", { reason: "another", state: "failed" }));
    expect(written(published)).toMatchObject({ connections: 0, reason: "another" });
  });
});
