import type { ListItem, Status } from "../../src/desk/reply-schemas.ts";
import type { Output, Paint } from "../../src/terminal/say.ts";

export { plain } from "../../src/terminal/say.ts";

/** Paint that can be read in a test. */
export const marked: Paint = {
  bold: (text) => `*${text}*`,
  dim: (text) => `.${text}.`,
  good: (text) => `+${text}+`,
  bad: (text) => `!${text}!`,
  careful: (text) => `~${text}~`,
  name: (text) => `<${text}>`,
};
/** An output that keeps what was written. */
export function sink(terminal: Partial<Output> = {}): Output & { text: string } {
  return {
    text: "",
    isTerminal: false,
    columns: undefined,
    write(text) {
      this.text += text;
    },
    ...terminal,
  };
}

export function item(name: string, more: Partial<ListItem> = {}): ListItem {
  return {
    id: `ep_${name}`,
    hostname: `${name}.demo`,
    ip: "127.0.0.2",
    port: 80,
    url: `http://${name}.demo`,
    local_listener: true,
    network_port: 0,
    listen_interface: "virtual",
    wildcard: false,
    wildcard_suffix: "",
    shared_listener_key: "",
    ip6: "",
    proto: "http",
    ids: [`ep_${name}`],
    state: "listening",
    reason: "",
    warning: "",
    connections: { active: 0, total: 0, errors: 0, refused: 0, last_error: "", last_notice: "" },
    errors_by_kind: {},
    refused_by_code: {},
    bytes: { up: 0, down: 0 },
    latency_ms: { upgrade: null, first_byte: null },
    ...more,
  };
}

export function status(more: Partial<Status> = {}): Status {
  return {
    registered: true,
    operator_id: "k8sop_1",
    endpoint_count: 2,
    ingress_endpoint: "ingress.test:443",
    version: "1.2.3",
    pid: 42,
    runtime: "bun",
    phase: "serving",
    reason: "",
    hint: "",
    registration: "registered",
    start_time: "2026-01-02T03:04:05.000Z",
    uptime_seconds: 93_784.5,
    certificate: {
      not_after: "2026-03-04T05:06:07.000Z",
      days_left: 61.08,
      fingerprint: "AB:CD",
      renewal_trouble: null,
    },
    // The clock was set since.
    last_poll: {
      time: "2025-12-02T03:59:48.000Z",
      seconds_ago: 12,
      ok: true,
      took_ms: 12,
      reason: "",
    },
    next_poll: "2025-12-02T04:00:18.000Z",
    next_poll_seconds: 18,
    failed_polls: 0,
    endpoints: { listening: 2, failed: 0, unsupported: 0, refused: 0, paused: 0, draining: 0 },
    connections: { active: 1, total: 7, errors: 0, refused: 0, limit: null },
    errors_by_kind: { dial: 0, reset: 0 },
    bytes: { up: 1536, down: 5 * 1024 ** 3 },
    files: { limit: 524_288 },
    pool: { ready: 1, hits: 6, misses: 1, retries: 0, dials: 8, idle_limit_seconds: 60 },
    config_path: "/etc/ngrokd/config.yml",
    hosts_path: "/etc/hosts",
    network: { kind: "loopback", interface: "", subnet: "127.0.0.0/8", subnet6: "" },
    proxy: { api: "", ingress: "" },
    insecure_skip_verify: false,
    warnings: [],
    ...more,
  };
}
