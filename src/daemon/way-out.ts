import type { Log } from "../model/log.ts";
import { type ProxyRules, proxySecrets, proxyText } from "../model/proxy.ts";
import { createFetch } from "../net/fetch.ts";
import type { Net } from "../net/types.ts";

/** The way to ngrok's API: directly, or through a proxy. */
export interface WayOut {
  readonly fetch: () => ReturnType<typeof createFetch>;
  /** Uses these rules from now on. */
  take(rules: ProxyRules): void;
  /** Logs the proxy, if there is one. */
  tell(): void;
  /** Discards kept connections, for example after the network has changed. */
  discard(): void;
}

export interface WayOutOptions {
  readonly net: Net;
  readonly rules: ProxyRules;
  readonly log: Log;
  /** Is given every secret that must not reach the log. */
  readonly keepSecret: (secret: string) => void;
}

export function createWayOut({ net, rules: first, log, keepSecret }: WayOutOptions): WayOut {
  let rules = first;
  let fetch = createFetch(net, rules);
  keepSecrets();
  return {
    fetch: () => fetch,
    take(next) {
      rules = next;
      fetch = createFetch(net, rules);
      keepSecrets();
    },
    tell() {
      if (rules.proxy !== undefined)
        log.info(`Connections to ngrok go through the proxy "${proxyText(rules.proxy)}"`);
    },
    discard: () => fetch.discard(),
  };

  function keepSecrets(): void {
    for (const secret of rules.proxy === undefined ? [] : proxySecrets(rules.proxy))
      keepSecret(secret);
  }
}
