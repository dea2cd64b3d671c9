// The small zod: clients read one reply and end, and this one is ready in a
// fraction of the time.
import * as z from "zod/mini";
import { endpointStates } from "../model/state.ts";

/*
 * The shapes of the replies on the control socket. The first fields of a status
 * and of a list item are the Go program's and keep their meaning. Our own
 * fields follow. A field that is added later is optional or has a default, so
 * that a client understands a daemon that is older, as after an upgrade.
 */

/**
 * Milliseconds, estimated from a histogram's buckets; null before the first
 * measurement.
 */
const latencySchema = z.nullable(
  z.object({ count: z.number(), p50: z.number(), p90: z.number(), p99: z.number() }),
);
export type Latency = z.infer<typeof latencySchema>;

const bytesSchema = z.object({ up: z.number(), down: z.number() });
const countsSchema = z.record(z.string(), z.number());

const networkSchema = z.object({
  kind: z.enum(["loopback", "virtual"]),
  interface: z.string(),
  subnet: z.string(),
  subnet6: z.string(),
});
const loopback = { kind: "loopback", interface: "", subnet: "", subnet6: "" } as const;

const listItemSchema = z.object({
  id: z.string(),
  hostname: z.string(),
  ip: z.string(),
  port: z.number(),
  url: z.string(),
  local_listener: z.boolean(),
  network_port: z.number(),
  /** `virtual`, or an address: an interface is told by the one it has. */
  listen_interface: z.string(),
  wildcard: z._default(z.boolean(), false),
  /** The part after the `*.` of a wildcard; empty otherwise. */
  wildcard_suffix: z._default(z.string(), ""),
  /** `ip:port` of a listener that others share; empty if there is none. */
  shared_listener_key: z._default(z.string(), ""),
  // Ours from here on.
  /** If there are several profiles. */
  profile: z.optional(z.string()),
  /** The second address, of IPv6; empty if there is none. */
  ip6: z._default(z.string(), ""),
  proto: z.string(),
  ids: z.array(z.string()),
  state: z.enum(endpointStates),
  /** Why it does not listen; empty otherwise. */
  reason: z.string(),
  /**
   * A problem of an endpoint that works, such as an earlier line for its name
   * in the hosts file; empty otherwise.
   */
  warning: z.string(),
  connections: z.object({
    active: z.number(),
    total: z.number(),
    errors: z.number(),
    refused: z.number(),
    last_error: z.string(),
    /** What the ingress said with its latest response; usually empty. */
    last_notice: z._default(z.string(), ""),
  }),
  /** By kind, such as dial or timeout (src/model/meter.ts). */
  errors_by_kind: countsSchema,
  /** By ngrok's error code. */
  refused_by_code: countsSchema,
  bytes: bytesSchema,
  /**
   * `upgrade`: from accept until the ingress has accepted. `first_byte`: from
   * then, or from the client's first byte if it is later, to the endpoint's
   * first byte.
   */
  latency_ms: z.object({ upgrade: latencySchema, first_byte: latencySchema }),
  /** More names for its address, from `names.alias`; absent without any. */
  aliases: z.optional(z.array(z.string())),
  /** RFC 3339; absent before the first connection. */
  last_activity: z.optional(z.string()),
});
export type ListItem = z.infer<typeof listItemSchema>;
export const listSchema = z.array(listItemSchema);

const certificateSchema = z.nullable(
  z.object({
    not_after: z.string(),
    days_left: z.number(),
    fingerprint: z.string(),
    /** Failed renewals in a row; null if the last one succeeded. */
    renewal_trouble: z.nullable(
      z.object({ failures: z.number(), next_attempt: z.string(), reason: z.string() }),
    ),
  }),
);
const lastPollSchema = z.nullable(
  z.object({
    time: z.string(),
    /** The same on the steady clock: right if the wall clock was set. */
    seconds_ago: z.optional(z.number()),
    ok: z.boolean(),
    took_ms: z.number(),
    reason: z.string(),
  }),
);
const endpointCounts = z.object({
  listening: z.number(),
  wildcard: z.optional(z.number()),
  failed: z.number(),
  unsupported: z.number(),
  refused: z.optional(z.number()),
  paused: z.optional(z.number()),
  draining: z.number(),
  /** Those with a warning, in any state. */
  warned: z.optional(z.number()),
});
const registrationKind = z.enum(["waiting-for-key", "registering", "registered", "failed"]);

/** One of several profiles; each field is as in a status. */
export const profileStatusSchema = z.object({
  name: z.string(),
  registered: z.boolean(),
  operator_id: z.string(),
  ingress_endpoint: z.string(),
  phase: z.string(),
  reason: z.string(),
  hint: z.string(),
  registration: registrationKind,
  certificate: certificateSchema,
  last_poll: lastPollSchema,
  next_poll: z.string(),
  next_poll_seconds: z.optional(z.nullable(z.number())),
  failed_polls: z.number(),
  endpoints: endpointCounts,
  warnings: z.array(z.string()),
});
export type ProfileStatus = z.infer<typeof profileStatusSchema>;

