import { keysOf } from "../config/profiles.ts";
import type { Health } from "../desk/health-life.ts";
import type { ReloadReport } from "../desk/reply-schemas.ts";
import { insecureWarning } from "../desk/warnings.ts";
import { groundWish } from "../exposure/ground.ts";
import type { Web } from "../web/web.ts";
import type { Job } from "./jobs.ts";
import { openToAll } from "./network-mode.ts";
import { type Parts, tellRelay } from "./parts.ts";
import { relayLimits } from "./relay-settings.ts";

/** Reads the configuration again; undefined if the daemon is stopping. */
export async function reloadUnlessStopping(parts: Parts): Promise<ReloadReport | undefined> {
  const { settings, options } = parts;
  if (isStopping(parts)) return undefined;
  const end = settings.reload();
  options.onReload?.(end);
  return await end;
}

const isStopping = ({ accounts }: Parts): boolean =>
  accounts.all[0].board.state.phase === "stopping";

/**
 * Does the jobs of a changed configuration, except at a stop. Never rejects.
 */
export async function apply(
  parts: Parts & { readonly health: Health; readonly web: Web },
  jobs: ReadonlySet<Job>,
): Promise<void> {
  const { options, settings, way, trust, relay, link, accounts, health } = parts;
  const { config, proxy } = settings.current;
  const { log, keepSecret } = options;
  // A reload that began before the stop would make an interface again.
  if (isStopping(parts)) return;
  for (const key of keysOf(settings.current)) keepSecret(key);
  if (jobs.has("log")) {
    log.setLevel(config.server.log_level);
    log.setFormat(config.server.log_format);
  }
  if (jobs.has("proxy")) {
    way.take(proxy);
    way.tell();
  }
  if (jobs.has("key")) {
    for (const { loaded, account } of accounts.all)
      account.identity.useKey(loaded().config.api.key);
  }
  if (jobs.has("verification")) warnOfVerification(parts);
  if (jobs.has("ground")) await link.settle(groundWish(config.net));
  if (jobs.has("access")) warnOfAccess(parts);
  if (jobs.has("network")) warnOfNetwork(parts);
  if (jobs.has("trust")) await trust.reread();
  relay.limits(relayLimits(config));
  if (jobs.has("profiles")) await accounts.settle();
  for (const member of accounts.all) tellRelay(parts, member);
  if (jobs.has("ingress")) relay.discardReady();
  if (jobs.has("health")) await health.move();
  if (jobs.has("web")) await parts.web.move();
  if (jobs.has("dns")) await parts.naming.settle();
  if (jobs.has("inspect")) parts.inspector.settle();
  if (jobs.has("poll")) accounts.kick();
}

export function warnOfVerification({ settings, options }: Parts): void {
  if (settings.current.config.server.insecure_skip_verify) options.log.warn(insecureWarning);
}

/** Users and groups that this machine does not have. */
export function warnOfAccess({ guard, options }: Parts): void {
  for (const text of guard.warnings) options.log.warn(text);
}

export function warnOfNetwork({ settings, options }: Parts): void {
  const warning = openToAll(settings.current.config);
  if (warning !== "") options.log.warn(warning);
}
