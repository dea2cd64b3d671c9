import { createApi } from "../cloud/api.ts";
import type { Loaded } from "../config/loaded.ts";
import { findSocketPath } from "../config/paths.ts";
import { stateFolderOf } from "../files/state-folder.ts";
import { parseApiKey } from "../model/api-key.ts";
import type { Log } from "../model/log.ts";
import { createFetch } from "../net/fetch.ts";
import type { Net } from "../net/types.ts";
import { userAgent } from "../version.ts";
import { type Carrier, createCarrier } from "./carrier.ts";
import { openDaemonWay } from "./daemon-way.ts";
import { createEphemeral, markAccount, sweepEphemeral } from "./ephemeral.ts";
import { openOwnWay } from "./own-way.ts";
import { checkStateFolder, loadedProfile, userSettings, userStateFolder } from "./place.ts";
import type { Way } from "./reach.ts";

export interface SessionOptions {
  readonly net: Net;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly log: Log;
  /** The values of the flags of the same names. */
  readonly config: string | undefined;
  readonly profile: string | undefined;
  readonly ca: string | undefined;
  readonly ephemeral: boolean;
  /** Whether a daemon is not to be used. */
  readonly own: boolean;
  readonly socket: string | undefined;
  /** Whether many connections are expected, so that a pool pays. */
  readonly pooled: boolean;
  /** Whether other hosts are reached beside the endpoints. */
  readonly judged: boolean;
  /** See `Io`. */
  readonly stop: AbortSignal;
  readonly hurry: AbortSignal;
}

/** The way of one run of a command, and its connections. */
export interface Session {
  readonly way: Way;
  readonly carrier: Carrier;
  readonly loaded: Loaded;
  /** Ends everything; open connections are cut at once if `hurry` aborts. */
  close(hurry: AbortSignal): Promise<void>;
}

/**
 * Opens a way: by a running daemon that this user may use, or with an identity
 * of this user. Rejects with NgrokdError if there is neither, and then leaves
 * nothing behind.
 */
export async function openSession(options: SessionOptions): Promise<Session> {
  const { net, env, log, ephemeral } = options;
  const home = userStateFolder(env);
  if (ephemeral) await checkStateFolder(home);
  const run = ephemeral ? await createEphemeral(net, home) : undefined;
  try {
    const whole = await userSettings({
      env,
      file: options.config,
      ca: options.ca,
      stateFolder: run?.folder ?? home,
    });
    const daemon = await daemonWay(options);
    // The daemon has profiles of its own.
    const loaded = daemon === undefined ? loadedProfile(whole, options.profile) : whole;
    if (run !== undefined) await markAccount(run.folder, loaded);
    const { forward } = loaded.config;
    const sweeping = sweep(home, loaded, options);
    const way = daemon ?? (await ownWay(loaded, options));
    const carrier = createCarrier({
      net,
      log,
      openTimeoutMs: forward.open_timeout * 1000,
      idleMs: forward.idle_timeout * 1000,
      halfClosedMs: forward.half_close_timeout * 1000,
    });
    return {
      way,
      carrier,
      loaded,
      async close(hurry) {
        await carrier.drain(hurry);
        await way.close();
        await sweeping;
        run?.close();
      },
    };
  } catch (error) {
    await run?.abandon().catch(() => undefined);
    throw error;
  }
}

async function daemonWay(options: SessionOptions): Promise<Way | undefined> {
  const { net, env, log, ephemeral, own, ca, config, profile } = options;
  if (ephemeral || own || ca !== undefined) return undefined;
  const socket = await findSocketPath({ flag: options.socket, config, env });
  return await openDaemonWay({ net, socket, profile, log });
}

async function ownWay(loaded: Loaded, options: SessionOptions): Promise<Way> {
  const { net, log, ephemeral, pooled, judged, stop, hurry } = options;
  await checkStateFolder(stateFolderOf(loaded.config.server));
  const { min, max, idle_timeout: seconds } = loaded.config.forward.pool;
  const pool = pooled
    ? { min: Math.min(min, max), max, idleTimeoutMs: seconds * 1000 }
    : { min: 0, max: 0, idleTimeoutMs: 0 };
  // An operator for this run alone has to be known before it can be deleted.
  const giveUp = ephemeral ? hurry : stop;
  return await openOwnWay({ net, loaded, log, ephemeral, pool, judged, giveUp });
}

/** What killed runs have left; beside the other work. */
async function sweep(
  home: string,
  loaded: Loaded,
  { net, log }: Pick<SessionOptions, "net" | "log">,
): Promise<void> {
  const { url, key: text } = loaded.config.api;
  const key = parseApiKey(text);
  if (!key.ok) return;
  const fetch = createFetch(net, loaded.proxy);
  const api = createApi({ url, key: key.value, userAgent: userAgent(), fetch });
  await sweepEphemeral(net, home, { api, loaded, log });
  fetch.discard();
}