export const statusSchema = z.object({
  registered: z.boolean(),
  operator_id: z.string(),
  endpoint_count: z.number(),
  ingress_endpoint: z.string(),
  // Ours from here on.
  version: z.string(),
  pid: z.number(),
  runtime: z.string(),
  /** starting, serving, degraded or stopping. */
  phase: z.string(),
  /** Why the phase is not serving; empty otherwise. */
  reason: z.string(),
  hint: z.string(),
  registration: registrationKind,
  start_time: z.string(),
  uptime_seconds: z.number(),
  /** The daemon before this one, as long as it has connections. */
  predecessor: z.optional(z.object({ pid: z.number(), connections: z.number() })),
  /** The processes that carry connections, with `forward.workers` above 1. */
  workers: z.optional(
    z.array(
      z.object({
        number: z.number(),
        /** 0 while the next one starts. */
        pid: z.number(),
        /** Open connections. */
        open: z.number(),
        /** Connections since the start of the daemon. */
        accepted: z.number(),
        restarts: z.number(),
      }),
    ),
  ),
  certificate: certificateSchema,
  last_poll: lastPollSchema,
  /** RFC 3339; empty during a poll, and if none is scheduled. */
  next_poll: z.string(),
  next_poll_seconds: z.optional(z.nullable(z.number())),
  /** Failed polls since the last one that succeeded. */
  failed_polls: z.number(),
  endpoints: endpointCounts,
  connections: z.object({
    active: z.number(),
    total: z.number(),
    errors: z.number(),
    refused: z.number(),
    /** The most connections at the same time; null if there is no limit. */
    limit: z.nullable(z.number()),
  }),
  errors_by_kind: countsSchema,
  bytes: bytesSchema,
  /** The process's limit of open files; null if it is unknown. */
  files: z._default(z.object({ limit: z.nullable(z.number()) }), { limit: null }),
  /** The ready connections to the ingress. */
  pool: z.object({
    ready: z.number(),
    hits: z.number(),
    misses: z.number(),
    retries: z.number(),
    dials: z.number(),
    idle_limit_seconds: z.number(),
  }),
  config_path: z.string(),
  hosts_path: z.string(),
  /** Where the addresses of the names come from; empty texts for loopback. */
  network: z._default(networkSchema, loopback),
  /** The proxies' URLs without passwords; empty for a direct connection. */
  proxy: z.object({ api: z.string(), ingress: z.string() }),
  insecure_skip_verify: z.boolean(),
  /** The names below wildcards; absent without `dns.enabled`. */
  dns: z.optional(
    z.object({
      /** `host:port` of the DNS server; empty if it does not run. */
      listening: z.string(),
      /** How this machine's resolver is told. */
      way: z.string(),
      zones: z.array(z.string()),
      /** Why names are not found; empty if they are. */
      trouble: z.string(),
    }),
  ),
  warnings: z.array(z.string()),
  /** Each profile, if there are several; the fields above are of all. */
  profiles: z.optional(z.array(profileStatusSchema)),
});
export type Status = z.infer<typeof statusSchema>;

export const healthSchema = z.object({
  healthy: z.boolean(),
  ready: z.boolean(),
  /** Why it is not ready; empty otherwise. */
  reason: z.string(),
  /** The health server's URL, or `not listening`. */
  address: z.string(),
});
export type HealthReport = z.infer<typeof healthSchema>;

export const refreshSchema = z.object({
  ok: z.boolean(),
  reason: z.string(),
  hint: z.string(),
  took_ms: z.number(),
  endpoint_count: z.number(),
});
export type RefreshReport = z.infer<typeof refreshSchema>;

export const pauseSchema = z.object({
  host: z.string(),
  paused: z.boolean(),
  /** False: it was so before. */
  changed: z.boolean(),
  /** Open connections that may finish. */
  draining: z.number(),
});
export type PauseReport = z.infer<typeof pauseSchema>;

/** A setting that was changed in the file; secrets are redacted. */
const changeSchema = z.object({
  key: z.string(),
  /**
   * `now`: already in effect. `restart`: from the daemon's next start on; an
   * older daemon says `never`, and its next start is that of this version.
   */
  counts: z.catch(z.enum(["now", "restart"]), "restart"),
  from: z.unknown(),
  to: z.unknown(),
});

const problemSchema = z.object({
  kind: z.string(),
  source: z.string(),
  line: z.optional(z.number()),
  column: z.optional(z.number()),
  key: z.optional(z.string()),
  message: z.string(),
});

export const reloadSchema = z.object({
  /** False: there are problems, and the old settings stay in effect. */
  ok: z.boolean(),
  config_path: z.string(),
  changes: z.array(changeSchema),
  problems: z.array(problemSchema),
  /** Problems such as unknown keys, which do not prevent the reload. */
  warnings: z.array(problemSchema),
});
export type ReloadReport = z.infer<typeof reloadSchema>;

export const certificateReportSchema = z.object({
  renewed: z.boolean(),
  not_after: z.string(),
  days_left: z.number(),
  message: z.string(),
});
export type CertificateReport = z.infer<typeof certificateReportSchema>;

export const upgradeSchema = z.object({
  program: z.string(),
  /** Of the new program. */
  version: z.string(),
  /** The process that serves now. */
  pid: z.number(),
  /**
   * `beside`: the old process goes on with its connections. `in place`: it lets
   * them finish, and becomes the new program.
   */
  way: z.enum(["beside", "in place"]),
  took_ms: z.number(),
  /** The open connections of the old process. */
  draining: z.number(),
});
export type UpgradeReport = z.infer<typeof upgradeSchema>;
