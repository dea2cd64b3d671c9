import { wildcardSuffix } from "../model/endpoint.ts";
import { countOf, type Histogram, quantile } from "../model/histogram.ts";
import { errorKinds, type Meter } from "../model/meter.ts";
import { type Moment, moment, msBetween } from "../model/moment.ts";
import { proxyWays } from "../model/proxy.ts";
import {
  type CertificateFacts,
  type EndpointState,
  readiness,
  type State,
  stateCounts,
} from "../model/state.ts";
import { version } from "../version.ts";
import type { DnsFacts, Liveness, StatusFacts } from "./daemon-facts.ts";
import {
  type HealthReport,
  type Latency,
  type ListItem,
  type ProfileStatus,
  profileStatusSchema,
  type Status,
} from "./reply-schemas.ts";

const dayMs = 86_400_000;

/** Pure: the reply to `status`. */
export function statusReply(state: State, facts: StatusFacts): Status {
  const {
    loaded,
    runtime,
    ingress,
    strangers,
    departed,
    limit,
    fileLimit,
    schedule,
    renewalTrouble,
    now = moment(),
  } = facts;
  const { registration, lastPass, endpoints } = state;
  return {
    registered: registration.kind === "registered",
    operator_id: registration.kind === "registered" ? registration.operatorId : "",
    endpoint_count: endpoints.length,
    ingress_endpoint: state.ingress,
    version,
    pid: process.pid,
    runtime,
    phase: state.phase,
    reason: state.reason,
    hint: state.hint,
    registration: registration.kind,
    start_time: state.startedAt.wall.toISOString(),
    uptime_seconds: seconds(msBetween(state.startedAt, now)),
    ...(facts.predecessor !== undefined && { predecessor: facts.predecessor }),
    ...(facts.workers !== undefined && { workers: [...facts.workers] }),
    certificate:
      registration.kind === "registered"
        ? certificateReply(registration.certificate, renewalTrouble, now.wall)
        : null,
    last_poll: lastPass === undefined ? null : pollReply(lastPass, now),
    next_poll: schedule.next?.wall.toISOString() ?? "",
    next_poll_seconds: schedule.next === undefined ? null : seconds(msBetween(now, schedule.next)),
    failed_polls: schedule.failures,
    ...totals(endpoints, limit, [strangers, departed]),
    files: { limit: finite(fileLimit) },
    pool: {
      ready: ingress.ready,
      hits: ingress.hits,
      misses: ingress.misses,
      retries: ingress.retries,
      dials: ingress.dials,
      idle_limit_seconds: seconds(ingress.patienceMs),
    },
    config_path: loaded.path,
    hosts_path: loaded.hostsPath,
    network: facts.network,
    proxy: proxyWays(loaded.config.api.url, state.ingress.split(", ")[0] ?? "", loaded.proxy),
    ...(facts.dns !== undefined && { dns: dnsReply(facts.dns) }),
    insecure_skip_verify: loaded.config.server.insecure_skip_verify,
    warnings: [...state.warnings],
  };
}

/** Pure: what the status of one profile has for the status of all. */
export function profileStatus(name: string, status: Status): ProfileStatus {
  const picked = Object.keys(profileStatusSchema.shape).map((key) => [
    key,
    key === "name" ? name : status[key as keyof Status],
  ]);
  return Object.fromEntries(picked) as ProfileStatus;
}

const dnsReply = ({ listening, way, zones, warnings }: DnsFacts): Status["dns"] => ({
  listening,
  way,
  zones: [...zones],
  trouble: warnings.join("; "),
});

function pollReply(pass: NonNullable<State["lastPass"]>, now: Moment): Status["last_poll"] {
  return {
    time: pass.at.wall.toISOString(),
    seconds_ago: seconds(msBetween(pass.at, now)),
    ok: pass.ok,
    took_ms: pass.tookMs,
    reason: pass.reason,
  };
}

/**
 * The sums over all endpoints and over `others`: connections that led to none,
 * and those of endpoints that are gone. `limit`: of open connections.
 */
