import { createAccount, type EndedPass } from "../account/account.ts";
import { ingressSettings } from "../account/ingress-settings.ts";
import { createTrustKeeper } from "../account/trust-keeper.ts";
import { identityPaths, savedOperatorId } from "../cloud/registration.ts";
import type { Loaded } from "../config/loaded.ts";
import { ensureWritableFolder } from "../files/atomic.ts";
import { stateFolderOf } from "../files/state-folder.ts";
import { createIngress } from "../ingress/ingress.ts";
import type { IngressSettings } from "../ingress/ingress-dialer.ts";
import type { PoolLimits } from "../ingress/pool.ts";
import { onAbort } from "../model/abort.ts";
import { type Bindings, bindingsOf } from "../model/binding.ts";
import type { ApiEndpoint } from "../model/endpoint.ts";
import { NgrokdError } from "../model/error.ts";
import { notRegistered } from "../model/failure.ts";
import type { Log } from "../model/log.ts";
import { defaultProfile } from "../model/profile.ts";
import { createFetch } from "../net/fetch.ts";
import type { Net } from "../net/types.ts";
import { alone } from "./alone.ts";
import { deleteForGood } from "./ephemeral.ts";
import type { Way } from "./reach.ts";
import { createServable } from "./servable.ts";

export interface OwnWayOptions {
  readonly net: Net;
  /** The identity is in the folder of its `server.client_cert`. */
  readonly loaded: Loaded;
  readonly log: Log;
  /** The operator is deleted at the end. */
  readonly ephemeral: boolean;
  /** Connections to make ready in advance. */
  readonly pool: PoolLimits;
  /** Whether `served` is needed; it costs questions to the name servers. */
  readonly judged: boolean;
  /** Ends the opening. An ephemeral operator is then left to the next run. */
  readonly giveUp: AbortSignal;
}

/**
 * A way with an identity of this user: an account that polls, and connections
 * of its own to the ingress. Rejects with NgrokdError if there is no list of
 * endpoints, neither from ngrok nor from an earlier run.
 */
export async function openOwnWay(options: OwnWayOptions): Promise<Way> {
  const { net, loaded, log, ephemeral, pool, giveUp } = options;
  const folder = stateFolderOf(loaded.config.server);
  await ensureWritableFolder(folder, 0o700);
  const fetch = createFetch(net, loaded.proxy);
  const trust = await createTrustKeeper({ loaded: () => loaded, stateFolder: folder, log });
  let settings: IngressSettings | undefined;
  const lists = createLists(options, folder);
  const ingress = createIngress(
    net,
    () => {
      if (settings === undefined) throw notRegistered();
      return settings;
    },
    () => pool,
  );
  const account = createAccount({
    name: loaded.profile ?? defaultProfile,
    stateFolder: folder,
    loaded: () => loaded,
    fetch: () => fetch,
    log,
    keepSecret: () => undefined,
    serving: () => [],
    async serve(endpoints) {
      await lists.take(endpoints);
      return { endpoints: [], problems: [] };
    },
    published: () => undefined,
    changed: () => ingress.discard(),
  });
  const start = (): Promise<void> =>
    account.start({
      before: () => trust.reread(),
      async after(pass) {
        const identity = account.identity.current;
        if (identity !== undefined) settings = ingressSettings(loaded, identity, trust);
        ingress.prepare();
        first.saw(pass);
      },
    });
  const first = createFirstList(() => lists.listed);
  let gaveUp = false;
  const unhook = onAbort(giveUp, () => {
    gaveUp = true;
    first.failed(new NgrokdError("cancelled", "Stopped before there was a list of endpoints"));
  });
  const close = async (): Promise<void> => {
    await account.stop();
    ingress.close();
    fetch.discard();
    // A request that was cut off may still reach ngrok, after a search for it.
    if (ephemeral && !gaveUp) await deleteForGood(account.identity.api(), folder, log);
  };
  try {
    // Two runs that register at the same time would leave two operators.
    const isNew = (await savedOperatorId(identityPaths(loaded.config.server))) === undefined;
    if (isNew) await alone(net, folder, async () => start().then(first.usable));
    else await start().then(first.usable);
  } catch (error) {
    await close();
    throw error;
  } finally {
    unhook();
  }
  return {
    get listed() {
      return lists.listed;
    },
    get served() {
      return lists.served;
    },
    fresh: first.fresh,
    open: ingress.open,
    get identity() {
      return `the operator ${account.identity.current?.operatorId ?? "of this user"}`;
    },
    close,
  };
}

/** The latest list, and its names that endpoints may take. */
function createLists({ loaded, log, judged }: OwnWayOptions, stateFolder: string) {
  const servable = createServable({ loaded, stateFolder, log });
  const lists = {
    listed: bindingsOf([]),
    served: bindingsOf([]),
    async take(endpoints: readonly ApiEndpoint[]): Promise<void> {
      const listed = bindingsOf(endpoints);
      lists.served = judged ? await servable.of(listed) : listed;
      lists.listed = listed;
    },
  };
  return lists;
}

/** Waits for the first list, which may be that of an earlier run. */
function createFirstList(listed: () => Bindings) {
  const usable = Promise.withResolvers<void>();
  const fresh = Promise.withResolvers<Bindings>();
  // Both may be rejected before anybody waits.
  for (const { promise } of [usable, fresh]) promise.catch(() => undefined);
  const failed = (error: unknown): void => {
    usable.reject(error);
    fresh.reject(error);
  };
  return {
    usable: () => usable.promise,
    fresh: () => fresh.promise,
    failed,
    saw({ result }: EndedPass): void {
      switch (result.kind) {
        case "gone":
          return;
        case "resumed":
          usable.resolve();
          return;
        case "ok":
        case "confirm":
          usable.resolve();
          fresh.resolve(listed());
          return;
        case "idle":
        case "failed":
          failed(result.kind === "idle" ? noKey() : result.error);
      }
    },
  };
}

const noKey = (): NgrokdError =>
  new NgrokdError("config", "There is no API key, and no daemon that this user may ask", {
    hint: "set NGROK_API_KEY, or write `api.key` into ~/.config/ngrokd/config.yml",
  });
