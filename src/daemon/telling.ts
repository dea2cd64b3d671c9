import type { PassHooks } from "../account/account.ts";
import type { DaemonFacts } from "../desk/daemon-facts.ts";
import type { Health } from "../desk/health-life.ts";
import { metricFamilies } from "../desk/metrics.ts";
import { settled } from "../desk/settle.ts";
import { createStatusBody } from "../desk/status-body.ts";
import type { Line } from "../desk/tell.ts";
import {
  carrying,
  type IngressTrouble,
  ingressLines,
  ingressTrouble,
  warningsOf,
} from "../desk/warnings.ts";
import { networkFacts } from "../exposure/ground.ts";
import type { Log } from "../model/log.ts";
import { moment } from "../model/moment.ts";
import { readiness, type State } from "../model/state.ts";
import type { HealthSource } from "../observe/health-server.ts";
import { processFamilies } from "../observe/process-metrics.ts";
import { drainingStates, freshStates } from "./endpoint-states.ts";
import { openToAll } from "./network-mode.ts";
import { type Parts, tellRelay } from "./parts.ts";

type PartsWithHealth = Parts & { readonly health: Health };

/** The published state, with the endpoints that drain now and all warnings. */
export function currentState(parts: PartsWithHealth): State {
  const { settings, health, machine, naming, link, account, trust, board } = parts;
  const warnings = warningsOf({
    insecure: settings.current.config.server.insecure_skip_verify,
    settings: [...settings.warnings, openToAll(settings.current.config), ...parts.guard.warnings],
    health: health.trouble,
    hosts: machine.trouble,
    dns: naming.report?.warnings ?? [],
    link: link.remarks,
    identity: account.identity.warnings(),
    trust: trust.warnings,
    selectors: account.selectors.trouble,
    state: board.state.warnings,
    ingress: troubleOf(parts),
  });
  return { ...presentState(parts), warnings };
}

/** The data of the health server. */
export function healthSource(parts: Parts): HealthSource {
  const { board, account, settings } = parts;
  const statusBody = createStatusBody();
  return {
    live: account.live,
    ready() {
      const { ready, reason } = readiness(carrying(board.state, troubleOf(parts)));
      // A daemon whose certificate expires soon is ready, with a warning.
      return { ok: ready, reason: ready ? account.identity.warnings().join("; ") : reason };
    },
    hosts: () => settings.current.config.server.health_hosts,
    status: () => statusBody(presentState(parts), account.live()),
    metrics: async () => [
      ...metricFamilies({ ...factsOf(parts), state: presentState(parts), live: account.live() }),
      ...(await processFamilies(parts.options.net.descriptors.limit)),
    ],
  };
}

/** The facts of status and metrics that are not in the state. */
export function factsOf({ options, relay, naming, link, account }: Parts): DaemonFacts {
  const { limit, ingress, strangers, departed } = relay.stats();
  return {
    runtime: options.net.runtime,
    network: networkFacts(link.ground),
    ingress,
    strangers,
    departed,
    limit,
    fileLimit: options.net.descriptors.limit,
    turnedAway: options.net.descriptors.turnedAway,
    dns: naming.report,
    schedule: account.schedule,
    renewalTrouble: account.identity.renewalTrouble,
  };
}

/**
 * The work before and after each pass: fresh inputs, then the new state.
 * `onEnd` is called after each pass.
 */
export function passHooks(parts: PartsWithHealth, onEnd: () => void): PassHooks {
  const { options, health, trust, relay, naming, board } = parts;
  const { log } = options;
  let trouble: IngressTrouble | undefined;
  return {
    async before() {
      await health.start();
      await trust.reread();
      tellRelay(parts);
    },
    after({ result, tookMs, isStopping }) {
      relay.prepare();
      void naming.settle();
      const now = troubleOf(parts);
      writeLines(log, ingressLines(trouble, now));
      trouble = now;
      if (isStopping) return;
      const { change, lines } = settled(board.state, result, { at: moment(), tookMs });
      writeLines(log, lines);
      board.publish(change);
      onEnd();
    },
  };
}

/** The published state, and what has changed since the last pass. */
function presentState(parts: Parts): State {
  const { board, relay } = parts;
  const state = carrying(board.state, troubleOf(parts));
  const endpoints = [...state.endpoints, ...freshStates(relay.present, state.endpoints)];
  return { ...state, endpoints: [...endpoints, ...drainingStates(relay.draining)] };
}

const troubleOf = ({
  relay,
  account,
}: Pick<Parts, "relay" | "account">): IngressTrouble | undefined =>
  ingressTrouble(relay.trouble(account.name));

function writeLines(log: Log, lines: readonly Line[]): void {
  for (const { level, text, hint } of lines) log[level](text, { hint: hint || undefined });
}
