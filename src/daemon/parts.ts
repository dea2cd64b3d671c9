import { createGuard, type Guard } from "../access/guard.ts";
import { createOwnAddresses } from "../access/own-addresses.ts";
import { ingressAddress } from "../account/ingress-address.ts";
import { ingressSettings } from "../account/ingress-settings.ts";
import { checkTrust, createTrustKeeper, type TrustKeeper } from "../account/trust-keeper.ts";
import { type Inspection, type Loaded, rulePlace } from "../config/load.ts";
import { isAlive } from "../control/alive.ts";
import { happeningsBetween } from "../desk/happenings.ts";
import type { ReloadReport } from "../desk/reply-schemas.ts";
import { together } from "../desk/together.ts";
import { carrying, ingressTrouble } from "../desk/warnings.ts";
import { groundHas } from "../exposure/ground.ts";
import { stateFolderOf } from "../files/state-folder.ts";
import type { Child } from "../handover/leaving.ts";
import type { Way } from "../handover/protocol.ts";
import { createHistory, type History } from "../history/history.ts";
import { createInspector, type Inspector } from "../inspect/inspect.ts";
import { createLink, type Link } from "../machine/link/link.ts";
import { nameServers } from "../machine/link/name-servers.ts";
import { openLinks } from "../machine/link/open-links.ts";
import { ownPrefix } from "../machine/link/own-prefix.ts";
import { createMachine, type Machine } from "../machine/machine.ts";
import { createCanary } from "../machine/resolver/canary.ts";
import { createResolver } from "../machine/resolver/resolver.ts";
import { wantedPorts } from "../machine/wanted-ports.ts";
import { hostPortText, parseHostPort } from "../model/host-port.ts";
import type { Ip } from "../model/ip.ts";
import type { State } from "../model/state.ts";
import { createNames, type Names, type NamesDeps } from "../names/names.ts";
import { askServers } from "../names/question.ts";
import type { Net } from "../net/types.ts";
import type { DaemonLog } from "../observe/daemon-log.ts";
import type { Program } from "../workers/process.ts";
import { type Accounts, createAccounts, type Member } from "./accounts.ts";
import type { LiveInheritance } from "./inheritance.ts";
import { resolvConfNow } from "./name-policy.ts";
import { createNaming, type Naming } from "./naming.ts";
import { relayOf, type SpreadRelay } from "./relay.ts";
import { inspectSettings } from "./relay-settings.ts";
import { createServing, type Serving } from "./serving.ts";
import { createSettings, type Settings } from "./settings.ts";
import { createWayOut, type WayOut } from "./way-out.ts";

export interface DaemonOptions {
  readonly net: Net;
  readonly loaded: Loaded;
  /** Reads the configuration again, in the same way as `loaded` was. */
  readonly read: () => Promise<Inspection>;
  readonly log: DaemonLog;
  /** Is given every secret that must not reach the log. */
  readonly keepSecret: (secret: string) => void;
  /** Called when a requested reload begins, with a promise of its result. */
  readonly onReload?: (end: Promise<ReloadReport>) => void;
  /** What this daemon has from the one before it; the net uses it. */
  readonly inheritance?: LiveInheritance | undefined;
  /** Starts programs that take over; without it there is no handover. */
  readonly starter?: Starter | undefined;
  /** The program of a worker; by default this one. */
  readonly worker?: Program | undefined;
  /** Called with every published state but the first. */
  readonly onState?: (state: State) => void;
}

/** How a daemon starts the program that takes over. */
export interface Starter {
  readonly way: Way;
  /** The file of this program. Throws `refused` if it is none. */
  readonly own: () => string;
  /** Rejects with `refused` for a program that may not take over. */
  readonly check: (program: string) => Promise<void>;
  readonly start: (program: string, env: Readonly<Record<string, string>>) => Child;
}

/** The parts of a daemon, in the order in which they are made. */
export interface Parts {
  readonly options: DaemonOptions;
  readonly settings: Settings;
  readonly way: WayOut;
  readonly trust: TrustKeeper;
  readonly guard: Guard;
  readonly history: History;
  readonly inspector: Inspector;
  readonly relay: SpreadRelay;
  readonly machine: Machine;
  readonly names: Names;
  readonly naming: Naming;
  readonly link: Link;
  readonly serving: Serving;
  readonly accounts: Accounts;
}

/**
 * Makes the parts; none of them changes anything outside yet. Rejects with
 * NgrokdError if the configured CA cannot be read.
 */
