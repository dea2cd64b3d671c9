/**
 * account/ has all that concerns one ngrok account: its identity, its
 * selectors, and the poll of its endpoints. Accounts share no state, so several
 * can run in one process.
 */
import type { Api } from "../cloud/api.ts";
import type { Fetch } from "../cloud/exchange.ts";
import { type LastList, loadLastList, saveLastList } from "../cloud/last-list.ts";
import type { Identity } from "../cloud/registration.ts";
import type { Loaded } from "../config/load.ts";
import { stateFiles } from "../files/state-folder.ts";
import type { ApiEndpoint } from "../model/endpoint.ts";
import { hintOf, reasonOf } from "../model/error.ts";
import type { Log } from "../model/log.ts";
import type { PassResult, Reconciled, Resumption } from "../model/pass.ts";
import type { Registration } from "../model/state.ts";
import { createIdentityKeeper, type IdentityKeeper } from "./keeper.ts";
import { type Loop, type Schedule, startLoop } from "./loop.ts";
import { createPass, type Pass, passEnd } from "./poll.ts";
import { createProgress, type Progress } from "./progress.ts";
import { createSelectors, type Selectors } from "./selectors.ts";

export interface Account {
  readonly name: string;
  readonly identity: IdentityKeeper;
  readonly selectors: Pick<Selectors, "trouble">;
  /** False if a poll hangs: only a restart of the process helps then. */
  readonly live: Progress["live"];
  readonly schedule: Schedule;
  /**
   * Serves the last list of an earlier run, then begins to poll. Called once;
   * never rejects.
   */
  start(hooks: PassHooks): Promise<void>;
  /** Asks for a pass soon; without effect before {@link start}. */
  kick(): void;
  /**
   * Asks for a pass, waits for its end, and returns how it ended. Before {@link
   * start} it also waits for that. Undefined if the account stops first. Never
   * rejects.
   */
  pass(): Promise<PassResult["kind"] | undefined>;
  /** Prevents further passes. Settles when the running one has ended. */
  stop(): Promise<void>;
}

export interface AccountDeps {
  readonly name: string;
  /** The folder of this account's last list; exists. */
  readonly stateFolder: string;
  /** The settings in effect. */
  readonly loaded: () => Loaded;
  readonly fetch: () => Fetch;
  readonly log: Log;
  /** Called with every secret that must not reach the log. */
  readonly keepSecret: (secret: string) => void;
  /** The list of the daemon before this one, instead of the file's. */
  readonly inherited?: LastList | undefined;
  /** The keys of this account's bindings that are served now. */
  readonly serving: () => readonly string[];
  /** Makes this machine match the list. */
  readonly serve: (listed: readonly ApiEndpoint[]) => Promise<Reconciled>;
  readonly published: (registration: Registration) => void;
  /** Called when another identity is in use; see `IdentityDeps.changed`. */
  readonly changed: (identity: Identity) => void;
}

/** The work around each pass. */
export interface PassHooks {
  /** If it rejects, the pass has failed without a poll. */
  readonly before: () => Promise<void>;
  /** The next pass waits for it. Must not reject. */
  readonly after: (pass: EndedPass) => Promise<void>;
}

export interface EndedPass {
  /** A resumption only comes before the first pass. */
  readonly result: PassResult | Resumption;
  readonly tookMs: number;
  /**
   * The account has stopped meanwhile, so the result says nothing about ngrok.
   */
  readonly isStopping: boolean;
}

