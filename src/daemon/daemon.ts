import { hostname } from "node:os";
import { dirname, join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { type Api, createApi } from "../cloud/api.ts";
import { inspectCertificate } from "../cloud/certificate.ts";
import { type Identity, identityPaths, loadIdentity, register, saveIngressEndpoint } from "../cloud/registration.ts";
import type { Loaded } from "../config/load.ts";
import type { RefreshReport, Request } from "../control/protocol.ts";
import { startControlServer } from "../control/server.ts";
import { ensureWritableFolder } from "../files/atomic.ts";
import type { Limits } from "../forward/limits.ts";
import { createQuietWatch } from "../forward/quiet.ts";
import { createIngress, type IngressSettings } from "../ingress/ingress.ts";
import type { PoolLimits } from "../ingress/pool.ts";
import { loadTrust, type Trust } from "../ingress/trust.ts";
import { parseApiKey } from "../model/api-key.ts";
import { hintOf, NgrokdError, reasonOf } from "../model/error.ts";
import { parseHostPort } from "../model/host-port.ts";
import type { Hostname } from "../model/hostname.ts";
import { isLoopbackSubnet, loopback, parseSubnet, type Subnet } from "../model/ip.ts";
import { proxyFor, proxySecrets, proxyText } from "../model/proxy.ts";
import type { Assignment } from "../names/allocate.ts";
import { forbiddenName } from "../names/forbidden.ts";
import { updateHostsFile } from "../names/hosts-file.ts";
import { loadAssignment, saveAssignment } from "../names/store.ts";
import { connectionRoom, descriptorLimit, turnedAway } from "../net/descriptors.ts";
import { createFetch } from "../net/fetch.ts";
import type { Net } from "../net/types.ts";
import { startHealthServer } from "../observe/health.ts";
import type { DaemonLog } from "../observe/log.ts";
import { processFamilies } from "../observe/process.ts";
import { userAgent, version } from "../version.ts";
import { readApiKey, tryAndSaveApiKey } from "./api-key.ts";
import { createListeners } from "./listeners.ts";
import { type Loop, startLoop } from "./loop.ts";
import { metricFamilies } from "./metrics.ts";
import { createPass, noIdentity, type PassResult, passEnd } from "./pass.ts";
import { drainingStates, reconcile } from "./reconcile.ts";
import { healthReply, healthStatus, listReply, statusReply } from "./replies.ts";
import { type Registration, readiness, type State } from "./state.ts";
import { changeLines, sameFailure } from "./tell.ts";

export interface DaemonOptions {
  readonly net: Net;
  readonly loaded: Loaded;
  readonly log: DaemonLog;
  /** Told of every secret that must not reach the log. */
  readonly keepSecret: (secret: string) => void;
}

export interface Daemon {
  readonly state: () => State;
  /** Asks for a pass and waits for it. */
  readonly refresh: () => Promise<void>;
  /** Where the health server listens; undefined where it could not. */
  readonly healthUrl: string | undefined;
  /** Takes everything back, waits for open connections, and answers how many of them had to be cut. */
  readonly stop: (hurry: AbortSignal) => Promise<{ cut: number }>;
}

/** A poll that takes longer than this makes the daemon unhealthy. */
const stuckMs = 10 * 60_000;
/** Who may use the control socket beside root. */
const socketGroup = "ngrokd";

/**
 * Starts everything, in the order in which it can fail without harm: the control socket first, since it is what makes this daemon the
 * only one; then what an earlier life left behind is cleaned; then the loop. Rejects where the daemon cannot run at all; whatever can
 * be waited out is waited out.
 */
export async function startDaemon(options: DaemonOptions): Promise<Daemon> {
  const { net, loaded, log } = options;
  const { config } = loaded;
  const paths = identityPaths(config.server);
  const stateFolder = dirname(config.server.client_cert);
  const fetch = createFetch(net, loaded.proxy);
  for (const secret of loaded.proxy.proxy === undefined ? [] : proxySecrets(loaded.proxy.proxy)) options.keepSecret(secret);
  const assignmentPath = join(stateFolder, "ip_mappings.json");

  let state: State = {
    phase: "starting",
    reason: "",
    hint: "",
    startedAt: new Date(),
    registration: { kind: "waiting-for-key" },
    ingress: config.ingressEndpoint,
    lastPass: undefined,
    endpoints: [],
    warnings: config.server.insecure_skip_verify ? [insecureWarning] : [],
  };
  const publish = (change: Partial<State>): void => {
    state = { ...state, ...change };
  };

  let apiKey = parseApiKey(config.api.key);
  let identity: Identity | undefined;
  let trust = await readTrust();
  let toldOfTrust: readonly string[] = [];
  tellTrust();
  if (config.server.insecure_skip_verify) log.warn(insecureWarning);
  let assignment: Assignment = new Map();
  let askedForIngress = false;
  let toldOfTrouble = "";
  let lastKind: PassResult["kind"] = "idle";
  let passSince: number | undefined;
  // The socket answers before these are up.
  let health: Awaited<ReturnType<typeof startHealthServer>> | undefined;
  let loop: Loop | undefined;
  const range = addressRange(config.net.subnet, log);

  const ingress = createIngress(
    net,
    (): IngressSettings => {
      if (identity === undefined) throw noIdentity();
      const { certPem: cert, keyPem: key } = identity;
      const { insecure_skip_verify: insecureSkipVerify } = config.server;
      const address = ingressAddress();
      const via = proxyFor(address, loaded.proxy);
      return { ...address, cert, key, ca: trust.ca, insecureSkipVerify, resume: config.forward.session_resumption, via };
    },
    poolLimits,
  );
  const drainMs = config.forward.drain_timeout * 1000;
  const quiet = createQuietWatch({
    idleMs: config.forward.idle_timeout * 1000,
    halfClosedMs: config.forward.half_close_timeout * 1000,
  });
  const listeners = createListeners(net, { ingress, log, openTimeoutMs: config.forward.open_timeout * 1000, quiet }, connectionLimits);

  const control = await startControlServer({ net, path: config.server.socket_path, group: socketGroup, log, handle });
  try {
    await ensureWritableFolder(stateFolder);
    const saved = await loadAssignment(assignmentPath);
    assignment = saved.assignment;
    if (saved.warning !== undefined) log.warn(saved.warning);
    // A crash may have left our section behind, with names that now answer nowhere.
    if (await clearHosts()) log.info(`Cleaned up what an earlier run left in "${loaded.hostsPath}"`);
  } catch (error) {
    await control.close();
    throw error;
  }
  health = await startHealth();
  const runPass = createPass({
    api: () => (apiKey.ok ? apiFor(apiKey.value) : undefined),
    identity: ensureIdentity,
    serving: () => [...listeners.present.values()].map(({ placed }) => placed.binding.key),
    reconcile: (listed) =>
      reconcile(listed, {
        listeners,
        assignment: () => assignment,
        saveAssignment: async (next) => {
          assignment = next;
          await saveAssignment(assignmentPath, next);
        },
        advertise: async (entries) => {
          const { change, repairs, shadowed } = await updateHostsFile(loaded.hostsPath, entries, { stateFolder });
          for (const repair of repairs) log.warn(`Repaired the hosts file "${loaded.hostsPath}": ${repair}`);
          if (change !== "none") log.debug(`Wrote ${entries.size} names into "${loaded.hostsPath}"`);
          return shadowed;
        },
        forbidden: forbiddenNow(),
        range,
        drainMs,
        log,
      }),
    log,
  });
  loop = startLoop({
    intervalMs: () => config.bound_endpoints.poll_interval * 1000,
    async pass(signal) {
      const started = Date.now();
      passSince = started;
      const { ca } = trust;
      trust = await readTrust().catch((error: unknown) => ({
        ...trust,
        warnings: [`Keeping the trusted CAs as they were: ${reasonOf(error)}`],
      }));
      tellTrust();
      // What was verified against other CAs is not believed any more.
      if (!isDeepStrictEqual(trust.ca, ca)) ingress.renew();
      const result = await runPass(signal);
      ingress.prepare();
      tellTrouble();
      lastKind = result.kind;
      passSince = undefined;
      if (!signal.aborted) settle(result, Date.now() - started);
      return passEnd(result);
    },
  });
  log.info(`ngrokd is up; control socket ${config.server.socket_path}`);
  if (loaded.proxy.proxy !== undefined) log.info(`The way out is the proxy "${proxyText(loaded.proxy.proxy)}"`);

  return { state: current, refresh: async () => await loop?.kick(), healthUrl: health?.url, stop };

  /** The published state with what drains just now. */
  function current(): State {
    const trouble = ingressTrouble();
    return {
      ...state,
      warnings:
        trouble === undefined ? state.warnings : [...state.warnings, `${trouble.text}${trouble.hint === "" ? "" : `; ${trouble.hint}`}`],
      endpoints: [...state.endpoints, ...drainingStates(listeners)],
    };
  }

  /** The pool dials before anybody connects, so that a CA that is not trusted shows at once. */
  function ingressTrouble(): { text: string; hint: string } | undefined {
    const { trouble } = ingress;
    return trouble && { text: `New connections fail: ${trouble.message}`, hint: trouble.hint ?? "" };
  }

  function tellTrouble(): void {
    const trouble = ingressTrouble();
    if (trouble !== undefined && trouble.text !== toldOfTrouble) log.warn(trouble.text, { hint: trouble.hint || undefined });
    if (trouble === undefined && toldOfTrouble !== "") log.info("The ingress can be reached again");
    toldOfTrouble = trouble?.text ?? "";
  }

  /** Each connection needs two descriptors; the pool's come on top. */
  function connectionLimits(): Limits {
    const { max_connections: inAll, max_connections_per_endpoint: perEndpoint, pool } = config.forward;
    const orNone = (limit: number): number => (limit === 0 ? Number.POSITIVE_INFINITY : limit);
    return { inAll: orNone(inAll), perEndpoint: orNone(perEndpoint), byDescriptors: connectionRoom(pool.max) };
  }

  /** Without endpoints nothing is kept ready. */
  function poolLimits(): PoolLimits {
    const { min, max, idle_timeout: seconds } = config.forward.pool;
    return { min: listeners.present.size === 0 ? 0 : Math.min(min, max), max, idleTimeoutMs: seconds * 1000 };
  }

  /** What status and metrics tell beside the state. */
  function facts() {
    const { inAll, byDescriptors } = connectionLimits();
    return { runtime: net.runtime, ingress: ingress.stats, limit: Math.min(inAll, byDescriptors), turnedAway: turnedAway() };
  }

  /** System roots, ngrok's folder, and the configured CA. */
  async function readTrust(): Promise<Trust> {
    const { ingress_ca: extra } = config.server;
    const found = await loadTrust(extra === "" ? {} : { extra });
    return { ...found, warnings: found.warnings.map((warning) => `A CA file is left out: ${warning}`) };
  }

  /** Every poll reads the CAs; what is wrong with them is told once. */
  function tellTrust(): void {
    for (const warning of trust.warnings) if (!toldOfTrust.includes(warning)) log.warn(warning);
    toldOfTrust = trust.warnings;
  }

  /** What we have to reach: an endpoint of such a name would lead us to ourselves. */
  function ownHosts(): string[] {
    const { proxy } = loaded.proxy;
    return [new URL(config.api.url).hostname, ingressAddress().host, ...(proxy === undefined ? [] : [proxy.host])];
  }

  function apiFor(key: Parameters<typeof createApi>[0]["key"]): Api {
    return createApi({ url: config.api.url, key, userAgent: userAgent(), fetch });
  }

  function isIngressConfigured(): boolean {
    return loaded.origins.ingressEndpoint !== "default";
  }

  /** The configured address, unless the user left it at its default and ngrok named one at registration. */
  function ingressAddress(): { host: string; port: number } {
    const text = isIngressConfigured() ? config.ingressEndpoint : (identity?.ingressEndpoint ?? config.ingressEndpoint);
    const address = parseHostPort(text, 443);
    if (!address.ok) throw new NgrokdError("config", `The ingress address "${text}" cannot be used: ${address.reason}`);
    return address.value;
  }

  /** What may not be written, asked of the machine once a pass and not once a name. */
  function forbiddenNow(): (host: Hostname) => string | undefined {
    const own = { hostnames: [hostname()], hosts: ownHosts() };
    return (host) => forbiddenName(host, own);
  }

  /** Takes our section out of the hosts file; answers whether there was one. */
  async function clearHosts(): Promise<boolean> {
    try {
      return (await updateHostsFile(loaded.hostsPath, new Map(), { stateFolder })).change !== "none";
    } catch (error) {
      log.warn(reasonOf(error), { hint: hintOf(error) || undefined });
      return false;
    }
  }

  /** Every call of a pass has a deadline of its own, so one that takes this long hangs. */
  function live(): { ok: boolean; reason: string } {
    const ms = passSince === undefined ? 0 : Date.now() - passSince;
    return ms < stuckMs ? { ok: true, reason: "" } : { ok: false, reason: `a poll has been stuck for ${Math.round(ms / 60_000)} minutes` };
  }

  async function startHealth(): Promise<Awaited<ReturnType<typeof startHealthServer>> | undefined> {
    const { health_address: host, health_port: port } = config.server;
    try {
      return await startHealthServer(
        { host, port },
        {
          live,
          ready: () => {
            const { ready, reason } = readiness(state);
            return { ok: ready, reason };
          },
          status: () => healthStatus(current(), live()),
          metrics: async () => [
            ...metricFamilies({ ...facts(), state: current(), live: live() }),
            ...(await processFamilies(descriptorLimit())),
          ],
        },
      );
    } catch (error) {
      const warning = `There is no health server: ${reasonOf(error)}`;
      log.warn(warning, { hint: "`server.health_port` in the configuration names another port" });
      publish({ warnings: [...state.warnings, warning] });
      return undefined;
    }
  }

  async function ensureIdentity(api: Api | undefined, signal: AbortSignal): Promise<Identity | undefined> {
    if (identity !== undefined) return await withIngress(identity, api, signal);
    const found = await loadIdentity(paths);
    if (found.kind === "identity") return await withIngress(adopt(found.identity), api, signal);
    if (api === undefined) {
      publish({ registration: { kind: "waiting-for-key" } });
      return undefined;
    }
    publish({ registration: { kind: "registering" } });
    try {
      const facts = { selectors: config.bound_endpoints.selectors };
      return adopt(await register({ api, paths, facts, host: hostFacts(), log, signal }));
    } catch (error) {
      publish({ registration: { kind: "failed", reason: reasonOf(error), hint: hintOf(error) } });
      throw error;
    }
  }

  /**
   * The Go program kept no ingress address: where it counts, ngrok is asked for it, until it has answered once. Best effort; without an
   * answer the default is dialled.
   */
  async function withIngress(known: Identity, api: Api | undefined, signal: AbortSignal): Promise<Identity> {
    if (askedForIngress || api === undefined || known.ingressEndpoint !== undefined || isIngressConfigured()) return known;
    try {
      const { ingressEndpoint } = await api.getOperator(known.operatorId, signal);
      askedForIngress = true;
      if (ingressEndpoint === undefined) return known;
      await saveIngressEndpoint(paths, ingressEndpoint);
      return adopt({ ...known, ingressEndpoint });
    } catch (error) {
      log.debug(`Cannot ask ngrok for the ingress of ${known.operatorId}: ${reasonOf(error)}`);
      return known;
    }
  }

  function adopt(found: Identity): Identity {
    const certificate = inspectCertificate(found.certPem);
    // An Identity comes from loadIdentity or register, and both have read its certificate.
    if (!certificate.ok) throw new NgrokdError("state", `The certificate "${paths.cert}" cannot be read: ${certificate.reason}`);
    const registration: Registration = { kind: "registered", operatorId: found.operatorId, certificate: certificate.value };
    identity = found;
    ingress.renew();
    const { host, port } = ingressAddress();
    publish({ registration, ingress: `${host}:${port}` });
    return found;
  }

  /** Turns what a pass found into the state that everybody reads, and tells changes. */
  function settle(result: PassResult, tookMs: number): void {
    const at = new Date();
    if (result.kind === "idle") {
      const reason = "there is no API key";
      if (state.reason !== reason) log.warn("There is no API key, so endpoints cannot be listed", { hint: "run `ngrokd set-api-key`" });
      publish({ phase: "degraded", reason, hint: "run `ngrokd set-api-key`" });
      return;
    }
    if (result.kind === "failed") {
      const reason = reasonOf(result.error);
      const hint = hintOf(result.error);
      if (!sameFailure(state.lastPass?.reason ?? "", reason)) log.warn(`The poll failed: ${reason}`, hint === "" ? {} : { hint });
      publish({ phase: "degraded", reason, hint, lastPass: { at, ok: false, tookMs, reason, hint } });
      return;
    }
    const { endpoints, problems } = result.reconciled ?? { endpoints: state.endpoints, problems: [] };
    const reason = problems.map((problem) => problem.reason).join("; ");
    const hint = problems.find((problem) => problem.hint !== "")?.hint ?? "";
    const ok = reason === "";
    if (ok && state.lastPass?.ok === false) log.info("The poll works again");
    for (const { level, text } of changeLines(state.endpoints, endpoints)) log[level](text);
    if (state.reason !== reason) for (const one of problems) log.warn(one.reason, one.hint === "" ? {} : { hint: one.hint });
    publish({ phase: ok ? "serving" : "degraded", reason, hint, lastPass: { at, ok, tookMs, reason, hint }, endpoints });
  }

  async function handle({ command, args }: Request): Promise<unknown> {
    switch (command) {
      case "status":
        return statusReply(current(), { loaded, ...facts() });
      case "list":
        return listReply(current());
      case "health":
        return healthReply(state, live(), health?.url);
      case "refresh":
        return await refreshReply();
      case "set-api-key":
        return await setApiKey(args?.[0] ?? "");
      default:
        throw new NgrokdError("usage", `This daemon does not know the command ${JSON.stringify(command)}`, {
          hint: "it knows status, list, health, refresh and set-api-key",
        });
    }
  }

  async function refreshReply(): Promise<RefreshReport> {
    await loop?.kick();
    // A list that has to be seen twice is, before the answer.
    if (lastKind === "confirm") await loop?.kick();
    const { lastPass } = state;
    if (lastPass === undefined) return { ok: false, reason: state.reason, hint: state.hint, took_ms: 0, endpoint_count: 0 };
    const { ok, reason, hint, tookMs } = lastPass;
    return { ok: ok && state.registration.kind === "registered", reason, hint, took_ms: tookMs, endpoint_count: state.endpoints.length };
  }

  async function setApiKey(text: string): Promise<string> {
    // Only what can be a key: a word that is none would be blotted out of every later line of the log.
    options.keepSecret(readApiKey(text));
    const operatorId = identity?.operatorId;
    const key = await tryAndSaveApiKey(text, { apiUrl: config.api.url, operatorId, configPath: loaded.path, fetch });
    apiKey = { ok: true, value: key };
    log.info("A new API key was set over the control socket");
    await loop?.kick();
    const saved = `ngrok accepted the key; it is saved in ${loaded.path}.`;
    const override = loaded.origins["api.key"]?.startsWith("environment")
      ? " At the next start NGROK_API_KEY of the environment comes before it."
      : "";
    const { registration } = state;
    if (registration.kind === "registered") return `${saved}${override} This machine is registered as ${registration.operatorId}.`;
    const why = registration.kind === "failed" ? `: ${registration.reason}` : "";
    return `${saved}${override} Registration has not succeeded yet${why}; the daemon goes on trying.`;
  }

  async function stop(hurry: AbortSignal): Promise<{ cut: number }> {
    publish({ phase: "stopping", reason: "", hint: "" });
    const open = [...listeners.present.values()].reduce((sum, { conns }) => sum + conns.size, 0);
    log.info(
      open === 0
        ? "Stopping"
        : `Stopping; ${counted(open, "open connection")} may take ${drainMs / 1000} s to finish (a second signal cuts them off)`,
    );
    await loop?.stop();
    // As in a pass: a name goes before its listener does.
    await clearHosts();
    const { cut } = await listeners.retireAll(drainMs, hurry);
    ingress.close();
    await health?.close();
    await control.close();
    log.info(cut === 0 ? "Stopped" : `Stopped; ${counted(cut, "connection")} had to be cut`);
    return { cut };
  }
}

const insecureWarning =
  "server.insecure_skip_verify is on: the ingress is NOT verified, and whoever is on the way can read and change every connection";

/** The range that addresses come from; in this version loopback, whatever the configuration says. */
function addressRange(text: string, log: DaemonLog): Subnet {
  const subnet = parseSubnet(text);
  if (subnet.ok && isLoopbackSubnet(subnet.value)) return subnet.value;
  log.warn(`net.subnet is "${text}", and this version serves loopback addresses only: 127.0.0.0/8 is used`);
  return loopback;
}

const hostFacts = () => ({ hostname: hostname(), os: process.platform, arch: process.arch, version });

const counted = (n: number, what: string): string => `${n} ${what}${n === 1 ? "" : "s"}`;
