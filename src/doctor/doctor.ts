// The doctor examines the configuration, the daemon, the machine and ngrok, and
// gives advice. It only reads. doctor.ts examines all, why.ts follows one name.
import { dirname } from "node:path";
import type { Loaded } from "../config/load.ts";
import { ofProfile, profilesOf } from "../config/profiles.ts";
import { defaultConfig, profileNames } from "../config/schema.ts";
import { trustedFiles } from "../config/trusted-files.ts";
import type { ListItem } from "../desk/reply-schemas.ts";
import { stateFiles, stateFolderOf } from "../files/state-folder.ts";
import { exposed, type Self, self } from "../files/writers.ts";
import { trustFolder } from "../ingress/ngrok-ca.ts";
import { readAssignment } from "../machine/assignment-file.ts";
import { settingsLeft } from "../machine/undo.ts";
import { parseApiKey } from "../model/api-key.ts";
import { bindingsOf } from "../model/binding.ts";
import { isNgrokdError, reasonOf } from "../model/error.ts";
import { readable } from "../model/parsed.ts";
import { type ProxyWays, proxyWays } from "../model/proxy.ts";
import { createFetch, hostToLookUp } from "../net/fetch.ts";
import { holdersOf } from "../net/socket-holders.ts";
import { judgeRefusals } from "./access-findings.ts";
import {
  type ApiFacts,
  askApi,
  judgeApi,
  judgeClock,
  judgeKey,
  judgeOperator,
} from "./api-findings.ts";
import { attempt, type Pace, paced } from "./attempt.ts";
import { lookAtProcess, type ProcessFacts } from "./daemon-process.ts";
import { broken, brokenBy, type Finding, notChecked, ok, runWithSudo } from "./finding.ts";
import {
  accountStatusOf,
  gather,
  identityOf,
  type Local,
  localOf,
  type Place,
  profileOf,
  statusOf,
  wayToIngress,
} from "./gather.ts";
import {
  judgeEndpointTrial,
  judgeIngress,
  judgeOurCertificate,
  type Target,
  tryIngress,
} from "./ingress-findings.ts";
import {
  judgeConfiguration,
  judgeDaemon,
  judgeDns,
  judgeEnvironment,
  judgeFiles,
  judgeListener,
  judgeNetwork,
  judgePrivileges,
  judgeProxy,
  judgeSocket,
  judgeWriters,
  summed,
} from "./judge.ts";
import { judgeName, type NameFacts, resolved, useAddress } from "./name-findings.ts";
import { socketsAt } from "./sockets.ts";
import { judgeCertificate, judgeLeftovers, judgeState, lookForLeftovers } from "./state-files.ts";

export interface DoctorOptions extends Place {
  /**
   * True: every name and endpoint, one line each, without a time limit. False:
   * some seconds of them, with lines for the bad ones.
   */
  readonly all: boolean;
}

/**
 * Examines everything. The findings are in the order of repair. Changes
 * nothing, shows no secret. Rejects with NgrokdError `usage` if there is no
 * such profile.
 */
export async function examine({ all, ...place }: DoctorOptions): Promise<Finding[]> {
  const local = await gather(place);
  const { loaded } = local;
  const status = statusOf(local);
  const locals = await localsOf(local, place.profile);
  const [daemon, names, listeners, leftovers] = await Promise.all([
    status && lookAtProcess(status.pid),
    nameFindings(local, all),
    listenerFindings(local, all),
    leftoverFindings(local),
  ]);
  const findings = [
    ...(daemon?.env === undefined
      ? judgeEnvironment(place.env, "command")
      : judgeEnvironment(daemon.env, "daemon")),
    ...judgeConfiguration(local.inspection, status),
    ...judgeDaemon(local.daemon),
    ...(status === undefined ? [] : judgeNetwork(status)),
    ...(local.socketPath === undefined
      ? []
      : judgeSocket(local.socketPath, local.socketMode, loaded?.config.server.socket_read)),
    ...(status === undefined || daemon === undefined ? [] : judgeFiles(daemon, status)),
    ...(loaded === undefined
      ? []
      : judgeWriters(
          await exposed(trustedFiles(loaded.whole ?? loaded, trustFolder), ownerOf(daemon)),
        )),
    ...locals.flatMap((one) => marked(one, locals, stateFindings(one, daemon))),
    ...(loaded === undefined ? [] : [judgeProxy(waysOf(loaded, local), status)]),
    ...(await Promise.all(locals.map((one) => accountFindings(place, one, all)))).flatMap(
      (found, i) => marked(locals[i] ?? local, locals, found),
    ),
    ...(status === undefined ? [] : judgeDns(status)),
    ...names,
    ...listeners,
    ...(local.daemon.ok ? judgeRefusals(local.daemon.value.list, loaded) : []),
    ...leftovers,
  ];
  return [
    ...judgePrivileges(
      process.getuid?.(),
      findings.some(({ fix }) => fix === runWithSudo),
    ),
    ...findings,
  ];
}

