/** The facts that doctor and why start from. */

import { existsSync } from "node:fs";
import { lstat } from "node:fs/promises";
import { resolve } from "node:path";
import { type Inspection, inspectConfig, type Loaded } from "../config/load.ts";
import { defaultHostsPath, type Env, findSocketPath } from "../config/paths.ts";
import { chosenName, ofProfile, profilesOf } from "../config/profiles.ts";
import { askDaemon } from "../control/client.ts";
import {
  type ListItem,
  listSchema,
  type ProfileStatus,
  type Status,
  statusSchema,
} from "../desk/reply-schemas.ts";
import type { PodIdentity } from "../ingress/frame.ts";
import type { IngressSettings } from "../ingress/ingress-dialer.ts";
import { createOwnIdentity } from "../ingress/own-identity.ts";
import { loadTrust, trustOptions } from "../ingress/trust.ts";
import { errnoOf } from "../model/errno.ts";
import { NgrokdError } from "../model/error.ts";
import { parseHostPort } from "../model/host-port.ts";
import { defaultProfile } from "../model/profile.ts";
import { proxyFor } from "../model/proxy.ts";
import { type ListeningSocket, listeningSockets } from "../net/proc-net.ts";
import type { Net } from "../net/types.ts";
import { type Attempt, attempt } from "./attempt.ts";
import { type HostsFacts, lookAtHosts } from "./name-findings.ts";
import { lookAtState, type StateFacts } from "./state-files.ts";

/** `config` and `socket` are the values of the flags. */
export interface Place {
  readonly net: Net;
  readonly env: Env;
  readonly config: string | undefined;
  readonly socket: string | undefined;
  /** The value of `--profile`; undefined for all. */
  readonly profile?: string | undefined;
}

/** The facts that need no network. */
export interface Local {
  readonly inspection: Attempt<Inspection>;
  /**
   * The configuration of one profile. Undefined if it is wrong or cannot be
   * read.
   */
  readonly loaded: Loaded | undefined;
  /**
   * Undefined if `--config` or NGROKD_CONFIG names a file that cannot be read.
   * The daemon on the default socket must not stand in for it then.
   */
  readonly socketPath: string | undefined;
  /** Permission bits of the socket's file; undefined without a file. */
  readonly socketMode: number | undefined;
  readonly daemon: Attempt<{ status: Status; list: ListItem[] }>;
  /** Undefined without the configuration, which names the files. */
  readonly state: Attempt<StateFacts> | undefined;
  readonly hosts: Attempt<HostsFacts>;
  readonly hostsPath: string;
  readonly sockets: readonly ListeningSocket[] | undefined;
}

/** The deadline for reading files, and for the daemon's reply. */
const localMs = 4000;

/**
 * Collects the local facts, of the first profile unless one is named. Changes
 * nothing. Rejects with NgrokdError `usage` if there is no such profile.
 */
export async function gather(place: Place): Promise<Local> {
  const { net, env, socket } = place;
  const config = await configOf(place);
  const inspection = await attempt("Cannot read the configuration", localMs, () =>
    inspectConfig({ file: config, env, flags: { "server.socket_path": socket } }),
  );
  const whole = inspection.ok ? inspection.value.loaded : undefined;
  const [usual = defaultProfile, ...more] = whole === undefined ? [] : profilesOf(whole);
  const profile = place.profile === undefined ? usual : chosenName([usual, ...more], place.profile);
  const loaded = whole && ofProfile(whole, profile);
  const named = await attempt("Cannot read the configuration", localMs, async () =>
    loaded === undefined
      ? await findSocketPath({ env, flag: socket, config })
      : loaded.config.server.socket_path,
  );
  const socketPath = named.ok ? named.value : undefined;
  const [daemon, socketMode, state, sockets] = await Promise.all([
    named.ok
      ? attempt(`Cannot ask the daemon on "${named.value}"`, localMs + 500, (signal) =>
          askBoth(net, named.value, signal),
        )
      : named,
    named.ok ? modeOf(named.value) : undefined,
    loaded &&
      attempt("Cannot read the state files", localMs, () => lookAtState(loaded.config.server)),
    listeningSockets(),
  ]);
  const hostsPath = daemon.ok
    ? daemon.value.status.hosts_path
    : (loaded?.hostsPath ?? defaultHostsPath);
  const hosts = await attempt(`Cannot read "${hostsPath}"`, localMs, () => lookAtHosts(hostsPath));
  return { inspection, loaded, socketPath, socketMode, daemon, state, hosts, hostsPath, sockets };
}

