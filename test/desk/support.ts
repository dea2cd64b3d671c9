import { createMeter, type Meter } from "../../src/model/meter.ts";
import type { EndpointState, State } from "../../src/model/state.ts";
import { host, ip } from "../machine/support.ts";

export function meter(counts: Partial<Meter>): Meter {
  return { ...createMeter(), ...counts };
}

/** The network of a status in loopback mode. */
export const network = {
  kind: "loopback",
  interface: "",
  subnet: "127.0.0.0/8",
  subnet6: "",
} as const;

/** An endpoint `http://<name>.demo` that listens on 127.0.0.2:80. */
export function endpoint(name: string, more: Partial<EndpointState> = {}): EndpointState {
  const usual = {
    proto: "http",
    port: 80,
    state: "listening",
    reason: "",
    warning: "",
    meter: meter({}),
  } as const;
  return {
    account: "default",
    ids: [`ep_${name}`],
    url: `http://${name}.demo`,
    host: host(`${name}.demo`),
    ip: ip("127.0.0.2"),
    ip6: "",
    ...usual,
    ...more,
  };
}

/** An endpoint of a kind that ngrokd does not serve. */
export const unusable = endpoint("w", {
  url: "https://*.demo",
  proto: "",
  host: "",
  ip: "",
  port: 0,
  state: "unsupported",
  reason: "wildcard",
});

/** A daemon that serves no endpoint, and has had a good pass at its start. */
export function servingState(at: Date, more: Partial<State> = {}): State {
  const instant = { wall: at, steady: 0 };
  return {
    phase: "serving",
    reason: "",
    hint: "",
    startedAt: instant,
    registration: {
      kind: "registered",
      operatorId: "k8sop_1",
      certificate: { notAfter: at, fingerprint256: "AB" },
    },
    ingress: "ingress.test:443",
    lastPass: { at: instant, ok: true, tookMs: 12, reason: "", hint: "" },
    endpoints: [],
    warnings: [],
    ...more,
  };
}
