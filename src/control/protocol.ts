// The small zod: clients read one reply and end, and this one is ready in a
// fraction of the time.
import * as z from "zod/mini";

/**
 * One JSON object for a connection, one back (docs/protocol.md, "The control
 * socket"). The names of the Go program's commands and fields keep their
 * meaning; ours are added beside them.
 */
export const requestSchema = z.object({
  command: z.string().check(z.maxLength(64)),
  args: z.nullish(z.array(z.string()).check(z.maxLength(16))),
});
export type Request = z.infer<typeof requestSchema>;

export type Reply =
  | { readonly success: true; readonly data: unknown }
  | {
      readonly success: false;
      readonly error: string;
      readonly code?: string;
      readonly hint?: string;
    };

export const replySchema = z.union([
  z.object({ success: z.literal(true), data: z.optional(z.unknown()) }),
  z.object({
    success: z.literal(false),
    error: z.string(),
    code: z.optional(z.string()),
    hint: z.optional(z.string()),
  }),
]);

/** Requests larger than this are refused. */
export const requestLimitBytes = 64 * 1024;
/**
 * A client that has not sent a whole request by then, or not taken the reply,
 * is let go.
 */
export const deadlinesMs = { request: 5000, reply: 30_000 } as const;

const endpointState = z.enum(["listening", "failed", "unsupported", "draining"]);
export type EndpointStateName = z.infer<typeof endpointState>;

/**
 * Durations in milliseconds, estimated from buckets; null while nothing was
 * measured.
 */
const latencySchema = z.nullable(
  z.object({ count: z.number(), p50: z.number(), p90: z.number(), p99: z.number() }),
);
export type Latency = z.infer<typeof latencySchema>;

const bytesSchema = z.object({ up: z.number(), down: z.number() });
const countsSchema = z.record(z.string(), z.number());

export const listItemSchema = z.object({
  id: z.string(),
  hostname: z.string(),
  ip: z.string(),
  port: z.number(),
  url: z.string(),
  local_listener: z.boolean(),
  network_port: z.number(),
  listen_interface: z.string(),
  // Ours from here on.
  proto: z.string(),
  ids: z.array(z.string()),
  state: endpointState,
  /** Empty while all is well. */
  reason: z.string(),
  /**
   * What deserves attention although the endpoint works, such as a hosts line
   * of the user's own that comes first.
   */
  warning: z.string(),
  connections: z.object({
    active: z.number(),
    total: z.number(),
    errors: z.number(),
    refused: z.number(),
    last_error: z.string(),
  }),
  /**
   * dial, tls, header, timeout, reset, limit; src/model/meter.ts says what
   * they are.
   */
  errors_by_kind: countsSchema,
  /** By ngrok's error code. */
  refused_by_code: countsSchema,
  bytes: bytesSchema,
  /**
   * From accept to the ingress's yes, and from there (or from the client's
   * first byte) to the endpoint's first byte.
   */
  latency_ms: z.object({ upgrade: latencySchema, first_byte: latencySchema }),
  /** RFC 3339, or empty. */
  last_activity: z.string(),
});
export type ListItem = z.infer<typeof listItemSchema>;
export const listSchema = z.array(listItemSchema);

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
  /** Why it is not simply serving; empty otherwise. */
  reason: z.string(),
  hint: z.string(),
  registration: z.enum(["waiting-for-key", "registering", "registered", "failed"]),
  start_time: z.string(),
  uptime_seconds: z.number(),
  certificate: z.nullable(
    z.object({
      not_after: z.string(),
      days_left: z.number(),
      fingerprint: z.string(),
      /**
       * Why renewing it has failed, how often in a row, and when it is tried
       * again; null while there is nothing to tell.
       */
      renewal_trouble: z.nullable(
        z.object({ failures: z.number(), next_attempt: z.string(), reason: z.string() }),
      ),
    }),
  ),
  last_poll: z.nullable(
    z.object({ time: z.string(), ok: z.boolean(), took_ms: z.number(), reason: z.string() }),
  ),
  /**
   * RFC 3339; empty while a poll runs, and where none comes until somebody asks
   * for it.
   */
  next_poll: z.string(),
  /** Polls that have failed since the last one that did not. */
  failed_polls: z.number(),
  endpoints: z.object({
    listening: z.number(),
    failed: z.number(),
    unsupported: z.number(),
    draining: z.number(),
  }),
  connections: z.object({
    active: z.number(),
    total: z.number(),
    errors: z.number(),
    refused: z.number(),
    /** How many there may be at once; null where there is no limit. */
    limit: z.nullable(z.number()),
  }),
  errors_by_kind: countsSchema,
  bytes: bytesSchema,
  /**
   * Connections to the ingress that were made ready in advance, and how those
   * that came have fared with them.
   */
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
  /** Through which proxies, without passwords; empty: directly. */
  proxy: z.object({ api: z.string(), ingress: z.string() }),
  insecure_skip_verify: z.boolean(),
  warnings: z.array(z.string()),
});
export type Status = z.infer<typeof statusSchema>;

export const healthSchema = z.object({
  healthy: z.boolean(),
  ready: z.boolean(),
  /** Why it is not ready; empty otherwise. */
  reason: z.string(),
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

/** A setting that differs from what is in use; values are fit to be shown. */
const changeSchema = z.object({
  key: z.string(),
  /**
   * `now`: it counts already. `restart`: from the daemon's next start on.
   * `never`: without effect in this version.
   */
  counts: z.enum(["now", "restart", "never"]),
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
  /** False: there are problems, and nothing was taken over. */
  ok: z.boolean(),
  config_path: z.string(),
  changes: z.array(changeSchema),
  problems: z.array(problemSchema),
  /** Unknown keys and the like, which stop nothing. */
  warnings: z.array(problemSchema),
});
export type ReloadReport = z.infer<typeof reloadSchema>;

/**
 * The answer to `refresh-cert` with the argument `--json`; without it, its
 * message alone, as the Go program has it.
 */
export const certificateReportSchema = z.object({
  renewed: z.boolean(),
  not_after: z.string(),
  days_left: z.number(),
  message: z.string(),
});
export type CertificateReport = z.infer<typeof certificateReportSchema>;

/**
 * The part of a status that tells which process answers; the Go program's has
 * none.
 */
export const pidSchema = z.object({ pid: z.number() });
