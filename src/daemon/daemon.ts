import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { noIdentity } from "../account/identity-state.ts";
import { ingressAddress } from "../account/ingress-address.ts";
import { createIdentityKeeper } from "../account/keeper.ts";
import { type Loop, startLoop } from "../account/loop.ts";
import { createPass, passEnd } from "../account/poll.ts";
import { createProgress, type Progress } from "../account/progress.ts";
import { createSelectors } from "../account/selectors.ts";
import { createTrustKeeper } from "../account/trust-keeper.ts";
import { loadLastList, saveLastList } from "../cloud/last-list.ts";
import type { Inspection, Loaded } from "../config/load.ts";
import { watchFile } from "../config/watch.ts";
import type { ReloadReport } from "../control/protocol.ts";
import { startControlServer } from "../control/server.ts";
import { createCommands } from "../desk/commands.ts";
import { createHealth } from "../desk/health.ts";
import { metricFamilies } from "../desk/metrics.ts";
import { healthStatus } from "../desk/replies.ts";
import { settled } from "../desk/settle.ts";
import type { Assignment } from "../exposure/allocate.ts";
import { addressRange } from "../exposure/range.ts";
import { checkWritableFolder, ensureWritableFolder } from "../files/atomic.ts";
import { lookOf } from "../files/look.ts";
import { createIngress, type IngressSettings } from "../ingress/ingress.ts";
import type { PoolLimits } from "../ingress/pool.ts";
import { trustFolder } from "../ingress/trust.ts";
import { forgetChange, recordChange } from "../journal/journal.ts";
import { loadAssignment, saveAssignment } from "../machine/assignment-file.ts";
import { createHostsKeeper } from "../machine/hosts/keeper.ts";
import { sweepLeftovers } from "../machine/leftovers.ts";
import { forbiddenNow, namesInUse } from "../machine/own-names.ts";
import { startRepair } from "../machine/repair.ts";
import { hintOf, NgrokdError, reasonOf } from "../model/error.ts";
import { type HostPort, hostPortText } from "../model/host-port.ts";
import type { Subnet } from "../model/ip.ts";
import type { PassResult } from "../model/pass.ts";
import { proxyFor, proxySecrets, proxyText } from "../model/proxy.ts";
import { readiness, type State } from "../model/state.ts";
import { connectionRoom, descriptorLimit, turnedAway } from "../net/descriptors.ts";
import { createFetch } from "../net/fetch.ts";
import type { Net } from "../net/types.ts";
import type { DaemonLog } from "../observe/log.ts";
import { processFamilies } from "../observe/process.ts";
import { createListeners } from "../relay/doors.ts";
import type { Limits } from "../relay/limits.ts";
import { createQuietWatch } from "../relay/quiet.ts";
import { drainingStates, reconcile } from "./reconcile.ts";
import { createSettings, type Job } from "./settings.ts";
import { createSteady } from "./steady.ts";

export interface DaemonOptions {
  readonly net: Net;
  readonly loaded: Loaded;
  /** Reads the configuration again, in the same way as `loaded` was. */
  readonly read: () => Promise<Inspection>;
  readonly log: DaemonLog;
  /** Told of every secret that must not reach the log. */
  readonly keepSecret: (secret: string) => void;
  /**
   * Told of every reload that somebody asked for, as it begins, with its end.
   */
  readonly onReload?: (end: Promise<ReloadReport>) => void;
  /** Told of every published state, the first excepted. */
  readonly onState?: (state: State) => void;
}

export interface Daemon {
  readonly state: () => State;
  /** False where a poll hangs: nothing but a new start helps then. */
  readonly live: Progress["live"];
  /** Asks for a pass and waits for it. */
  readonly refresh: () => Promise<void>;
  /**
   * Reads the configuration again and takes over what has changed; undefined
   * where the daemon is stopping. Never rejects.
   */
  readonly reload: () => Promise<ReloadReport | undefined>;
  /** Where the health server listens; undefined where it could not. */
  readonly healthUrl: string | undefined;
  /** How long {@link stop} may wait for open connections. Milliseconds. */
  readonly drainMs: () => number;
  /**
   * Takes everything back, waits for open connections, and answers how many of
   * them had to be cut.
   */
  readonly stop: (hurry: AbortSignal) => Promise<{ cut: number }>;
}

