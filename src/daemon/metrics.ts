import { bucketBounds, type Histogram } from "../forward/histogram.ts";
import { errorKinds, type Meter } from "../forward/meter.ts";
import type { IngressStats } from "../ingress/ingress.ts";
import type { Family, Sample } from "../observe/exposition.ts";
import { one } from "../observe/process.ts";
import { version } from "../version.ts";
import type { Liveness } from "./replies.ts";
import { type EndpointState, readiness, type State } from "./state.ts";

export interface MetricFacts {
  readonly state: State;
  readonly live: Liveness;
  readonly runtime: string;
  readonly ingress: IngressStats;
  /** How many connections there may be at once; Infinity where there is no limit. */
  readonly limit: number;
  /** Accepted sockets that were closed at once, since the limit of open files was near. */
  readonly turnedAway: number;
}

/**
 * Pure: what /metrics says, read from the meters as they are when each line is written. Thousands of endpoints of which few are used are
 * the rule: one that nobody has connected to has its connection counters and nothing else.
 */
export function metricFamilies({ state, live, runtime, ingress, limit, turnedAway }: MetricFacts): Family[] {
  const { registration, lastPass } = state;
  const meters = metersOf(state.endpoints);
  const used = meters.filter(({ meter }) => meter.total > 0);
  const states = { listening: 0, failed: 0, unsupported: 0, draining: 0 };
  for (const endpoint of state.endpoints) states[endpoint.state] += 1;
  return [
    one("ngrokd_up", "gauge", "Whether the daemon can make progress.", Number(live.ok)),
    one("ngrokd_ready", "gauge", "Whether it is registered and the last poll succeeded.", Number(readiness(state).ready)),
    {
      name: "ngrokd_build_info",
      type: "gauge",
      help: "What runs here; always 1.",
      samples: () => [{ labels: { version, runtime }, value: 1 }],
    },
    ...(registration.kind === "registered"
      ? [
          gauge(
            "certificate_expiry_timestamp_seconds",
            "When the client certificate expires.",
            registration.certificate.notAfter.getTime() / 1000,
          ),
        ]
      : []),
    ...(lastPass === undefined
      ? []
      : [
          gauge("last_poll_timestamp_seconds", "When the last poll of ngrok's API ended.", lastPass.at.getTime() / 1000),
          gauge("last_poll_success", "Whether it succeeded.", Number(lastPass.ok)),
          gauge("last_poll_duration_seconds", "How long it took.", lastPass.tookMs / 1000),
        ]),
    {
      name: "ngrokd_endpoints",
      type: "gauge",
      help: "Endpoints by state.",
      samples: () => Object.entries(states).map(([name, value]) => ({ labels: { state: name }, value })),
    },
    gauge("connections_limit", "Connections that there may be at once.", limit),
    each("connections_active", "gauge", "Connections that are open.", meters, ({ active }) => [{ value: active }]),
    each("connections_total", "counter", "Connections that came.", meters, ({ total }) => [{ value: total }]),
    each("connections_refused_total", "counter", "Connections that the ingress refused, by ngrok's error code.", used, ({ refusedBy }) =>
      Object.entries(refusedBy).map(([code, value]) => ({ labels: { code }, value })),
    ),
    each("connection_errors_total", "counter", "Connections that ended by a failure, by its kind.", used, ({ errorsBy }) =>
      errorKinds.map((kind) => ({ labels: { kind }, value: errorsBy[kind] })),
    ),
    each("bytes_total", "counter", "Bytes carried, up to the endpoint and down to the client.", used, ({ bytesUp, bytesDown }) => [
      { labels: { direction: "up" }, value: bytesUp },
      { labels: { direction: "down" }, value: bytesDown },
    ]),
    each("upgrade_seconds", "histogram", "From accept to the ingress's yes.", used, ({ upgrade }) => buckets(upgrade)),
    each("first_byte_seconds", "histogram", "From then, or the client's first byte, to the endpoint's first byte.", used, ({ firstByte }) =>
      buckets(firstByte),
    ),
    counter("pool_hits_total", "Connections that found a ready connection to the ingress.", ingress.hits),
    counter("pool_misses_total", "Connections that had to wait for a dial.", ingress.misses),
    counter("pool_retries_total", "Ready connections that proved dead, and were made good by a dial.", ingress.retries),
    counter("pool_dials_total", "Dials of the ingress, for the pool or for a waiting connection.", ingress.dials),
    gauge("pool_ready", "Connections to the ingress that are ready now.", ingress.ready),
    gauge("pool_idle_limit_seconds", "How long one is kept ready.", ingress.patienceMs / 1000),
    counter("sockets_turned_away_total", "Accepted sockets that were closed at once for lack of descriptors.", turnedAway),
  ];
}

interface Metered {
  /** `host:port`. */
  readonly endpoint: string;
  readonly meter: Meter;
}

/** Each meter once: what drains and what has come back since count in one, and two series of one name would spoil the whole scrape. */
function metersOf(endpoints: readonly EndpointState[]): Metered[] {
  const found = new Map<string, Meter>();
  for (const { host, port, state, meter } of endpoints) {
    const endpoint = `${host}:${port}`;
    if ((state === "listening" || state === "draining") && !found.has(endpoint)) found.set(endpoint, meter);
  }
  return [...found].map(([endpoint, meter]) => ({ endpoint, meter }));
}

const gauge = (name: string, help: string, value: number): Family => one(`ngrokd_${name}`, "gauge", help, value);
const counter = (name: string, help: string, value: number): Family => one(`ngrokd_${name}`, "counter", help, value);

/** A metric with the label `endpoint`, and those that `samplesOf` adds. */
function each(name: string, type: Family["type"], help: string, meters: readonly Metered[], samplesOf: (meter: Meter) => Sample[]): Family {
  return {
    name: `ngrokd_${name}`,
    type,
    help,
    *samples() {
      for (const { endpoint, meter } of meters)
        for (const { labels, value } of samplesOf(meter)) yield { labels: { endpoint, ...labels }, value };
    },
  };
}

const buckets = ({ counts, sum }: Histogram): Sample[] => (counts.length === 0 ? [] : [{ value: { bounds: bucketBounds, counts, sum } }]);
