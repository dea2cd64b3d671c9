import type { IngressStats } from "../ingress/ingress.ts";
import { bucketBounds, type Histogram } from "../model/histogram.ts";
import { errorKinds, type Meter } from "../model/meter.ts";
import { type EndpointState, readiness, stateCounts } from "../model/state.ts";
import { counter, type Family, gauge, type Sample } from "../observe/exposition.ts";
import { version } from "../version.ts";
import type { DnsFacts, MetricFacts, WorkerFacts } from "./daemon-facts.ts";

/**
 * Pure: the metrics of /metrics. The counters of an endpoint are read only when
 * its lines are written.
 */
export function metricFamilies(facts: MetricFacts): Family[] {
  return [
    ...daemonFamilies(facts),
    ...trafficFamilies(facts),
    ...workerFamilies(facts),
    ...poolFamilies(facts.ingress),
    ...(facts.dns === undefined ? [] : dnsFamilies(facts.dns)),
  ];
}

function dnsFamilies({ questions, refused }: DnsFacts): Family[] {
  return [
    counter("ngrokd_dns_questions_total", "Questions to the DNS server.", questions),
    counter(
      "ngrokd_dns_refused_total",
      "Questions of clients that may not ask, or that ask too often.",
      refused,
    ),
  ];
}

function daemonFamilies({ state, live, runtime }: MetricFacts): Family[] {
  const { registration, lastPass } = state;
  const families = [
    gauge("ngrokd_up", "Whether the daemon can make progress.", Number(live.ok)),
    gauge(
      "ngrokd_ready",
      "Whether it is registered, the last poll succeeded and the ingress can be reached.",
      Number(readiness(state).ready),
    ),
    gauge("ngrokd_build_info", "The version and the runtime; always 1.", 1, { version, runtime }),
  ];
  if (registration.kind === "registered") {
    const seconds = registration.certificate.notAfter.getTime() / 1000;
    families.push(
      gauge(
        "ngrokd_certificate_expiry_timestamp_seconds",
        "The time when the client certificate expires.",
        seconds,
      ),
    );
  }
  if (lastPass !== undefined) {
    families.push(
      gauge(
        "ngrokd_last_poll_timestamp_seconds",
        "The time when the last poll of ngrok's API ended.",
        lastPass.at.wall.getTime() / 1000,
      ),
      gauge("ngrokd_last_poll_success", "Whether the last poll succeeded.", Number(lastPass.ok)),
      gauge(
        "ngrokd_last_poll_duration_seconds",
        "The duration of the last poll.",
        lastPass.tookMs / 1000,
      ),
    );
  }
  const samples = (): Sample[] =>
    Object.entries(stateCounts(state.endpoints)).map(([name, value]) => ({
      labels: { state: name },
      value,
    }));
  return [
    ...families,
    { name: "ngrokd_endpoints", type: "gauge", help: "Endpoints by state.", samples },
  ];
}

/**
 * Often there are thousands of endpoints, of which few are used. So an endpoint
 * without any connection has two lines only.
 */
function trafficFamilies({ state, limit, turnedAway, strangers }: MetricFacts): Family[] {
  const all = metered(state.endpoints);
  const used = all.filter(({ meter }) => meter.total > 0);
  return [
    gauge("ngrokd_connections_limit", "The most connections that may be open.", limit),
    {
      name: "ngrokd_connections_active",
      type: "gauge",
      help: "Open connections.",
      samples: each(all, ({ active }) => [{ value: active }]),
    },
    {
      name: "ngrokd_connections_total",
      type: "counter",
      help: "Accepted connections.",
      samples: each(all, ({ total }) => [{ value: total }]),
    },
    {
      name: "ngrokd_connections_refused_total",
      type: "counter",
      help: "Connections refused by the ingress, by ngrok's error code.",
      samples: each(used, ({ refusedBy }) =>
        Object.entries(refusedBy).map(([code, value]) => ({ labels: { code }, value })),
      ),
    },
    {
      name: "ngrokd_connection_errors_total",
      type: "counter",
      help: "Failed connections, by kind of failure.",
      samples: each(used, ({ errorsBy }) =>
        errorKinds.map((kind) => ({ labels: { kind }, value: errorsBy[kind] })),
      ),
    },
    {
      name: "ngrokd_bytes_total",
      type: "counter",
      help: "Bytes carried, up to the endpoint and down to the client.",
      samples: each(used, ({ bytesUp, bytesDown }) => [
        { labels: { direction: "up" }, value: bytesUp },
        { labels: { direction: "down" }, value: bytesDown },
      ]),
    },
    {
      name: "ngrokd_upgrade_seconds",
      type: "histogram",
      help: "Time from a connection's accept to the ingress's acceptance.",
      samples: each(used, ({ upgrade }) => buckets(upgrade)),
    },
    {
      name: "ngrokd_first_byte_seconds",
      type: "histogram",
      help:
        "Time from the ingress's acceptance, or the client's first byte after it, " +
        "to the endpoint's first byte.",
      samples: each(used, ({ firstByte }) => buckets(firstByte)),
    },
    {
      name: "ngrokd_unknown_host_errors_total",
      type: "counter",
      help: "Connections to shared listeners that led to no endpoint, by kind of failure.",
      samples: () =>
        errorKinds
          .filter((kind) => strangers.errorsBy[kind] > 0)
          .map((kind) => ({ labels: { kind }, value: strangers.errorsBy[kind] })),
    },
    counter(
      "ngrokd_sockets_turned_away_total",
      "Accepted sockets that were closed at once for lack of descriptors.",
      turnedAway,
    ),
  ];
}

