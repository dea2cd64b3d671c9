import type { CertificateRefresh } from "../account/renewal.ts";
import type { Loaded } from "../config/load.ts";
import { chosenName } from "../config/profiles.ts";
import type { ApiKey } from "../model/api-key.ts";
import { NgrokdError } from "../model/error.ts";
import type { Log } from "../model/log.ts";
import type { PassResult } from "../model/pass.ts";
import type { State } from "../model/state.ts";
import { certificateReport } from "./certificate-report.ts";
import type { DaemonFacts, Liveness } from "./daemon-facts.ts";
import { exchanges, type Inspection, replay } from "./exchanges.ts";
import type { Findings } from "./finding-schemas.ts";
import type { Link } from "./history-schemas.ts";
import type { Input, OperationName, ReplyTo } from "./operations.ts";
import { drainingOf, pausable, subjectsIn } from "./pausing.ts";
import { connections, events, type Memory, traffic } from "./remembering.ts";
import { healthReply, listReply, profileStatus, statusReply } from "./replies.ts";
import type {
  CertificateReport,
  PauseReport,
  RefreshReport,
  ReloadReport,
  Status,
  UpgradeReport,
} from "./reply-schemas.ts";

/** The parts of the daemon that the operations use. */
export interface Desk {
  readonly state: () => State;
  readonly facts: () => DaemonFacts;
  readonly live: () => Liveness;
  /** Undefined if there is no health server. */
  readonly healthUrl: () => string | undefined;
  readonly settings: {
    readonly current: Loaded;
    /**
     * The daemon itself has written this key of a profile to the configuration.
     */
    savedKey(key: ApiKey, profile: string): void;
  };
  /** In the order of the configuration; never empty. */
  readonly profiles: () => readonly DeskProfile[];
  /** Returns undefined if the daemon is stopping. */
  readonly reload: () => Promise<ReloadReport | undefined>;
  /** Hands over to a program; by default to this one's own file. */
  readonly upgrade: (to: string | undefined) => Promise<UpgradeReport>;
  /** The names that are paused. */
  readonly names: {
    readonly paused: ReadonlySet<string>;
    /** Returns whether this is a change. */
    pause(subject: string, paused: boolean): Promise<boolean>;
  };
  readonly memory: Memory;
  readonly inspection: Inspection;
  /** Examines everything, or follows one name. */
  readonly examine: (name: string) => Promise<Findings>;
  /** Throws NgrokdError `refused` if there is no dashboard. */
  readonly dashboardLink: (how: { readonly write: boolean }) => Link;
  readonly log: Log;
}

/** The part of the daemon that is one profile's. */
export interface DeskProfile {
  readonly name: string;
  readonly loaded: () => Loaded;
  readonly state: () => State;
  readonly facts: () => DaemonFacts;
  readonly live: () => Liveness;
  readonly identity: {
    setApiKey(text: string, how: { switchAccount: boolean }): Promise<KeyChange>;
    refreshCertificate(how: { force: boolean }): Promise<CertificateRefresh>;
  };
  /** Runs a pass; returns how it ended, undefined if there was none. */
  readonly pass: () => Promise<PassResult["kind"] | undefined>;
}

interface KeyChange {
  readonly key: ApiKey;
  /**
   * If the machine has moved to the key's account: a sentence about the old
   * operator.
   */
  readonly moved: { readonly farewell: string } | undefined;
}

type Handlers = {
  readonly [N in OperationName]: (desk: Desk, input: Input<N>) => ReplyTo<N> | Promise<ReplyTo<N>>;
};

/** The function of each operation. Its error becomes the error reply. */
export const handlers: Handlers = {
  status,
  list: (desk, { profile }) =>
    listReply((profile === undefined ? desk : chosen(desk, profile)).state(), isSeveral(desk)),
  health(desk, { profile }) {
    const { state, live } = profile === undefined ? desk : chosen(desk, profile);
    return healthReply(state(), live(), desk.healthUrl());
  },
  connections: (desk, input) => connections(desk.memory, input),
  traffic: (desk, input) => traffic(desk.memory, input),
  events: (desk, input) => events(desk.memory, input),
  exchanges: (desk, input) => exchanges(desk.inspection, input),
  doctor: (desk, { host = "" }) => desk.examine(host),
  replay: (desk, input) => replay(desk.inspection, input),
  dashboard: ({ dashboardLink }, { write = false }) => dashboardLink({ write }),
  refresh,
  reload,
  upgrade: (desk, { to }) => desk.upgrade(to === "" ? undefined : to),
  pause: (desk, { host }) => setPause(desk, host, true),
  resume: (desk, { host }) => setPause(desk, host, false),
  "refresh-cert": refreshCertificate,
  "set-api-key": setApiKey,
};