/** Pure: the name of the profile whose facts these are. */
export const profileOf = ({ loaded }: Pick<Local, "loaded">): string =>
  loaded?.profile ?? defaultProfile;

/** The same facts with those of another profile. */
export async function localOf(local: Local, profile: string): Promise<Local> {
  if (local.loaded === undefined || profileOf(local) === profile) return local;
  const loaded = ofProfile(local.loaded, profile);
  const state = await attempt("Cannot read the state files", localMs, () =>
    lookAtState(loaded.config.server),
  );
  return { ...local, loaded, state };
}

/** If only a socket is named, this is the configuration of its daemon. */
async function configOf({ net, env, config, socket }: Place): Promise<string | undefined> {
  const path = socket || env.NGROKD_SOCKET;
  if (config !== undefined || env.NGROKD_CONFIG || !path) return config;
  const answer = await attempt("Cannot ask the daemon", localMs / 4, (signal) =>
    askDaemon(net, resolve(path), { command: "status" }, { signal }),
  );
  const file = answer.ok ? statusSchema.safeParse(answer.value).data?.config_path : undefined;
  return file !== undefined && existsSync(file) ? file : undefined;
}

async function askBoth(
  net: Net,
  path: string,
  signal: AbortSignal,
): Promise<{ status: Status; list: ListItem[] }> {
  const ask = (command: string): Promise<unknown> =>
    askDaemon(net, path, { command }, { timeoutMs: localMs, signal });
  const [status, list] = await Promise.all([ask("status"), ask("list")]);
  const read = { status: statusSchema.safeParse(status), list: listSchema.safeParse(list) };
  if (read.status.success && read.list.success)
    return { status: read.status.data, list: read.list.data };
  throw new NgrokdError("protocol", "The daemon's answer cannot be understood", {
    hint: "it seems to be of another version than this program; restart it",
  });
}

async function modeOf(path: string): Promise<number | undefined> {
  try {
    return (await lstat(path)).mode & 0o777;
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return undefined;
  }
}

/** What a daemon with this configuration says of this machine. */
export const identityOf = ({ loaded }: Pick<Local, "loaded">): PodIdentity | undefined =>
  loaded && createOwnIdentity(() => loaded.config.identity)();

/**
 * The ingress settings of a daemon with this configuration. Rejects with
 * NgrokdError `state` if there are none, and with `config` if the address or
 * the CA cannot be used. The text of `state` fits behind "not checked, since".
 */
export async function wayToIngress(
  loaded: Loaded | undefined,
  state: Local["state"],
): Promise<IngressSettings> {
  const none = (why: string): NgrokdError => new NgrokdError("state", why);
  if (loaded === undefined || state === undefined) throw none("the configuration cannot be used");
  if (!state.ok) throw state.error;
  const { identity: found } = state.value;
  if (found.kind !== "identity") throw none("this machine has no certificate that could be shown");
  const { identity } = found;
  const { insecure_skip_verify: insecureSkipVerify } = loaded.config.server;
  const named = loaded.origins.ingressEndpoint === "default" ? identity.ingressEndpoint : undefined;
  const address = parseHostPort(named ?? loaded.config.ingressEndpoint, 443);
  if (!address.ok)
    throw new NgrokdError("config", `The ingress's address cannot be used: ${address.reason}`);
  const options = trustOptions(loaded.config.server);
  const trust = await loadTrust(options);
  return {
    ...address.value,
    cert: identity.certPem,
    key: identity.keyPem,
    ca: trust.ca,
    // The daemon will meet the same CA, and keep it.
    introduction: {
      accepts: (fingerprint256) => options.shown.fingerprints.includes(fingerprint256),
      keep: () => Promise.resolve(),
    },
    insecureSkipVerify,
    resume: true,
    via: proxyFor(address.value, loaded.proxy),
  };
}

/** The status of the profile whose facts these are. */
export function accountStatusOf(local: Local): AccountStatus | undefined {
  const status = statusOf(local);
  return status?.profiles?.find(({ name }) => name === profileOf(local)) ?? status;
}

type AccountStatus = Omit<ProfileStatus, "name">;

export const statusOf = ({ daemon }: Pick<Local, "daemon">): Status | undefined =>
  daemon.ok ? daemon.value.status : undefined;
