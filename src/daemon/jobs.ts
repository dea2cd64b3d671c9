import type { Change } from "../config/changes.ts";
import type { SettingKey } from "../config/schema.ts";

/**
 * What has to be done about a change beside reading the new value wherever it
 * is used.
 */
export type Job =
  /** How and what the log tells. */
  | "log"
  | "health"
  | "key"
  /** How the outside is reached. */
  | "proxy"
  | "trust"
  | "verification"
  /** What is ready, or could be resumed, was made for other settings. */
  | "ingress"
  | "range"
  /** There is something to find out, or to be done by a pass. */
  | "poll";

const jobs: Readonly<Partial<Record<SettingKey, readonly Job[]>>> = {
  "api.url": ["poll"],
  "api.key": ["key", "poll"],
  ingressEndpoint: ["ingress", "poll"],
  "server.log_level": ["log"],
  "server.log_format": ["log"],
  "server.cert_refresh_interval": ["poll"],
  "server.health_address": ["health"],
  "server.health_port": ["health"],
  "server.ingress_ca": ["trust"],
  "server.insecure_skip_verify": ["ingress", "verification"],
  "bound_endpoints.poll_interval": ["poll"],
  "bound_endpoints.selectors": ["poll"],
  "forward.reserved_ports": ["poll"],
  "forward.proxy_url": ["proxy", "ingress", "poll"],
  "forward.session_resumption": ["ingress"],
  "forward.pool.min": ["ingress"],
  "forward.pool.max": ["ingress"],
  "forward.pool.idle_timeout": ["ingress"],
  "net.subnet": ["range", "poll"],
};

/**
 * Pure: what these changes ask for. Limits and deadlines are not among it: the
 * next connection finds them.
 */
export function jobsOf(changes: readonly Change[]): ReadonlySet<Job> {
  return new Set(changes.flatMap(({ key }) => jobs[key] ?? []));
}
