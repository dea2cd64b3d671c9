import type { PassHooks } from "../account/account.ts";
import type { DaemonFacts, Liveness, MetricFacts } from "../desk/daemon-facts.ts";
import type { Health } from "../desk/health-life.ts";
import { familiesOfProfiles } from "../desk/metrics-of-profiles.ts";
import { settled } from "../desk/settle.ts";
import { createStatusBody } from "../desk/status-body.ts";
import { ofProfileText } from "../desk/together.ts";
import {
  carrying,
  type IngressTrouble,
  ingressLines,
  ingressTrouble,
  noWarnings,
  type WarningSources,
  warningsOf,
} from "../desk/warnings.ts";
import { networkFacts } from "../exposure/ground.ts";
import { moment, msBetween } from "../model/moment.ts";
import { readiness, type State } from "../model/state.ts";
import type { HealthSource } from "../observe/health-server.ts";
import { processFamilies } from "../observe/process-metrics.ts";
import type { Web } from "../web/web.ts";
import type { Member, Members } from "./accounts.ts";
import { drainingStates, freshStates } from "./endpoint-states.ts";
import { writeLines } from "./log-lines.ts";
import { openToAll } from "./network-mode.ts";
import { carriedState, type Parts, tellRelay } from "./parts.ts";

type PartsWithHealth = Parts & { readonly health: Health };
type PartsWithServers = PartsWithHealth & { readonly web: Web };

/** The state with the endpoints that drain now and all warnings. */
export function currentState(parts: PartsWithServers): State {
  const { settings, health, machine, naming, link, accounts, trust } = parts;
  const [only, ...others] = accounts.all;
  const own = others.length === 0 ? ownWarnings(parts, only) : allOwnWarnings(parts);
  const warnings = warningsOf({
    insecure: settings.current.config.server.insecure_skip_verify,
    settings: [
      ...settings.warnings,
      openToAll(settings.current.config),
      ...parts.guard.warnings,
      parts.web.trouble,
    ],
    health: health.trouble,
    hosts: machine.trouble,
    dns: naming.report?.warnings ?? [],
    link: link.remarks,
    trust: trust.warnings,
    ...own,
  });
  return { ...presentState(parts), warnings };
}

/** The same of one profile. */
export function memberState(parts: Parts, member: Member): State {
  const warnings = warningsOf({ ...noWarnings, ...ownWarnings(parts, member) });
  return { ...presentMember(parts, member), warnings };
}

type OwnWarnings = Pick<WarningSources, "identity" | "selectors" | "state" | "ingress">;

const ownWarnings = (
  { relay }: Pick<Parts, "relay">,
  { name, account, board }: Member,
): OwnWarnings => ({
  identity: account.identity.warnings(),
  selectors: account.selectors.trouble,
  state: board.state.warnings,
  ingress: ingressTrouble(relay.trouble(name)),
});

function allOwnWarnings(parts: Parts): OwnWarnings {
  const state = parts.accounts.all.flatMap((member) =>
    warningsOf({ ...noWarnings, ...ownWarnings(parts, member) }).map((text) =>
      ofProfileText(member.name, text),
    ),
  );
  return { identity: [], selectors: "", state, ingress: undefined };
}

/** The data of the health server. */
export function healthSource(parts: Parts): HealthSource {
  const { accounts, settings } = parts;
  const statusBody = createStatusBody();
  return {
    live: () => liveness(accounts),
    ready() {
      const { ready, reason } = readiness(carriedState(parts));
      // A daemon whose certificate expires soon is ready, with a warning.
      const warnings = accounts.all.flatMap(({ account }) => account.identity.warnings());
      return { ok: ready, reason: ready ? warnings.join("; ") : reason };
    },
    hosts: () => settings.current.config.server.health_hosts,
    status: () => statusBody(presentState(parts), liveness(accounts)),
    metrics: async () => [
      ...familiesOfProfiles(
        metricFacts(parts),
        accounts.all.map((member) => ({
          name: member.name,
          facts: { ...metricFacts(parts), ...memberMetricFacts(parts, member) },
        })),
      ),
      ...(await processFamilies(parts.options.net.descriptors.limit)),
    ],
  };
}