function totals(
  endpoints: readonly EndpointState[],
  limit: number,
  others: readonly Meter[],
): Pick<Status, "endpoints" | "connections" | "errors_by_kind" | "bytes"> {
  // An endpoint that drains and listens again has one meter for both.
  const meters = [...new Set([...endpoints.map(({ meter }) => meter), ...others])];
  const sum = (pick: (meter: Meter) => number): number =>
    meters.reduce((total, meter) => total + pick(meter), 0);
  return {
    endpoints: {
      ...stateCounts(endpoints),
      warned: endpoints.filter(({ warning }) => warning !== "").length,
    },
    connections: {
      active: sum(({ active }) => active),
      total: sum(({ total }) => total),
      errors: sum(({ errors }) => errors),
      refused: sum(({ refused }) => refused),
      limit: finite(limit),
    },
    errors_by_kind: Object.fromEntries(
      errorKinds.map((kind) => [kind, sum(({ errorsBy }) => errorsBy[kind])]),
    ),
    bytes: { up: sum(({ bytesUp }) => bytesUp), down: sum(({ bytesDown }) => bytesDown) },
  };
}

/**
 * Pure: the reply to `list`. The first eleven fields are the Go program's
 * (docs/protocol.md, "The control socket").
 */
export function listReply(state: State, hasProfiles = false): ListItem[] {
  return state.endpoints.map((endpoint) => {
    const { account, ids, url, proto, host, port, ip, ip6, state, reason, warning } = endpoint;
    const { aliases, meter, network } = endpoint;
    return {
      ...(hasProfiles ? { profile: account } : {}),
      id: ids[0] ?? "",
      hostname: state === "wildcard" ? `*.${wildcardSuffix(url) ?? ""}` : host,
      ip,
      port,
      url,
      local_listener: state === "listening",
      network_port: network?.port ?? 0,
      listen_interface: network?.listen ?? "virtual",
      // A name below a wildcard is none.
      wildcard: host === "" && wildcardSuffix(url) !== undefined,
      wildcard_suffix: host === "" ? (wildcardSuffix(url) ?? "") : "",
      shared_listener_key: network?.sharedDoor ?? "",
      ip6,
      proto,
      ids: [...ids],
      state,
      reason,
      warning,
      connections: {
        active: meter.active,
        total: meter.total,
        errors: meter.errors,
        refused: meter.refused,
        last_error: meter.lastError,
        last_notice: meter.lastNotice,
      },
      ...measured(meter),
      ...(aliases !== undefined && { aliases: [...aliases] }),
      ...lastActivity(meter),
    };
  });
}

/** Pure: the reply to `health`. */
export function healthReply(state: State, live: Liveness, url: string | undefined): HealthReport {
  const { ready, reason } = readiness(state);
  return {
    healthy: live.ok,
    ready,
    reason: live.ok ? reason : live.reason,
    address: url ?? "not listening",
  };
}

/** The fields that `list` and /status have in common. */
export function measured({
  errorsBy,
  refusedBy,
  bytesUp,
  bytesDown,
  upgrade,
  firstByte,
}: Meter): Pick<ListItem, Measurements> {
  return {
    errors_by_kind: { ...errorsBy },
    refused_by_code: { ...refusedBy },
    bytes: { up: bytesUp, down: bytesDown },
    latency_ms: { upgrade: latency(upgrade), first_byte: latency(firstByte) },
  };
}
type Measurements = "errors_by_kind" | "refused_by_code" | "bytes" | "latency_ms";

function latency(histogram: Histogram): Latency {
  const ms = (q: number): number => Math.round((quantile(histogram, q) ?? 0) * 10_000) / 10;
  const count = countOf(histogram);
  return count === 0 ? null : { count, p50: ms(0.5), p90: ms(0.9), p99: ms(0.99) };
}

function certificateReply(
  { notAfter, fingerprint256 }: CertificateFacts,
  trouble: StatusFacts["renewalTrouble"],
  now: Date,
): Status["certificate"] {
  const days = (notAfter.getTime() - now.getTime()) / dayMs;
  return {
    not_after: notAfter.toISOString(),
    days_left: Math.floor(days * 100) / 100,
    fingerprint: fingerprint256,
    renewal_trouble:
      trouble === undefined
        ? null
        : {
            failures: trouble.failures,
            next_attempt: trouble.next.toISOString(),
            reason: trouble.reason,
          },
  };
}

const finite = (limit: number): number | null =>
  limit === Number.POSITIVE_INFINITY ? null : limit;
export const seconds = (ms: number): number => Math.max(0, Math.round(ms / 100) / 10);

/** Go's clients read a time, or nothing, but no empty text. */
export const lastActivity = ({ lastActivity: ms }: Meter): { last_activity?: string } =>
  ms === 0 ? {} : { last_activity: new Date(ms).toISOString() };