/** The facts of the named profile, or of each. */
async function localsOf(local: Local, profile: string | undefined): Promise<Local[]> {
  const { loaded } = local;
  if (profile !== undefined || loaded === undefined) return [local];
  const names = profilesOf(loaded.whole ?? loaded);
  return await Promise.all(names.map((name) => localOf(local, name)));
}

/** The findings name their profile if there are several. */
function marked(local: Local, { length }: readonly Local[], findings: Finding[]): Finding[] {
  if (length < 2) return findings;
  const profile = profileOf(local);
  return findings.map((one) => ({ ...one, profile, text: `profile ${profile}: ${one.text}` }));
}

function stateFindings(local: Local, daemon: ProcessFacts | undefined): Finding[] {
  const { state } = local;
  if (state === undefined) return [notChecked("state", unusable)];
  if (!state.ok) return brokenBy("state", state);
  const trouble = accountStatusOf(local)?.certificate?.renewal_trouble?.reason ?? "";
  return [
    ...judgeState(state.value, ownersOf(daemon)),
    ...judgeCertificate(state.value.certificate, new Date(), trouble),
  ];
}

async function accountFindings(place: Place, local: Local, all: boolean): Promise<Finding[]> {
  const api = await lookAtApi(place, local);
  return [...apiFindings(api, local), ...(await ingressFindings(place, local, api, all))];
}

const unusable = "the configuration cannot be used";
const unanswered = "no daemon answers";

/** The pace of lookups and of trial connections. */
const pace = (all: boolean): Pace => ({
  atOnce: 8,
  budgetMs: all ? Number.POSITIVE_INFINITY : 5000,
});
/** The most lines for one kind of trouble. */
const lines = (all: boolean): number => (all ? Number.POSITIVE_INFINITY : 10);

/** Root, and the user of the daemon or else of this process. */
function ownersOf(daemon: ProcessFacts | undefined): number[] | undefined {
  const ours = process.getuid?.();
  return ours === undefined ? undefined : [...new Set([daemon?.uid ?? ours, 0])];
}

/** The user and the group that the files should belong to, as root may. */
function ownerOf(daemon: ProcessFacts | undefined): Self {
  return daemon?.uid === undefined ? self() : { uid: daemon.uid, gid: process.getgid?.() ?? 0 };
}

async function lookAtApi(
  { net }: Place,
  { loaded, state, daemon }: Local,
): Promise<ApiFacts | undefined> {
  if (loaded === undefined) return undefined;
  const found = state?.ok ? state.value.identity : undefined;
  return await askApi({
    url: loaded.config.api.url,
    key: parseApiKey(loaded.config.api.key),
    operatorId: found?.kind === "identity" ? found.identity.operatorId : undefined,
    fetch: createFetch(net, loaded.proxy),
    lookedUp: hostToLookUp(new URL(loaded.config.api.url), loaded.proxy),
    withBound: !daemon.ok,
  });
}

function apiFindings(api: ApiFacts | undefined, local: Local): Finding[] {
  const { loaded, state } = local;
  if (api === undefined || loaded === undefined) return [notChecked("api", unusable)];
  const elsewhere = ["registered", "registering"].includes(
    accountStatusOf(local)?.registration ?? "",
  );
  const found = state?.ok ? state.value.identity : undefined;
  const operatorId = found?.kind === "identity" ? found.identity.operatorId : undefined;
  return [
    judgeApi(api),
    judgeClock(api),
    judgeKey(parseApiKey(loaded.config.api.key), loaded.config.api.key !== "", elsewhere, api),
    state?.ok
      ? judgeOperator(operatorId, api)
      : notChecked("operator", "the state files cannot be read"),
  ];
}

