// One ngrok account: its identity, its API key, and the poll of its endpoints.

import { join } from "node:path";
import type { Fetch } from "../cloud/exchange.ts";
import { type LastList, loadLastList, saveLastList } from "../cloud/last-list.ts";
import type { Loaded } from "../config/load.ts";
import type { ApiEndpoint } from "../model/endpoint.ts";
import { hintOf, reasonOf } from "../model/error.ts";
import type { Log } from "../model/log.ts";
import type { PassResult, Reconciled } from "../model/pass.ts";
import type { Registration } from "../model/state.ts";
import { createIdentityKeeper, type IdentityKeeper } from "./keeper.ts";
import { type Loop, type Schedule, startLoop } from "./loop.ts";
import { createPass, type Pass, passEnd } from "./poll.ts";
import { createProgress, type Progress } from "./progress.ts";
import { createSelectors, type Selectors } from "./selectors.ts";

/**
 * The parts of one account, joined. Accounts share no state, so several can run
 * in one process.
 */
export interface Account {
  readonly name: string;
  readonly identity: IdentityKeeper;
  readonly selectors: Pick<Selectors, "trouble">;
  /** False if a poll hangs: only a restart of the process helps then. */
  readonly live: Progress["live"];
  readonly schedule: Schedule;
  /** Loads the last list and begins to poll. Called once; never rejects. */
  start(): Promise<void>;
  /** Asks for a pass soon; without effect before {@link start}. */
  kick(): void;
  /**
   * Asks for a pass, waits for its end, and returns how it ended. Waits for
   * {@link start}; undefined if the account stops first. Never rejects.
   */
  pass(): Promise<PassResult["kind"] | undefined>;
  /** No further passes; settles when the running one has ended. */
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
  /** Told of every secret that must not reach the log. */
  readonly keepSecret: (secret: string) => void;
  /** The keys of this account's bindings that are served now. */
  readonly serving: () => readonly string[];
  /** Makes this machine match the list. */
  readonly serve: (listed: readonly ApiEndpoint[]) => Promise<Reconciled>;
  /** Work before each pass; must not reject. */
  readonly beforePass: () => Promise<void>;
  readonly afterPass: (pass: EndedPass) => void;
  readonly published: (registration: Registration) => void;
  /** Another identity is in use; see `IdentityDeps.changed`. */
  readonly changed: () => void;
}

export interface EndedPass {
  readonly result: PassResult;
  readonly tookMs: number;
  /** The account stopped meanwhile: the result says nothing about ngrok. */
  readonly isStopping: boolean;
}

/** An account that does not poll yet; its identity can be used at once. */
export function createAccount(deps: AccountDeps): Account {
  const { name, loaded, log } = deps;
  const progress = createProgress();
  const identity = createIdentityKeeper({
    loaded,
    fetch: () => withProgress(deps.fetch(), progress),
    log,
    keepSecret: deps.keepSecret,
    publish: deps.published,
    changed: deps.changed,
  });
  const selectors = createSelectors({ loaded, log });
  const lastListPath = join(deps.stateFolder, "endpoints.json");
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
    async start() {
      const poll = pollWith(await readLastList(lastListPath, log));
      loop = startLoop({
        intervalMs: () => intervalMs(loaded(), identity.msUntilDue()),
        pass: async (signal) => passEnd(await onePass(poll, signal)),
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

  async function onePass(poll: Pass, signal: AbortSignal): Promise<PassResult> {
    const begin = performance.now();
    progress.begin();
    await deps.beforePass();
    const result = await poll(signal);
    lastKind = result.kind;
    progress.end();
    const tookMs = Math.round(performance.now() - begin);
    deps.afterPass({ result, tookMs, isStopping: signal.aborted });
    return result;
  }

  function pollWith(lastList: LastList | undefined): Pass {
    return createPass({
      api: identity.api,
      async identity(api, signal) {
        const known = await identity.ensure(api, signal);
        if (api !== undefined && known !== undefined)
          await selectors.ensure(api, known.operatorId, signal);
        return known;
      },
      replace: identity.replace,
      lastList,
      saveList: (list) => saveLastList(lastListPath, list),
      serving: deps.serving,
      reconcile: deps.serve,
      log,
    });
  }
}

/** It is only a copy: an unreadable one is told, and replaced later. */
async function readLastList(path: string, log: Log): Promise<LastList | undefined> {
  try {
    return await loadLastList(path);
  } catch (error) {
    log.warn(reasonOf(error), { hint: hintOf(error) || undefined });
    return undefined;
  }
}

/** Every answer of ngrok's counts as progress, whatever it says. */
function withProgress(fetch: Fetch, progress: Progress): Fetch {
  return async (url, init) => {
    const response = await fetch(url, init);
    progress.answered();
    return response;
  };
}

/**
 * Pure: milliseconds for which the loop may sleep: until the next poll, or until
 * the identity has work, whichever is first.
 */
function intervalMs({ config }: Loaded, msUntilDue: number): number {
  return Math.min(
    config.bound_endpoints.poll_interval * 1000,
    config.server.cert_refresh_interval * 1000,
    Math.max(100, msUntilDue),
  );
}
