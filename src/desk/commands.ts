import type { IdentityKeeper } from "../account/keeper.ts";
import type {
  CertificateReport,
  RefreshReport,
  ReloadReport,
  Request,
} from "../control/protocol.ts";
import type { Settings } from "../daemon/settings.ts";
import { NgrokdError } from "../model/error.ts";
import type { Log } from "../model/log.ts";
import type { PassResult } from "../model/pass.ts";
import type { State } from "../model/state.ts";
import { certificateReport } from "./certificate-report.ts";
import { healthReply, type Liveness, listReply, type StatusFacts, statusReply } from "./replies.ts";

export interface CommandDeps {
  readonly state: () => State;
  readonly facts: () => Omit<StatusFacts, "loaded">;
  readonly live: () => Liveness;
  readonly healthUrl: () => string | undefined;
  readonly settings: Pick<Settings, "current" | "savedKey">;
  readonly identity: Pick<IdentityKeeper, "setApiKey" | "refreshCertificate">;
  /** A pass now; answers how it ended, undefined where there was none. */
  readonly pass: () => Promise<PassResult["kind"] | undefined>;
  /** Undefined where the daemon is stopping. */
  readonly reload: () => Promise<ReloadReport | undefined>;
  readonly log: Log;
}

/** What the control socket is asked (docs/protocol.md). */
export function createCommands(deps: CommandDeps): (request: Request) => Promise<unknown> {
  const { state, settings, identity, pass, log } = deps;

  return async ({ command, args: given }) => {
    const args = given ?? [];
    switch (command) {
      case "status":
        return statusReply(state(), { loaded: settings.current, ...deps.facts() });
      case "list":
        return listReply(state());
      case "health":
        return healthReply(state(), deps.live(), deps.healthUrl());
      case "refresh":
        return await refresh();
      case "reload":
        return await reload();
      case "set-api-key":
        return await setApiKey(args);
      case "refresh-cert":
        return await refreshCertificate(args);
      default:
        throw new NgrokdError(
          "usage",
          `This daemon does not know the command ${JSON.stringify(command)}`,
          {
            hint: "it knows status, list, health, refresh, reload, refresh-cert and set-api-key",
          },
        );
    }
  };

  async function refresh(): Promise<RefreshReport> {
    const end = await pass();
    // A list that has to be seen twice is, before the answer.
    if (end === "confirm" || end === "gone") await pass();
    const { lastPass, registration, reason: why, hint: help, endpoints } = state();
    if (lastPass === undefined)
      return { ok: false, reason: why, hint: help, took_ms: 0, endpoint_count: 0 };
    const { ok, reason, hint, tookMs } = lastPass;
    const served = endpoints.filter((endpoint) => endpoint.state !== "draining").length;
    return {
      ok: ok && registration.kind === "registered",
      reason,
      hint,
      took_ms: tookMs,
      endpoint_count: served,
    };
  }

  async function reload(): Promise<ReloadReport> {
    const report = await deps.reload();
    if (report === undefined)
      throw new NgrokdError(
        "refused",
        "The daemon is stopping, and reads no configuration any more",
      );
    return report;
  }

  /**
   * The Go program's answer is a sentence; ours have more to say to those who
   * ask for it.
   */
  async function refreshCertificate(args: readonly string[]): Promise<CertificateReport | string> {
    const refresh = await identity.refreshCertificate({ force: args.includes("--force") });
    const report = certificateReport(refresh);
    return args.includes("--json") ? report : report.message;
  }

  async function setApiKey(args: readonly string[]): Promise<string> {
    const text = args.find((word) => !word.startsWith("--")) ?? "";
    const { key, moved } = await identity.setApiKey(text, {
      switchAccount: args.includes("--switch-account"),
    });
    settings.savedKey(key);
    log.info("A new API key was set over the control socket");
    if (moved !== undefined)
      log.info(`This machine has moved to the key's account. ${moved.farewell}`);
    await pass();
    const override = settings.current.origins["api.key"].startsWith("environment")
      ? " At the next start NGROK_API_KEY of the environment comes before it."
      : "";
    const saved = `ngrok accepted the key; it is saved in ${settings.current.path}.${override}`;
    const { registration } = state();
    if (registration.kind === "registered") {
      const [where, farewell] =
        moved === undefined ? ["", ""] : [" in the key's account now", ` ${moved.farewell}`];
      return `${saved} This machine is registered as ${registration.operatorId}${where}.${farewell}`;
    }
    const why = registration.kind === "failed" ? `: ${registration.reason}` : "";
    return `${saved} Registration has not succeeded yet${why}; the daemon goes on trying.`;
  }
}