/** The proxies of this command, in the form of the daemon's status. */
function waysOf({ config, proxy }: Loaded, local: Local): ProxyWays {
  const ingress = accountStatusOf(local)?.ingress_endpoint ?? config.ingressEndpoint;
  return proxyWays(config.api.url, ingress, proxy);
}

async function ingressFindings(
  { net }: Place,
  local: Local,
  api: ApiFacts | undefined,
  all: boolean,
): Promise<Finding[]> {
  const settings = await attempt("Cannot find the way to the ingress", 4000, () =>
    wayToIngress(local.loaded, local.state),
  );
  if (!settings.ok) {
    const why = isNgrokdError(settings.error, "state")
      ? notChecked("ingress", reasonOf(settings.error))
      : broken("ingress", settings.error);
    return [why, notChecked("endpoints", "that takes the ingress")];
  }
  const targets = targetsOf(local, api);
  const facts = await tryIngress(net, settings.value, targets ?? [], {
    pace: pace(all),
    identity: identityOf(local),
  });
  const ours = judgeOurCertificate(facts);
  const reached = [judgeIngress(facts), ours];
  if (targets === undefined)
    return [...reached, notChecked("endpoints", "neither a daemon nor ngrok's API lists them")];
  if (!facts.dial.ok)
    return [
      ...reached,
      ...(targets.length === 0 ? [] : [notChecked("endpoints", "the ingress cannot be reached")]),
    ];
  // One cause gives one finding, not one for each endpoint.
  if (ours.level === "failure")
    return [...reached, notChecked("endpoints", "the ingress does not accept our certificate")];
  const judged = facts.trials.map((one) => judgeEndpointTrial("endpoints", one));
  return [
    ...reached,
    ...endpointSummary(
      judged,
      targets.length,
      facts.trials.map(({ answer }) => answer.tookMs),
      all,
    ),
  ];
}

/**
 * Endpoints with an error come first, since time may not suffice for all.
 * Undefined if neither the daemon nor ngrok's API lists them.
 */
function targetsOf(local: Local, api: ApiFacts | undefined): Target[] | undefined {
  const { daemon } = local;
  if (daemon.ok) {
    const items = daemon.value.list.filter(
      ({ profile, hostname, state }) =>
        (profile === undefined || profile === profileOf(local)) &&
        hostname !== "" &&
        (state === "listening" || state === "failed"),
    );
    const troubled = (last: string): number => (last === "" ? 0 : 1);
    return items
      .sort((a, b) => troubled(b.connections.last_error) - troubled(a.connections.last_error))
      .map(({ hostname: host, port }) => ({ host, port }));
  }
  return api?.bound?.ok
    ? bindingsOf(api.bound.value).bindings.map(({ host, port }) => ({ host, port }))
    : undefined;
}

function endpointSummary(
  judged: readonly Finding[],
  total: number,
  took: readonly number[],
  all: boolean,
): Finding[] {
  if (total === 0) return [ok("endpoints", "there are none to try")];
  if (all) return [...judged];
  const middle = Math.ceil([...took].sort((a, b) => a - b)[took.length >> 1] ?? 0);
  const untried = total - judged.length;
  const note =
    untried === 0 ? "" : `; ${untried} more were not tried for lack of time (--all tries each)`;
  const well = (n: number): string =>
    `${n} of ${judged.length} opened through ngrok, typically within ${middle} ms${note}`;
  return summed("endpoints", judged, well, lines(all));
}

type Addresses = Pick<NameFacts, "ip" | "ip6">;