const isSeveral = ({ profiles }: Desk): boolean => profiles().length > 1;

/**
 * The profile of this name. Without a name it is the default or only one, and
 * throws NgrokdError `usage` if none of several is meant.
 */
function chosen({ profiles }: Desk, name: string | undefined): DeskProfile {
  const all = profiles();
  const names = all.map((one) => one.name);
  const wanted = chosenName(names, name);
  const found = all.find((one) => one.name === wanted);
  if (found !== undefined) return found;
  throw new NgrokdError("usage", `The profile "${wanted}" has no key, so it is not in use`, {
    hint: `give it one with \`ngrokd set-api-key --offline --profile ${wanted}\``,
  });
}

function status(desk: Desk, { profile }: Input<"status">): Status {
  const { settings, state, facts, profiles } = desk;
  if (profile !== undefined) return statusOf(chosen(desk, profile));
  const whole = statusReply(state(), { loaded: settings.current, ...facts() });
  if (!isSeveral(desk)) return whole;
  return { ...whole, profiles: profiles().map((one) => profileStatus(one.name, statusOf(one))) };
}

const statusOf = ({ loaded, state, facts }: DeskProfile): Status =>
  statusReply(state(), { loaded: loaded(), ...facts() });

async function refresh(desk: Desk, { profile }: Input<"refresh">): Promise<RefreshReport> {
  const asked = profile === undefined ? desk.profiles() : [chosen(desk, profile)];
  await Promise.all(asked.map(polled));
  const { state } = profile === undefined ? desk : chosen(desk, profile);
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

async function polled({ pass }: DeskProfile): Promise<void> {
  const end = await pass();
  // Some lists count only when ngrok sends them twice; see account/poll.ts.
  if (end === "confirm" || end === "gone") await pass();
}

async function reload(desk: Desk): Promise<ReloadReport> {
  const report = await desk.reload();
  if (report === undefined)
    throw new NgrokdError(
      "refused",
      "The daemon is stopping, so it does not read the configuration",
    );
  return report;
}

async function setPause(
  { names, profiles, state, log }: Desk,
  text: string,
  paused: boolean,
): Promise<PauseReport> {
  const known = [...subjectsIn(state()), ...names.paused];
  const subject = pausable(text, known, paused);
  const changed = await names.pause(subject, paused);
  if (changed) {
    log.info(paused ? `"${subject}" is paused` : `"${subject}" is served again`);
    await Promise.all(profiles().map(({ pass }) => pass()));
  }
  return { host: subject, paused, changed, draining: drainingOf(state(), subject) };
}

async function refreshCertificate(
  desk: Desk,
  { json = false, force = false, profile }: Input<"refresh-cert">,
): Promise<CertificateReport | string> {
  const { identity } = chosen(desk, profile);
  const report = certificateReport(await identity.refreshCertificate({ force }));
  return json ? report : report.message;
}

async function setApiKey(
  desk: Desk,
  { key: text, "switch-account": switchAccount = false, profile }: Input<"set-api-key">,
): Promise<string> {
  const { settings, log } = desk;
  const { name, identity, pass, state, loaded } = chosen(desk, profile);
  const { key, moved } = await identity.setApiKey(text, { switchAccount });
  settings.savedKey(key, name);
  log.info("A new API key was set over the control socket");
  if (moved !== undefined)
    log.info(`This machine has moved to the key's account. ${moved.farewell}`);
  await pass();
  const origin = loaded().origins["api.key"];
  const override = origin.startsWith("environment ")
    ? ` At the next start ${origin.slice("environment ".length)} in the environment overrides it.`
    : "";
  const saved = `ngrok accepted the key; it is saved in ${settings.current.path}.${override}`;
  const { registration } = state();
  if (registration.kind === "registered") {
    const [where, farewell] =
      moved === undefined ? ["", ""] : [" in the key's account now", ` ${moved.farewell}`];
    return `${saved} This machine is registered as ${registration.operatorId}${where}.${farewell}`;
  }
  const why = registration.kind === "failed" ? `: ${registration.reason}` : "";
  return `${saved} Registration has not succeeded yet${why}; the daemon keeps trying.`;
}
