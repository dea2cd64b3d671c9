import { join } from "node:path";
import { defaultAccount } from "../account/account-name.ts";
import { ingressAddress } from "../account/ingress-address.ts";
import { createIdentityKeeper } from "../account/keeper.ts";
import { type Loop, startLoop } from "../account/loop.ts";
import { createPass, passEnd } from "../account/poll.ts";
import { createProgress, type Progress } from "../account/progress.ts";
import { createSelectors } from "../account/selectors.ts";
import { createTrustKeeper } from "../account/trust-keeper.ts";
import { loadLastList, saveLastList } from "../cloud/last-list.ts";
import { watchFile } from "../config/file-watch.ts";
import type { Inspection, Loaded } from "../config/load.ts";
import { startControlServer } from "../control/server.ts";
import { sweepSockets } from "../control/stale-sockets.ts";
import { createDispatch } from "../desk/dispatch.ts";
import { createHealth } from "../desk/health-life.ts";
import { metricFamilies } from "../desk/metrics.ts";
import { healthStatus } from "../desk/replies.ts";
import type { ReloadReport } from "../desk/reply-schemas.ts";
import { settled } from "../desk/settle.ts";
import { addressRange } from "../exposure/range.ts";
import { stateFiles, stateFolderOf } from "../files/state-folder.ts";
import { trustFolder } from "../ingress/trust.ts";
import { sweepLeftovers } from "../machine/leftovers.ts";
import { createMachine } from "../machine/machine.ts";
import { startRepair } from "../machine/repair.ts";
import { hintOf, reasonOf } from "../model/error.ts";
import { type HostPort, hostPortText } from "../model/host-port.ts";
import type { PassResult } from "../model/pass.ts";
import { proxySecrets, proxyText } from "../model/proxy.ts";
import { readiness, type State } from "../model/state.ts";
import { connectionRoom, descriptorLimit, turnedAway } from "../net/descriptors.ts";
import { createFetch } from "../net/fetch.ts";
import type { Net } from "../net/types.ts";
import type { DaemonLog } from "../observe/daemon-log.ts";
import { processFamilies } from "../observe/process-metrics.ts";
import { createRelay } from "../relay/relay.ts";
import { drainingStates } from "./endpoint-states.ts";
import type { Job } from "./jobs.ts";
import { ingressSettings, relayLimits } from "./relay-settings.ts";
import { createServing } from "./serving.ts";
import { createSettings } from "./settings.ts";

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
    log,
  });
  const configured = (): Loaded["config"] => settings.current.config;
  const { hostsPath } = options.loaded;
  const stateFolder = stateFolderOf(configured().server);
  let fetch = createFetch(net, settings.current.proxy);
  keepSecrets();
  const lastListPath = stateFiles(stateFolder).lastList;

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
    changed: renewIngress,
    log,
  });
  if (configured().server.insecure_skip_verify) log.warn(insecureWarning);
  let toldOfTrouble = "";
  let lastKind: PassResult["kind"] | undefined;
  const progress = createProgress();
  // The socket answers before it is up.
  let loop: Loop | undefined;
  const up = Promise.withResolvers<Loop>();
  warnOfRange();

  const relay = createRelay({
    net,
    log,
    accounts: [defaultAccount],
    limits: relayLimits(configured()),
    room: connectionRoom,
  });
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
  const machine = createMachine({ hostsPath, stateFolder, log });

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
  const handle = createDispatch({
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
    await machine.prepare();
    await sweep();
    // A crash may have left our section behind, with names that now answer
    // nowhere.
    if (await machine.clear()) log.info(`Cleaned up what an earlier run left in "${hostsPath}"`);
  } catch (error) {
    await control.close();
    throw error;
  }
  await health.start();
  const serve = createServing({
    accounts: [defaultAccount],
    loaded: () => settings.current,
    relay,
    machine,
    log,
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
    serving: () =>
      [...relay.present.values()].flatMap(({ routes }) =>
        routes.map(({ target }) => target.binding.key),
      ),
    reconcile: (listed) => serve(defaultAccount, listed),
    log,
  });
  loop = startLoop({
    intervalMs,
    async pass(signal) {
      const started = performance.now();
      progress.begin();
      await health.start();
      await trust.renew();
      pushCredentials();
      const result = await runPass(signal);
      relay.prepare();
      tellTrouble();
      lastKind = result.kind;
      progress.end();
      if (!signal.aborted) settle(result, Math.round(performance.now() - started));
      return passEnd(result);
    },
  });
  up.resolve(loop);
  settings.follow(apply);
  const watch = watchFile(settings.current.path, async () => void (await settings.reload()));
  const repair = startRepair({
    names: machine,
    doors: relay,
    checkConfig: watch.check,
    sweep,
    discard: discardWay,
    kick: () => void loop?.kick(),
    log,
  });
  log.info(`ngrokd is up; control socket ${socketPath}`);
  tellProxy();

  return {
    state: current,
    live: progress.live,
    drainMs: () => relayLimits(configured()).drainMs,
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
    relay.limits(relayLimits(configured()));
    if (jobs.has("key")) identity.useKey(config.api.key);
    if (jobs.has("verification") && config.server.insecure_skip_verify) log.warn(insecureWarning);
    if (jobs.has("trust")) await trust.renew();
    if (jobs.has("ingress")) {
      relay.discardReady();
      renewIngress();
    }
    if (jobs.has("range")) warnOfRange();
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
    pushCredentials();
    publish({ ingress: hostPortText(ingressPlace()) });
  }

  function pushCredentials(): void {
    if (identity.current === undefined) return;
    relay.credentials(defaultAccount, ingressSettings(settings.current, identity.current, trust));
  }

  /** Discards all connections to ngrok: those of its API and its ingress. */
  function discardWay(): void {
    fetch.renew();
    relay.discardReady();
  }

  /** The published state with what drains just now. */
  function current(): State {
    return {
      ...state,
      warnings: warnings(),
      endpoints: [...state.endpoints, ...drainingStates(relay.draining)],
    };
  }

  function warnings(): string[] {
    const trouble = ingressTrouble();
    return [
      configured().server.insecure_skip_verify ? insecureWarning : "",
      ...settings.warnings,
      health.trouble,
      machine.trouble ?? "",
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
    const trouble = relay.trouble(defaultAccount);
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
    const { limit, ingress } = relay.stats();
    const { schedule = { failures: 0, next: undefined } } = loop ?? {};
    const { renewalTrouble } = identity;
    return {
      runtime: net.runtime,
      ingress,
      limit,
      turnedAway: turnedAway(),
      schedule,
      renewalTrouble,
    };
  }

  function ingressPlace(): HostPort {
    return ingressAddress(settings.current, identity.current?.ingressEndpoint);
  }

  function warnOfRange(): void {
    const { warning } = addressRange(configured().net.subnet);
    if (warning !== undefined) log.warn(warning);
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
    await sweepLeftovers({ files, sweepSockets: () => sweepSockets(net, socketPath) }, log);
  }

  function settle(result: PassResult, tookMs: number): void {
    const { change, lines } = settled(state, result, { at: new Date(), tookMs });
    for (const { level, text, hint } of lines) log[level](text, { hint: hint || undefined });
    publish(change);
  }

  async function stop(hurry: AbortSignal): Promise<{ cut: number }> {
    publish({ phase: "stopping", reason: "", hint: "" });
    watch.close();
    const { open } = relay.stats();
    log.info(
      open === 0
        ? "Stopping"
        : `Stopping; ${counted(open, "open connection")} may take ${relayLimits(configured()).drainMs / 1000} s to finish (a second signal cuts them off)`,
    );
    // Called first: a pass that ends while the last look is waited for must not
    // publish another phase.
    const passed = loop?.stop();
    await repair.stop();
    await passed;
    // As in a pass: a name goes before its listener does.
    await machine.clear();
    const { cut } = await relay.drain(hurry);
    await health.close();
    await control.close();
    log.info(cut === 0 ? "Stopped" : `Stopped; ${counted(cut, "connection")} had to be cut`);
    return { cut };
  }
}

const insecureWarning =
  "server.insecure_skip_verify is on: the ingress is NOT verified, and whoever is on the way can read and change every connection";

const counted = (n: number, what: string): string => `${n} ${what}${n === 1 ? "" : "s"}`;