async function nameFindings(local: Local, all: boolean): Promise<Finding[]> {
  const { daemon, hosts, hostsPath } = local;
  const unread = hosts.ok ? [] : [broken("hosts", hosts.error)];
  const expected = new Map<string, Addresses>();
  const below = new Set<string>();
  if (daemon.ok) {
    for (const { hostname, ip, ip6, state, url } of daemon.value.list) {
      if (state === "listening") expected.set(hostname, { ip, ip6 });
      if (url.includes("*")) below.add(hostname);
    }
  } else {
    if (isNgrokdError(daemon.error, "not-running"))
      return [...unread, notChecked("names", unanswered)];
    // The daemon does not answer us, but its section can be read.
    for (const [name, found] of hosts.ok ? hosts.value.names : [])
      for (const { address: ip, ours } of found.toReversed())
        if (ours) expected.set(name, { ip, ip6: expected.get(name)?.ip });
  }
  const judged = await paced([...expected], pace(all), async ([name, ips]) => ({
    ...judgeName("names", {
      name,
      ...ips,
      resolved: await resolved(name),
      hosts,
      wildcard: below.has(name),
    }),
    about: name,
  }));
  if (judged.length === 0) return [...unread, ok("names", "there are none to look up")];
  if (all) return [...unread, ...judged];
  const untried = expected.size - judged.length;
  const note =
    untried === 0 ? "" : `; ${untried} more were not tried for lack of time (--all tries each)`;
  const well = (n: number): string => `${n} of ${judged.length} resolve to their addresses${note}`;
  const inOwnFile = judged.filter(({ fix }) => fix === useAddress);
  const others = judged.filter(({ fix }) => fix !== useAddress);
  return [
    ...unread,
    ...summed("names", others, well, lines(all)),
    ...(inOwnFile.length === 0 ? [] : [namesInOwnFile(inOwnFile.length, judged.length, hostsPath)]),
  ];
}

const namesInOwnFile = (count: number, total: number, path: string): Finding => ({
  ...ok("names", `${count} of ${total} are in "${path}", which the daemon keeps`),
  fix: useAddress,
});

async function listenerFindings({ daemon, sockets }: Local, all: boolean): Promise<Finding[]> {
  if (!daemon.ok)
    return [
      notChecked(
        "listeners",
        isNgrokdError(daemon.error, "permission") ? "this user may not ask the daemon" : unanswered,
      ),
    ];
  // These need no listener, so they do not count as endpoints that listen.
  const without: ListItem["state"][] = all ? ["draining"] : ["draining", "paused", "wildcard"];
  const list = daemon.value.list.filter(({ state }) => !without.includes(state));
  if (list.length === 0) return [];
  const failed = list.filter(({ state }) => state === "failed");
  const inodes = failed.flatMap(({ ip, port }) =>
    socketsAt(sockets ?? [], ip, port).map(({ inode }) => inode),
  );
  const holders = await holdersOf(new Set(inodes));
  const judged = list.map((item) => ({
    ...judgeListener("listeners", item, sockets, holders),
    about: item.hostname === "" ? readable(item.url) : `${item.hostname}:${item.port}`,
  }));
  return all
    ? judged
    : summed("listeners", judged, (n) => `${n} of ${judged.length} listen`, lines(all));
}

function profileFolders(loaded: Loaded | undefined): string[] {
  if (loaded === undefined) return [];
  return profileNames(loaded.config).map((name) =>
    stateFolderOf(ofProfile(loaded, name).config.server),
  );
}

async function leftoverFindings({ loaded, daemon, hosts, hostsPath }: Local): Promise<Finding[]> {
  const { config } = loaded?.whole ?? loaded ?? { config: defaultConfig };
  const stateFolder = stateFolderOf(config.server);
  const folders = [
    stateFolder,
    ...(loaded === undefined
      ? []
      : [dirname(loaded.path), dirname(loaded.config.server.client_key)]),
    ...profileFolders(loaded),
  ];
  const facts = await lookForLeftovers([...folders, dirname(hostsPath)], stateFolder, new Date());
  const dead = !daemon.ok && isNgrokdError(daemon.error, "not-running");
  const names = hosts.ok ? [...hosts.value.names] : [];
  const saved = await readAssignment(stateFiles(stateFolder).assignment).catch(() => undefined);
  const written: ReadonlyMap<string, string> = saved?.ok ? saved.value.assignment : new Map();
  // Another tool may have moved our lines out of the section.
  const isOurs = ([name, found]: (typeof names)[number]): boolean =>
    found.some(({ ours, address }) => ours || written.get(name) === address);
  const stale = dead ? names.filter(isOurs).length : 0;
  const left = dead ? await settingsLeft(stateFolder) : [];
  const places = left.map(({ kind, path }) => (kind === "aliases" ? "addresses on lo0" : path));
  return judgeLeftovers(facts, stale, hostsPath, places);
}