/** An account that does not poll yet; its identity can be used at once. */
export function createAccount(deps: AccountDeps): Account {
  const { name, loaded, log } = deps;
  const progress = createProgress();
  const identity: IdentityKeeper = createIdentityKeeper({
    loaded,
    fetch: () => withProgress(deps.fetch(), progress),
    log,
    keepSecret: deps.keepSecret,
    publish: deps.published,
    changed() {
      if (identity.current !== undefined) deps.changed(identity.current);
    },
  });
  const selectors = createSelectors({ loaded, log });
  const lastListPath = stateFiles(deps.stateFolder).lastList;
  const started = Promise.withResolvers<Loop>();
  let loop: Loop | undefined;
  let lastKind: PassResult["kind"] | undefined;

  return {
    name,
    identity,
    selectors,
    live: progress.live,
    get schedule() {
      return loop?.schedule ?? { failures: 0, next: undefined };
    },
    async start(hooks) {
      const lastList = deps.inherited ?? (await lastListIn(lastListPath, log));
      await resume(lastList, { identity, hooks, serve: deps.serve, log });
      const poll = createPass({
        ...polling(identity, selectors),
        lastList,
        saveList: (list) => saveLastList(lastListPath, list),
        serving: deps.serving,
        reconcile: deps.serve,
        log,
      });
      loop = startLoop({
        intervalMs: () => intervalMs(loaded(), identity.msUntilDue()),
        async pass(signal) {
          const result = await onePass({ poll, progress, hooks, signal });
          lastKind = result.kind;
          return passEnd(result);
        },
      });
      started.resolve(loop);
    },
    kick: () => void loop?.kick(),
    async pass() {
      await (await started.promise).kick();
      return lastKind;
    },
    stop: async () => await loop?.stop(),
  };
}

/** The part of a pass that asks ngrok. */
function polling(identity: IdentityKeeper, selectors: Selectors) {
  return {
    api: identity.api,
    async identity(api: Api | undefined, signal: AbortSignal) {
      const known = await identity.ensure(api, signal);
      if (api !== undefined && known !== undefined)
        await selectors.ensure(api, known.operatorId, signal);
      return known;
    },
    replace: identity.replace,
  };
}

async function onePass({
  poll,
  progress,
  hooks,
  signal,
}: {
  readonly poll: Pass;
  readonly progress: Progress;
  readonly hooks: PassHooks;
  readonly signal: AbortSignal;
}): Promise<PassResult> {
  const begin = performance.now();
  progress.begin();
  // A failure before the poll ends this pass, but not the loop.
  const result = await hooks.before().then(
    () => poll(signal),
    (error: unknown): PassResult => ({ kind: "failed", error }),
  );
  progress.end();
  const tookMs = Math.round(performance.now() - begin);
  await hooks.after({ result, tookMs, isStopping: signal.aborted });
  return result;
}

/**
 * Serves the endpoints of the last run at once, since a reply from ngrok may
 * take long. They must belong to the operator that this machine is now. Never
 * rejects: the first pass reports the same fault.
 */
async function resume(
  lastList: LastList | undefined,
  {
    identity,
    hooks,
    serve,
    log,
  }: Pick<AccountDeps, "serve" | "log"> & {
    readonly identity: IdentityKeeper;
    readonly hooks: PassHooks;
  },
): Promise<void> {
  if (lastList === undefined) return;
  const begin = performance.now();
  try {
    const known = await identity.ensure(undefined, new AbortController().signal);
    if (known?.operatorId !== lastList.operatorId) return;
    await hooks.before();
    const reconciled = await serve(lastList.endpoints);
    const tookMs = Math.round(performance.now() - begin);
    await hooks.after({ result: { kind: "resumed", reconciled }, tookMs, isStopping: false });
  } catch (error) {
    log.debug(`Cannot serve the endpoints of the last run: ${reasonOf(error)}`);
  }
}

/**
 * The file is only a copy. If it is unreadable, that is logged, and the file is
 * replaced later.
 */
async function lastListIn(path: string, log: Log): Promise<LastList | undefined> {
  try {
    return await loadLastList(path);
  } catch (error) {
    log.warn(reasonOf(error), { hint: hintOf(error) || undefined });
    return undefined;
  }
}

/** Every reply from ngrok counts as progress, whatever its content. */
function withProgress(fetch: Fetch, progress: Progress): Fetch {
  return async (url, init) => {
    const response = await fetch(url, init);
    progress.answered();
    return response;
  };
}

/**
 * Pure: milliseconds for which the loop may sleep: until the next poll, or
 * until the identity has work, whichever is first.
 */
function intervalMs({ config }: Loaded, msUntilDue: number): number {
  return Math.min(
    config.bound_endpoints.poll_interval * 1000,
    config.server.cert_refresh_interval * 1000,
    Math.max(100, msUntilDue),
  );
}
