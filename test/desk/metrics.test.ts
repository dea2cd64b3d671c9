import { describe, expect, test } from "bun:test";
import type { MetricFacts } from "../../src/desk/daemon-facts.ts";
import { metricFamilies } from "../../src/desk/metrics.ts";
import { familiesOfProfiles } from "../../src/desk/metrics-of-profiles.ts";
import { countError, countRefusal, createMeter, type Meter, time } from "../../src/model/meter.ts";
import type { State } from "../../src/model/state.ts";
import { exposition } from "../../src/observe/exposition.ts";
import { version } from "../../src/version.ts";
import { ip } from "../machine/support.ts";
import { endpoint, meter } from "./support.ts";

describe("the metrics of the daemon", () => {
  test("have the known facts of the daemon, and leave out the unknown ones", () => {
    const lines = text({
      state: state({ registration: { kind: "registering" }, lastPass: undefined }),
    });
    expect(lines).toContain("ngrokd_up 1");
    expect(lines).toContain("ngrokd_ready 0");
    expect(lines).toContain(`ngrokd_build_info{version="${version}",runtime="bun"} 1`);
    expect(lines.filter((line) => /certificate|last_poll/.test(line))).toEqual([]);
    const all = text({ state: state(), live: { ok: false, reason: "stuck" } });
    expect(all).toContain("ngrokd_up 0");
    expect(all).toContain("ngrokd_ready 1");
    expect(all).toContain("ngrokd_certificate_expiry_timestamp_seconds 1770000000");
    expect(all).toContain("ngrokd_last_poll_timestamp_seconds 1767323045.678");
    expect(all).toContain("ngrokd_last_poll_success 1");
    expect(all).toContain("ngrokd_last_poll_duration_seconds 0.012");
  });

  test("count the endpoints by state, zero included", () => {
    const lines = text({
      state: state({
        endpoints: [endpoint("a"), endpoint("b"), endpoint("c", { state: "failed" })],
      }),
    });
    expect(lines.filter((line) => line.startsWith("ngrokd_endpoints"))).toEqual([
      'ngrokd_endpoints{state="listening"} 2',
      'ngrokd_endpoints{state="wildcard"} 0',
      'ngrokd_endpoints{state="failed"} 1',
      'ngrokd_endpoints{state="unsupported"} 0',
      'ngrokd_endpoints{state="refused"} 0',
      'ngrokd_endpoints{state="paused"} 0',
      'ngrokd_endpoints{state="draining"} 0',
    ]);
  });
});

describe("the metrics of profiles", () => {
  const used = meter({ total: 1 });
  const of = (name: string, account: string, ready: number) => ({
    name: account,
    facts: facts({
      state: state({ endpoints: [endpoint(name, { account, meter: used })] }),
      ingress: { hits: 0, misses: 0, retries: 0, dials: 0, ready, patienceMs: 0 },
    }),
  });
  const linesOf = (profiles: ReturnType<typeof of>[]): string[] =>
    [...exposition(familiesOfProfiles(facts({}), profiles))].join("").split("\n");

  test("have a label if there are several, but not those of the daemon", () => {
    const lines = linesOf([of("a", "default", 2), of("a", "work", 3)]);
    for (const line of [
      "ngrokd_up 1",
      'ngrokd_pool_ready{profile="default"} 2',
      'ngrokd_pool_ready{profile="work"} 3',
      'ngrokd_connections_total{profile="default",endpoint="a.demo:80"} 1',
      'ngrokd_connections_total{profile="work",endpoint="a.demo:80"} 1',
    ])
      expect(lines).toContain(line);
    const heads = lines.filter((line) => line.startsWith("# TYPE"));
    expect(heads).toHaveLength(new Set(heads).size);
  });

  test("are as before if there is one", () => {
    expect(linesOf([of("a", "default", 2)]).join()).not.toContain("profile");
  });
});