export async function createParts(options: DaemonOptions): Promise<Parts> {
  const { net, log, loaded, keepSecret } = options;
  const stateFolder = stateFolderOf(loaded.config.server);
  const settings = createSettings({ loaded, read: options.read, check: checkTrust, log });
  const current = (): Loaded => settings.current;
  const way = createWayOut({ net, rules: loaded.proxy, log, keepSecret });
  const trust: TrustKeeper = await createTrustKeeper({
    loaded: current,
    stateFolder,
    log,
    changed() {
      for (const member of accounts.all) tellRelay({ trust, relay, accounts }, member);
    },
  });
  const hasAddress = createOwnAddresses();
  const isOwn = (address: string): boolean =>
    hasAddress(address) || groundHas(link.ground, address);
  const guard = guardOf(net, current, isOwn);
  const history = createHistory();
  const legacy = options.inheritance?.heritage?.facts.history;
  if (legacy !== undefined) history.inherit(legacy);
  const inspector = createInspector(() => inspectSettings(current().config));
  const ground = (): Link["ground"] => link.ground;
  const relay = await relayOf(options, { loaded: current, guard, history, inspector, ground });
  const machine = machineOf(options, stateFolder);
  const link = linkOf(options, { loaded: current, stateFolder, machine });
  const naming: Naming = namingOf(options, {
    loaded: current,
    stateFolder,
    isOwn,
    link,
    machine,
    fresh: (host) => serving.open(host),
  });
  const changed = (): void => accounts.kick();
  const names = namesOf({ loaded: current, stateFolder, machine, changed, log });
  const serving = createServing({
    accounts: () => accounts.names,
    loaded: current,
    relay,
    machine,
    link,
    names: naming,
    meanings: names,
    fileLimit: () => net.descriptors.limit,
    wanted: wantedPorts,
    log,
  });
  const accounts: Accounts = createAccounts({
    loaded: current,
    fetch: way.fetch,
    relay,
    serve: serving.serve,
    log,
    keepSecret,
    inherited: (name) => options.inheritance?.list(name),
    published(account, state, before) {
      for (const happening of happeningsBetween(account, before, state)) history.tell(happening);
      options.onState?.(carriedState({ relay, accounts }));
    },
    changed: (member) => tellRelay({ trust, relay, accounts }, member),
  });
  const core = { options, settings, way, trust, guard, history, inspector };
  return { ...core, relay, machine, names, naming, link, serving, accounts };
}

function machineOf({ net, log, loaded }: DaemonOptions, stateFolder: string): Machine {
  return createMachine({
    hostsPath: loaded.hostsPath,
    stateFolder,
    socketPath: loaded.config.server.socket_path,
    owners: { isAlive: (path) => isAlive(net, path) },
    log,
  });
}

function linkOf(
  { net, log }: DaemonOptions,
  parts: { loaded: () => Loaded; stateFolder: string; machine: Machine },
): Link {
  const { loaded, stateFolder, machine } = parts;
  return createLink({
    system: () => openLinks({ net, stateFolder, log }),
    prefix: ownPrefix,
    servers: () => foreignServers(loaded()),
    saved: () => [...machine.assignment.values()].at(-1),
    log,
  });
}

/** The published state of all accounts, as far as the ingress allows. */
export function carriedState({ relay, accounts }: Pick<Parts, "relay" | "accounts">): State {
  const [first, ...others] = accounts.all;
  const carried = ({ name, board }: Member) => ({
    name,
    state: carrying(board.state, ingressTrouble(relay.trouble(name))),
  });
  return together([carried(first), ...others.map(carried)]);
}

function guardOf(net: Net, loaded: () => Loaded, isOwn: (address: string) => boolean): Guard {
  return createGuard({
    net,
    written: () => loaded().config.access.rules,
    placeOf: ({ number }) => rulePlace(loaded(), number),
    isOwn,
    wantsUsers() {
      const { send, user } = loaded().config.identity;
      return send && user;
    },
  });
}

function namesOf(
  parts: Pick<NamesDeps, "stateFolder" | "changed" | "log"> & {
    loaded: () => Loaded;
    machine: Machine;
  },
): Names {
  const { loaded, machine, ...deps } = parts;
  return createNames({
    ...deps,
    assignment: () => machine.assignment,
    ask: askServers,
    conf: () => resolvConfNow(loaded().config),
  });
}

function namingOf(
  { net, log }: DaemonOptions,
  parts: {
    loaded: () => Loaded;
    stateFolder: string;
    isOwn: (address: string) => boolean;
    link: Link;
    machine: Machine;
    fresh: Serving["open"];
  },
): Naming {
  const { loaded, stateFolder, isOwn, link, machine, fresh } = parts;
  const resolver = createResolver({
    stateFolder,
    settings() {
      const { net, dns } = loaded().config;
      return { link: net.interface_name, mayEdit: dns.manage_resolv_conf };
    },
    log,
  });
  return createNaming({
    net,
    config: () => loaded().config,
    ground: () => link.ground,
    resolver,
    canary: createCanary(resolver),
    isOwn,
    fresh,
    touch: (name) => machine.asked.touch(name),
    log,
  });
}

/**
 * Gives the relay the present credentials of an account, and publishes the
 * ingress address.
 */
export function tellRelay(
  { trust, relay, accounts }: Pick<Parts, "trust" | "relay" | "accounts">,
  member: Member,
): void {
  // A profile that a reload has removed may still end a pass.
  if (!accounts.all.includes(member)) return;
  const { account, board } = member;
  const loaded = member.loaded();
  const identity = account.identity.current;
  if (identity !== undefined)
    relay.credentials(account.name, ingressSettings(loaded, identity, trust));
  const ingress = hostPortText(ingressAddress(loaded, identity?.ingressEndpoint));
  if (ingress !== board.state.ingress) board.publish({ ingress });
}

/** Our own DNS server may be on our own interface. */
function foreignServers({ config }: Loaded): Ip[] {
  const own = parseHostPort(config.dns.listen, 53);
  return nameServers().filter((ip) => !own.ok || ip !== own.value.host);
}