/** Who may use the control socket beside root. */
const socketGroup = "ngrokd";

/**
 * Starts everything, in the order in which it can fail without harm: the
 * control socket first, since it is what makes this daemon the only one; then
 * what an earlier life left behind is cleaned; then the loop. Rejects where the
 * daemon cannot run at all; whatever can be waited out is waited out.
 */
export async function startDaemon(options: DaemonOptions): Promise<Daemon> {
  const { net, log } = options;
  const settings = createSettings({
    loaded: options.loaded,
    read: options.read,
    check: (next) => trust.check(next),
    apply,
    log,
  });
  const configured = (): Loaded["config"] => settings.current.config;
  const { hostsPath } = options.loaded;
  const stateFolder = dirname(configured().server.client_cert);
  let fetch = createFetch(net, settings.current.proxy);
  keepSecrets();
  const assignmentPath = join(stateFolder, "ip_mappings.json");
  const lastListPath = join(stateFolder, "endpoints.json");

  let state: State = {
    phase: "starting",
    reason: "the first poll of ngrok's API has not finished",
    hint: "",
    startedAt: new Date(),
    registration: { kind: "waiting-for-key" },
    ingress: configured().ingressEndpoint,
    lastPass: undefined,
    endpoints: [],
    warnings: [],
  };
  const publish = (change: Partial<State>): void => {
    state = { ...state, ...change };
    options.onState?.(state);
  };

  const trust = await createTrustKeeper({
    loaded: () => settings.current,
    stateFolder,
    changed: () => ingress.renew(),
    log,
  });
  if (configured().server.insecure_skip_verify) log.warn(insecureWarning);
  let assignment: Assignment = new Map();
  let toldOfTrouble = "";
  let lastKind: PassResult["kind"] | undefined;
  const progress = createProgress();
  // The socket answers before it is up.
  let loop: Loop | undefined;
  const up = Promise.withResolvers<Loop>();
  let range = readRange();

  const ingress = createIngress(
    net,
    (): IngressSettings => {
      if (identity.current === undefined) throw noIdentity();
      const { certPem: cert, keyPem: key } = identity.current;
      const { server, forward } = configured();
      const address = ingressPlace();
      const via = proxyFor(address, settings.current.proxy);
      const { insecure_skip_verify: insecureSkipVerify } = server;
      const { ca, caFile } = trust;
      return {
        ...address,
        cert,
        key,
        ca,
        caFile,
        insecureSkipVerify,
        resume: forward.session_resumption,
        via,
      };
    },
    poolLimits,
  );
  const identity = createIdentityKeeper({
    loaded: () => settings.current,
    fetch: () => async (url, init) => {
      const answer = await fetch(url, init);
      progress.answered();
      return answer;
    },
    log,
    keepSecret: options.keepSecret,
    publish: (registration) => publish({ registration }),
    changed: renewIngress,
  });
  const selectors = createSelectors({ loaded: () => settings.current, log });
  const drainMs = (): number => configured().forward.drain_timeout * 1000;
  const quiet = createQuietWatch({
    get idleMs() {
      return configured().forward.idle_timeout * 1000;
    },
    get halfClosedMs() {
      return configured().forward.half_close_timeout * 1000;
    },
  });
  const forwarding = {
    ingress,
    log,
    quiet,
    get openTimeoutMs() {
      return configured().forward.open_timeout * 1000;
    },
  };
  const listeners = createListeners(net, forwarding, connectionLimits);

  const hosts = createHostsKeeper({
    path: hostsPath,
    stateFolder,
    log,
    journal: {
      record: () => recordChange(stateFolder, { kind: "hosts", path: hostsPath }, log),
      forget: () => forgetChange(stateFolder, { kind: "hosts", path: hostsPath }, log),
    },
  });

  const health = createHealth(
    () => ({ host: configured().server.health_address, port: configured().server.health_port }),
    {
      live: progress.live,
      ready: () => {
        const { ready, reason } = readiness(state);
        // Ready, with a warning where the certificate is near its end.
        return { ok: ready, reason: ready ? identity.warnings().join("; ") : reason };
      },
      status: () => healthStatus(current(), progress.live()),
      metrics: async () => [
        ...metricFamilies({ ...facts(), state: current(), live: progress.live() }),
        ...(await processFamilies(descriptorLimit())),
      ],
    },
    log,
  );
  const handle = createCommands({
    state: current,
    facts,
    live: progress.live,
    healthUrl: () => health.url,
    settings,
    identity,
    pass,
    reload,
    log,
  });
  const { socket_path: socketPath } = configured().server;
  const control = await startControlServer({
    net,
    path: socketPath,
    group: socketGroup,
    log,
    handle,
  });
  try {
    await ensureWritableFolder(stateFolder).catch(waitOut);
    const saved = await loadAssignment(assignmentPath);
    assignment = saved.assignment;
    if (saved.warning !== undefined) log.warn(saved.warning);
    await sweep();
    // A crash may have left our section behind, with names that now answer
    // nowhere.
    if (await clearHosts()) log.info(`Cleaned up what an earlier run left in "${hostsPath}"`);
  } catch (error) {
    await control.close();
    throw error;
  }
  await health.start();
  const steadily = createSteady(async () => {
    const files = await Promise.all([hostsPath, assignmentPath].map(lookOf));
    const writable = await checkWritableFolder(stateFolder).then(() => true, reasonOf);
    return JSON.stringify([
      files,
      writable,
      namesInUse(settings.current, ingressPlace()),
      range,
      listeners.present.size,
    ]);
  });
  const runPass = createPass({
    api: identity.api,
    async identity(api, signal) {
      const known = await identity.ensure(api, signal);
      if (api !== undefined && known !== undefined)
        await selectors.ensure(api, known.operatorId, signal);
      return known;
    },
    replace: identity.replace,
    lastList: await loadLastList(lastListPath).catch(
      (error: unknown) => void log.warn(reasonOf(error), { hint: hintOf(error) || undefined }),
    ),
    saveList: (list) => saveLastList(lastListPath, list),
    serving: () => [...listeners.present.values()].map(({ placed }) => placed.binding.key),
    reconcile: (listed) =>
      steadily(listed, async () =>
        reconcile(listed, {
          listeners,
          assignment: () => assignment,
          saveAssignment: keepAssignment,
          advertise: hosts.advertise,
          forbidden: await forbiddenNow(settings.current, ingressPlace()),
          range,
          drainMs: drainMs(),
          log,
        }),
      ),
    log,
  });
  loop = startLoop({
    intervalMs,
    async pass(signal) {
      const started = performance.now();
      progress.begin();
      await health.start();
      await trust.refresh();
      const result = await runPass(signal);
      ingress.prepare();
      tellTrouble();
      lastKind = result.kind;
      progress.end();
      if (!signal.aborted) settle(result, Math.round(performance.now() - started));
      return passEnd(result);
    },
  });
  up.resolve(loop);
  const watch = watchFile(settings.current.path, async () => void (await settings.reload()));
  const repair = startRepair({
    hosts,
    listeners,
    file: watch,
    sweep,
    renew: renewWay,
    kick: () => void loop?.kick(),
    log,
  });
  log.info(`ngrokd is up; control socket ${socketPath}`);
  tellProxy();

  return {
    state: current,
    live: progress.live,
    drainMs,
    refresh: async () => void (await pass()),
    reload,
    get healthUrl() {
      return health.url;
    },
    stop,
  };

  async function pass(): Promise<PassResult["kind"] | undefined> {
    await (await up.promise).kick();
    return lastKind;
  }

  async function reload(): Promise<ReloadReport | undefined> {
    if (state.phase === "stopping") return undefined;
    const end = settings.reload();
    options.onReload?.(end);
    return await end;
  }

  async function apply(jobs: ReadonlySet<Job>): Promise<void> {
    const { config, proxy } = settings.current;
    keepSecrets();
    if (config.api.key !== "") options.keepSecret(config.api.key);
    if (jobs.has("log")) {
      log.setLevel(config.server.log_level);
      log.setFormat(config.server.log_format);
    }
    if (jobs.has("proxy")) {
      fetch = createFetch(net, proxy);
      tellProxy();
    }
    if (jobs.has("key")) identity.useKey(config.api.key);
    if (jobs.has("verification") && config.server.insecure_skip_verify) log.warn(insecureWarning);
    if (jobs.has("trust")) await trust.refresh();
    if (jobs.has("ingress")) renewIngress();
    if (jobs.has("range")) range = readRange();
    if (jobs.has("health")) await health.move();
    if (jobs.has("poll")) void loop?.kick();
  }

  function keepSecrets(): void {
    const { proxy } = settings.current.proxy;
    for (const secret of proxy === undefined ? [] : proxySecrets(proxy)) options.keepSecret(secret);
  }

  function tellProxy(): void {
    const { proxy } = settings.current.proxy;
    if (proxy !== undefined) log.info(`The way out is the proxy "${proxyText(proxy)}"`);
  }

  function renewIngress(): void {
    ingress.renew();
    publish({ ingress: hostPortText(ingressPlace()) });
  }

  /** What leads to ngrok, its API and its ingress, is opened anew. */
  function renewWay(): void {
    fetch.renew();
    ingress.renew();
  }

  /** The published state with what drains just now. */
  function current(): State {
    return {
      ...state,
      warnings: warnings(),
      endpoints: [...state.endpoints, ...drainingStates(listeners)],
    };
  }

  function warnings(): string[] {
    const trouble = ingressTrouble();
    return [
      configured().server.insecure_skip_verify ? insecureWarning : "",
      ...settings.warnings,
      health.trouble,
      hosts.trouble ?? "",
      ...identity.warnings(),
      ...trust.warnings,
      selectors.trouble,
      ...state.warnings,
      trouble === undefined
        ? ""
        : `${trouble.text}${trouble.hint === "" ? "" : `; ${trouble.hint}`}`,
    ].filter((text) => text !== "");
  }

  /**
   * The pool dials before anybody connects, so that a CA that is not trusted
   * shows at once.
   */
  function ingressTrouble(): { text: string; hint: string } | undefined {
    const { trouble } = ingress;
    return (
      trouble && { text: `New connections fail: ${trouble.message}`, hint: trouble.hint ?? "" }
    );
  }

  function tellTrouble(): void {
    const trouble = ingressTrouble();
    if (trouble !== undefined && trouble.text !== toldOfTrouble)
      log.warn(trouble.text, { hint: trouble.hint || undefined });
    if (trouble === undefined && toldOfTrouble !== "") log.info("The ingress can be reached again");
    toldOfTrouble = trouble?.text ?? "";
  }

  /** Each connection needs two descriptors; the pool's come on top. */
  function connectionLimits(): Limits {
    const {
      max_connections: inAll,
      max_connections_per_endpoint: perEndpoint,
      pool,
    } = configured().forward;
    const orNone = (limit: number): number => (limit === 0 ? Number.POSITIVE_INFINITY : limit);
    return {
      inAll: orNone(inAll),
      perEndpoint: orNone(perEndpoint),
      byDescriptors: connectionRoom(pool.max),
    };
  }

  /** Without endpoints nothing is kept ready. */
  function poolLimits(): PoolLimits {
    const { min, max, idle_timeout: seconds } = configured().forward.pool;
    return {
      min: listeners.present.size === 0 ? 0 : Math.min(min, max),
      max,
      idleTimeoutMs: seconds * 1000,
    };
  }

  /**
   * How long the loop may sleep: whatever comes first of the next poll and the
   * next look at the certificate.
   */
  function intervalMs(): number {
    const { bound_endpoints, server } = configured();
    return Math.min(
      bound_endpoints.poll_interval * 1000,
      server.cert_refresh_interval * 1000,
      Math.max(100, identity.msUntilDue()),
    );
  }

  /** What status and metrics tell beside the state. */
  function facts() {
    const { inAll, byDescriptors } = connectionLimits();
    const { schedule = { failures: 0, next: undefined } } = loop ?? {};
    const { renewalTrouble } = identity;
    const limit = Math.min(inAll, byDescriptors);
    return {
      runtime: net.runtime,
      ingress: ingress.stats,
      limit,
      turnedAway: turnedAway(),
      schedule,
      renewalTrouble,
    };
  }

  function ingressPlace(): HostPort {
    return ingressAddress(settings.current, identity.current?.ingressEndpoint);
  }

  function readRange(): Subnet {
    const { range, warning } = addressRange(configured().net.subnet);
    if (warning !== undefined) log.warn(warning);
    return range;
  }

  /**
   * A folder that somebody has removed is made again: what is in memory is all
   * there is then.
   */
  async function keepAssignment(next: Assignment): Promise<void> {
    assignment = next;
    if (!existsSync(stateFolder)) await ensureWritableFolder(stateFolder);
    // Nothing to write is no proof that something could be: who waits for the
    // first new name to learn of it learns of it late.
    if (!(await saveAssignment(assignmentPath, next))) await checkWritableFolder(stateFolder);
  }

  /**
   * A disk that is full or read-only may get well again, and what is saved
   * there is still good; missing rights stay missing.
   */
  function waitOut(error: unknown): void {
    const errno = error instanceof NgrokdError ? String(error.details.errno) : "";
    if (!["EROFS", "ENOSPC", "EDQUOT", "EIO"].includes(errno)) throw error;
    log.warn(reasonOf(error), {
      hint: "the daemon goes on without, and tries again with every poll",
    });
  }

  async function sweep(): Promise<void> {
    const { server } = configured();
    const files = [
      server.client_cert,
      server.client_key,
      settings.current.path,
      hostsPath,
      join(trustFolder, "ca"),
    ];
    await sweepLeftovers(net, { socket: socketPath, files }, log);
  }

  /** Takes our section out of the hosts file; answers whether there was one. */
  async function clearHosts(): Promise<boolean> {
    try {
      return await hosts.clear();
    } catch (error) {
      log.warn(reasonOf(error), { hint: hintOf(error) || undefined });
      return false;
    }
  }

  function settle(result: PassResult, tookMs: number): void {
    const { change, lines } = settled(state, result, { at: new Date(), tookMs });
    for (const { level, text, hint } of lines) log[level](text, { hint: hint || undefined });
    publish(change);
  }

  async function stop(hurry: AbortSignal): Promise<{ cut: number }> {
    publish({ phase: "stopping", reason: "", hint: "" });
    watch.close();
    const open = [...listeners.present.values()].reduce((sum, { conns }) => sum + conns.size, 0);
    log.info(
      open === 0
        ? "Stopping"
        : `Stopping; ${counted(open, "open connection")} may take ${drainMs() / 1000} s to finish (a second signal cuts them off)`,
    );
    // Called first: a pass that ends while the last look is waited for must not
    // publish another phase.
    const passed = loop?.stop();
    await repair.stop();
    await passed;
    // As in a pass: a name goes before its listener does.
    await clearHosts();
    const { cut } = await listeners.retireAll(drainMs(), hurry);
    ingress.close();
    await health.close();
    await control.close();
    log.info(cut === 0 ? "Stopped" : `Stopped; ${counted(cut, "connection")} had to be cut`);
    return { cut };
  }
}

const insecureWarning =
  "server.insecure_skip_verify is on: the ingress is NOT verified, and whoever is on the way can read and change every connection";

const counted = (n: number, what: string): string => `${n} ${what}${n === 1 ? "" : "s"}`;
