import type { Change } from "../config/changes.ts";
import type { SettingKey } from "../config/schema.ts";

/**
 * The work that a changed setting needs. Code that reads the setting each time
 * needs none.
 */
export type Job =
  /** The level and the format of the log. */
  | "log"
  | "health"
  | "web"
  | "key"
  /** The proxy for connections to ngrok. */
  | "proxy"
  | "trust"
  | "verification"
  /** Discard ready connections and TLS sessions: they have the old settings. */
  | "ingress"
  /** Name users and groups that are missing; the rules are read anyway. */
  | "access"
  /** The interface and the subnet of the addresses. */
  | "ground"
  /** Serve the accounts of other profiles, or the same ones otherwise. */
  | "profiles"
  /** The DNS server, and what this machine asks of it. */
  | "dns"
  /** Who may reach the endpoints from other machines. */
  | "network"
  /** Forget exchanges that may not be kept any more. */
  | "inspect"
  /** Ask for a pass. */
  | "poll";

const jobs: Readonly<Partial<Record<SettingKey, readonly Job[]>>> = {
  "api.url": ["poll"],
  "api.key": ["key", "profiles", "poll"],
  ingressEndpoint: ["ingress", "poll"],
  "server.log_level": ["log"],
  "server.log_format": ["log"],
  "server.cert_refresh_interval": ["poll"],
  "server.health_address": ["health"],
  "server.health_port": ["health"],
  "server.dashboard_address": ["web"],
  "server.ingress_ca": ["trust"],
  "server.ingress_ca_sha256": ["trust"],
  "server.insecure_skip_verify": ["ingress", "verification"],
  "bound_endpoints.poll_interval": ["poll"],
  "bound_endpoints.selectors": ["poll"],
  "forward.reserved_ports": ["poll"],
  "forward.proxy_url": ["proxy", "ingress", "poll"],
  "forward.session_resumption": ["ingress"],
  "forward.pool.min": ["ingress"],
  "forward.pool.max": ["ingress"],
  "forward.pool.idle_timeout": ["ingress"],
  "net.subnet": ["ground", "poll"],
  "net.subnet6": ["ground", "poll"],
  "net.interface_name": ["ground", "poll"],
  "access.rules": ["access", "network"],
  "names.allow": ["poll"],
  "names.deny": ["poll"],
  "names.only": ["poll"],
  "names.alias": ["poll"],
  "names.pin": ["poll"],
  "names.expand": ["poll"],
  "dns.enabled": ["dns", "poll"],
  "dns.listen": ["dns"],
  "dns.manage_resolv_conf": ["dns"],
  "inspect.endpoints": ["inspect"],
  "inspect.headers": ["inspect"],
  "inspect.queries": ["inspect"],
  "inspect.body_bytes": ["inspect"],
  "inspect.exchanges": ["inspect"],
  "inspect.minutes": ["inspect"],
  "net.listen_interface": ["network", "poll"],
  "net.start_port": ["poll"],
  "net.overrides": ["network", "poll"],
};

const ofProfile = /^profiles(?:\.|$)/;
const profileJobs: readonly Job[] = ["key", "profiles", "poll"];

/**
 * Pure: the jobs of these changes. Limits and deadlines need none: the next
 * connection uses them.
 */
export function jobsOf(changes: readonly Change[]): ReadonlySet<Job> {
  return new Set(
    changes.flatMap(({ key }) =>
      ofProfile.test(key) ? profileJobs : (jobs[key as SettingKey] ?? []),
    ),
  );
}