describe("the metrics of endpoints", () => {
  test("have all counts of an endpoint's meter", () => {
    const meter = createMeter();
    Object.assign(meter, { active: 2, total: 9, bytesUp: 10, bytesDown: 20 });
    countError(meter, "dial");
    countError(meter, "limit");
    countRefusal(meter, "ERR_NGROK_3200");
    time(meter, "upgrade", 0.003);
    time(meter, "upgrade", 0.03);
    const lines = text({ state: state({ endpoints: [endpoint("a", { meter })] }) }).filter((line) =>
      line.includes("a.demo"),
    );
    const of = (name: string): string[] =>
      lines.filter((line) => line.startsWith(`ngrokd_${name}`)).map((line) => line.slice(7));
    expect(of("connections_")).toEqual([
      'connections_active{endpoint="a.demo:80"} 2',
      'connections_total{endpoint="a.demo:80"} 9',
      'connections_refused_total{endpoint="a.demo:80",code="ERR_NGROK_3200"} 1',
    ]);
    expect(of("connection_errors_total").map((line) => line.replace(/.*kind=/, ""))).toEqual([
      '"dial"} 1',
      '"tls"} 0',
      '"header"} 0',
      '"timeout"} 0',
      '"reset"} 0',
      '"cut"} 0',
      '"limit"} 1',
      '"misdirected"} 0',
      '"access"} 0',
    ]);
    expect(of("bytes_total")).toEqual([
      'bytes_total{endpoint="a.demo:80",direction="up"} 10',
      'bytes_total{endpoint="a.demo:80",direction="down"} 20',
    ]);
    expect(of("upgrade_seconds")).toContain(
      'upgrade_seconds_bucket{endpoint="a.demo:80",le="0.005"} 1',
    );
    expect(of("upgrade_seconds")).toContain(
      'upgrade_seconds_bucket{endpoint="a.demo:80",le="+Inf"} 2',
    );
    expect(of("upgrade_seconds").slice(-2)).toEqual([
      'upgrade_seconds_sum{endpoint="a.demo:80"} 0.033',
      'upgrade_seconds_count{endpoint="a.demo:80"} 2',
    ]);
    expect(of("first_byte_seconds")).toEqual([]);
  });

  test("have two lines for an unused endpoint, and none for one that does not listen", () => {
    const endpoints = [
      endpoint("idle"),
      endpoint("bad", { state: "failed", ip: "" }),
      endpoint("worse", { state: "unsupported", host: "" }),
    ];
    expect(
      text({ state: state({ endpoints }) }).filter((line) => line.includes("endpoint=")),
    ).toEqual([
      'ngrokd_connections_active{endpoint="idle.demo:80"} 0',
      'ngrokd_connections_total{endpoint="idle.demo:80"} 0',
    ]);
  });

  test("have no series twice for an endpoint that drains and listens again", () => {
    const meter: Meter = { ...createMeter(), total: 3 };
    const moving = [
      endpoint("a", { meter }),
      endpoint("a", { meter, state: "draining", ip: ip("127.0.0.9") }),
    ];
    const leaving = endpoint("b", { state: "draining", meter: { ...createMeter(), total: 5 } });
    const lines = text({ state: state({ endpoints: [...moving, leaving] }) });
    const series = lines
      .filter((line) => !line.startsWith("#"))
      .map((line) => line.replace(/ \S+$/, ""));
    expect(series).toEqual([...new Set(series)]);
    expect(lines).toContain('ngrokd_connections_total{endpoint="b.demo:80"} 5');
  });
});

describe("the metrics of the process", () => {
  test("have the pool, the limits and the rejected sockets", () => {
    const lines = text({ limit: Number.POSITIVE_INFINITY, turnedAway: 4 }).filter((line) =>
      /^ngrokd_(pool|conn|sock)/.test(line),
    );
    expect(lines).toEqual([
      "ngrokd_connections_limit +Inf",
      "ngrokd_sockets_turned_away_total 4",
      "ngrokd_pool_hits_total 8",
      "ngrokd_pool_misses_total 2",
      "ngrokd_pool_retries_total 1",
      "ngrokd_pool_dials_total 12",
      "ngrokd_pool_ready 3",
      "ngrokd_pool_idle_limit_seconds 45",
    ]);
  });

  test("are named and typed by Prometheus's conventions", () => {
    for (const { name, type, help } of metricFamilies(facts({}))) {
      expect(name).toMatch(/^ngrokd_[a-z]+(_[a-z]+)*$/);
      expect(name.endsWith("_total")).toBe(type === "counter");
      if (type === "histogram") expect(name).toEndWith("_seconds");
      expect(help).toEndWith(".");
    }
  });
});

const at = new Date("2026-01-02T03:04:05.678Z");

function state(more: Partial<State> = {}): State {
  const certificate = { notAfter: new Date(1_770_000_000_000), fingerprint256: "" };
  return {
    phase: "serving",
    reason: "",
    hint: "",
    startedAt: { wall: at, steady: 0 },
    registration: { kind: "registered", operatorId: "k8sop_1", certificate },
    ingress: "ingress.test:443",
    lastPass: { at: { wall: at, steady: 0 }, ok: true, tookMs: 12, reason: "", hint: "" },
    endpoints: [],
    warnings: [],
    ...more,
  };
}

function facts(more: Partial<MetricFacts>): MetricFacts {
  const ingress = { hits: 8, misses: 2, retries: 1, dials: 12, ready: 3, patienceMs: 45_000 };
  return {
    state: state(),
    live: { ok: true, reason: "" },
    runtime: "bun",
    ingress,
    strangers: createMeter(),
    limit: 500,
    turnedAway: 0,
    ...more,
  };
}

const text = (more: Partial<MetricFacts>): string[] =>
  [...exposition(metricFamilies(facts(more)))].join("").split("\n");