/** False if the poll of any account hangs. */
export function liveness({ all }: Parts["accounts"]): Liveness {
  const lives = all.map(({ account }) => account.live());
  return lives.find(({ ok }) => !ok) ?? lives[0] ?? { ok: true, reason: "" };
}

const metricFacts = (parts: Parts): MetricFacts => ({
  ...factsOf(parts),
  state: presentState(parts),
  live: liveness(parts.accounts),
});

const memberMetricFacts = (
  parts: Parts,
  member: Member,
): Pick<MetricFacts, "state" | "ingress"> => ({
  state: presentMember(parts, member),
  ingress: parts.relay.stats(member.name).ingress,
});

/** The facts of status and metrics that are not in the state. */
export function factsOf(parts: Parts): DaemonFacts {
  const { options, relay, naming, link, accounts } = parts;
  const { limit, ingress, strangers, departed } = relay.stats();
  const workers = relay.workers ?? [];
  return {
    runtime: options.net.runtime,
    network: networkFacts(link.ground),
    ingress,
    strangers,
    departed,
    limit,
    fileLimit: options.net.descriptors.limit,
    turnedAway: workers.reduce(
      (sum, one) => sum + one.turnedAway,
      options.net.descriptors.turnedAway,
    ),
    workers: relay.workers?.map(({ turnedAway: _, ...worker }) => worker),
    dns: naming.report,
    predecessor: options.inheritance?.predecessor,
    ...scheduleOf(accounts.all),
  };
}

/** The same of one profile. */
export const memberFacts = (parts: Parts, member: Member): DaemonFacts => ({
  ...factsOf(parts),
  ingress: parts.relay.stats(member.name).ingress,
  ...scheduleOf([member]),
});

/** The next poll of any account, and the most failures of one. */
function scheduleOf(members: Members): Pick<DaemonFacts, "schedule" | "renewalTrouble"> {
  const schedules = members.map(({ account }) => account.schedule);
  const next = schedules
    .flatMap((schedule) => schedule.next ?? [])
    .sort((a, b) => msBetween(b, a))[0];
  const failures = Math.max(...schedules.map((schedule) => schedule.failures));
  const troubles = members.flatMap(({ account }) => account.identity.renewalTrouble ?? []);
  return { schedule: { failures, next }, renewalTrouble: troubles[0] };
}

/**
 * The work before and after each pass: fresh inputs, then the new state.
 * `onEnd` is called after each pass.
 */
export function passHooks(parts: PartsWithServers, member: Member, onEnd: () => void): PassHooks {
  const { health, trust, relay, naming } = parts;
  const { board, log } = member;
  let trouble: IngressTrouble | undefined;
  return {
    async before() {
      await health.start();
      await parts.web.retry();
      await trust.reread();
      tellRelay(parts, member);
    },
    async after({ result, tookMs, isStopping }) {
      relay.prepare();
      const named = naming.settle();
      const now = ingressTrouble(relay.trouble(member.name));
      writeLines(log, ingressLines(trouble, now));
      trouble = now;
      if (isStopping) return;
      // A name that is told of can be asked for.
      await named;
      const { change, lines } = settled(board.state, result, { at: moment(), tookMs });
      writeLines(log, lines);
      board.publish(change);
      onEnd();
    },
  };
}

/** The published state, and what has changed since the last pass. */
function presentState(parts: Parts): State {
  const { relay } = parts;
  const state = carriedState(parts);
  const endpoints = [...state.endpoints, ...freshStates(relay.present, state.endpoints)];
  return { ...state, endpoints: [...endpoints, ...drainingStates(relay.draining)] };
}

function presentMember({ relay }: Parts, { name, board }: Member): State {
  const state = carrying(board.state, ingressTrouble(relay.trouble(name)));
  const others = [
    ...freshStates(relay.present, state.endpoints),
    ...drainingStates(relay.draining),
  ];
  const own = others.filter(({ account }) => account === name);
  return { ...state, endpoints: [...state.endpoints, ...own] };
}
