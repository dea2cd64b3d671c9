import type { Loaded } from "../config/load.ts";
import type { OwnHosts } from "../machine/own-names.ts";

/** Pure: the hosts that a daemon must reach with these settings. */
export function ownHosts({ config, proxy }: Loaded, ingress: string): OwnHosts {
  return { api: new URL(config.api.url).hostname, ingress, proxy: proxy.proxy?.host };
}