/** Without workers there are none. */
function workerFamilies({ workers = [] }: MetricFacts): Family[] {
  if (workers.length === 0) return [];
  const of = (value: (one: WorkerFacts) => number) => (): Sample[] =>
    workers.map((one) => ({ labels: { worker: String(one.number) }, value: value(one) }));
  return [
    {
      name: "ngrokd_worker_connections_active",
      type: "gauge",
      help: "Open connections of each worker.",
      samples: of(({ open }) => open),
    },
    {
      name: "ngrokd_worker_connections_total",
      type: "counter",
      help: "Connections that each worker has accepted.",
      samples: of(({ accepted }) => accepted),
    },
    {
      name: "ngrokd_worker_restarts_total",
      type: "counter",
      help: "Workers that have ended unexpectedly.",
      samples: of(({ restarts }) => restarts),
    },
  ];
}

function poolFamilies({ hits, misses, retries, dials, ready, patienceMs }: IngressStats): Family[] {
  return [
    counter(
      "ngrokd_pool_hits_total",
      "Connections that used a ready connection to the ingress.",
      hits,
    ),
    counter("ngrokd_pool_misses_total", "Connections that had to wait for a dial.", misses),
    counter(
      "ngrokd_pool_retries_total",
      "Ready connections that were dead, and were replaced by a dial.",
      retries,
    ),
    counter(
      "ngrokd_pool_dials_total",
      "Dials of the ingress, for the pool or for a waiting connection.",
      dials,
    ),
    gauge("ngrokd_pool_ready", "Connections to the ingress that are ready now.", ready),
    gauge(
      "ngrokd_pool_idle_limit_seconds",
      "How long a ready connection is kept.",
      patienceMs / 1000,
    ),
  ];
}

/**
 * One sample of an endpoint: the value, and labels that distinguish it from the
 * endpoint's other samples.
 */
type Part = Omit<Sample, "labels"> & Partial<Sample>;

/** The samples of each endpoint, with the label `endpoint`. */
function each(
  endpoints: readonly EndpointState[],
  partsOf: (meter: Meter) => Part[],
): () => Iterable<Sample> {
  return function* () {
    for (const { host, port, meter } of endpoints) {
      for (const { labels, value } of partsOf(meter))
        yield { labels: { endpoint: `${host}:${port}`, ...labels }, value };
    }
  };
}

const buckets = ({ counts, sum }: Histogram): Part[] =>
  counts.length === 0 ? [] : [{ value: { bounds: bucketBounds, counts, sum } }];

/**
 * The endpoints that have a meter of their own. An endpoint that drains at its
 * old address and listens at a new one has one meter for both. Two equal series
 * would make the scrape fail.
 */
function metered(endpoints: readonly EndpointState[]): EndpointState[] {
  const listening = endpoints.filter(({ state }) => state === "listening");
  const draining = new Map(
    endpoints.filter(({ state }) => state === "draining").map((one) => [one.meter, one]),
  );
  for (const { meter } of listening) draining.delete(meter);
  return [...listening, ...draining.values()];
}
