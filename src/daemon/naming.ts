import type { Config } from "../config/schema.ts";
import type { DnsFacts } from "../desk/daemon-facts.ts";
import type { Zones } from "../dns/answer.ts";
import { type DnsOptions, type DnsServer, startDns } from "../dns/dns.ts";
import { addressesOf, type NameRecord } from "../exposure/exposure.ts";
import type { Ground } from "../exposure/ground.ts";
import type { Canary } from "../machine/resolver/canary.ts";
import type { Resolver } from "../machine/resolver/resolver.ts";
import { isNgrokdError, reasonOf } from "../model/error.ts";
import { type HostPort, hostPortText, parseHostPort } from "../model/host-port.ts";
import type { Hostname } from "../model/hostname.ts";
import { rangeHas } from "../model/ip.ts";
import type { Log } from "../model/log.ts";
import { createSerial } from "../model/serial.ts";
import { holdersOfPort } from "../net/socket-holders.ts";
import type { Net } from "../net/types.ts";
import type { Shown } from "./reconcile.ts";

/** The names by DNS: the server, and the resolver that asks it. */
export interface Naming {
  /** These names answer from now on. */
  show(shown: Shown): void;
  /** A name loses its address soon. */
  forget(host: Hostname): void;
  /**
   * Makes server and resolver as the configuration and the names say. Called at
   * every pass and after a change of the configuration. Whether programs find
   * the names is checked later. Never rejects.
   */
  settle(): Promise<void>;
  /** Puts the resolver's settings back if they are gone. Never rejects. */
  guard(): Promise<void>;
  /** The network has changed, and the way of a question with it. */
  moved(): void;
  /** Takes the resolver's settings back, and then ends the server. */
  stop(): Promise<void>;
  /** Ends the server; another process answers instead. Nothing else changes. */
  leave(): void;
  /** Undefined if it is turned off. */
  readonly report: DnsFacts | undefined;
}

export interface NamingDeps {
  readonly net: Net;
  readonly config: () => Config;
  /** Where the addresses come from now. */
  readonly ground: () => Ground;
  readonly resolver: Resolver;
  readonly canary: Canary;
  /** Whether an address is this machine's. */
  readonly isOwn: (ip: string) => boolean;
  readonly fresh: DnsOptions["fresh"];
  readonly touch: (name: string) => void;
  readonly log: Log;
}

export function createNaming(deps: NamingDeps): Naming {
  const state: State = {
    ...deps,
    zones: noZones(),
    server: undefined,
    trouble: "",
    checked: "",
    stopped: false,
  };
  const inTurn = createSerial();
  // The answer to a check can take seconds, and only warnings wait for it.
  const checkInTurn = createSerial();
  let isCheckDue = false;
  const checkLater = (): void => {
    if (isCheckDue) return;
    isCheckDue = true;
    void checkInTurn(async () => {
      isCheckDue = false;
      await check(state);
    });
  };
  return {
    show(shown) {
      state.zones = zonesOf(shown, state.ground());
    },
    forget(host) {
      const { names, pointers } = state.zones;
      for (const ip of names.get(host) ?? []) pointers.delete(ip);
      names.delete(host);
    },
    settle: () =>
      inTurn(async () => {
        if (await settleNow(state)) checkLater();
      }),
    guard: () =>
      inTurn(async () => {
        if (state.server !== undefined && (await state.resolver.guard())) checkLater();
      }),
    moved: checkLater,
    stop: () =>
      inTurn(async () => {
        state.stopped = true;
        await state.resolver.want(undefined);
        closeServer(state);
      }),
    leave() {
      state.stopped = true;
      closeServer(state);
    },
    get report() {
      return reportOf(state);
    },
  };
}

interface State extends NamingDeps {
  zones: OpenZones;
  server: { readonly at: string; readonly dns: DnsServer } | undefined;
  /** Why the server does not listen; empty if it does. */
  trouble: string;
  /** What the way to the server was when the canary was last sent. */
  checked: string;
  stopped: boolean;
}

/** A fresh name is added without making all of it again. */
interface OpenZones extends Zones {
  readonly names: Map<string, readonly string[]>;
  readonly pointers: Map<string, string>;
  readonly wildcards: readonly Hostname[];
}

const noZones = (): OpenZones => ({
  names: new Map(),
  wildcards: [],
  pointers: new Map(),
  ranges: [],
  ipv6: false,
});

/** The tables are made when a question comes, and most daemons get none. */
function zonesOf({ names, asked, zones }: Shown, ground: Ground): OpenZones {
  const records: readonly NameRecord[] = [...names, ...asked];
  const isVirtual = ground.kind === "virtual";
  let byName: OpenZones["names"] | undefined;
  let byAddress: OpenZones["pointers"] | undefined;
  return {
    get names() {
      byName ??= new Map(records.map((record) => [record.host, addressesOf(record)]));
      return byName;
    },
    wildcards: zones,
    get pointers() {
      // The aliases of a host come after it, and do not hide it.
      byAddress ??= new Map(records.toReversed().map(({ host, ip }) => [ip, host]));
      return byAddress;
    },
    // The rest of 127.0.0.0/8 belongs to others.
    ranges: isVirtual ? [ground.range] : [],
    ipv6: isVirtual && ground.range6 !== undefined,
  };
}

/** Returns whether the way of a question is to be checked. */
async function settleNow(state: State): Promise<boolean> {
  const { resolver, zones, config } = state;
  const { enabled } = config().dns;
  if (state.stopped) return false;
  if (!enabled) {
    await resolver.want(undefined);
    closeServer(state);
    state.trouble = "";
    return false;
  }
  await listen(state);
  const { server } = state;
  const changed = await resolver.want(
    server === undefined || zones.wildcards.length === 0
      ? undefined
      : { server: server.dns.address, zones: zones.wildcards },
  );
  const basis = [server?.at, zones.wildcards.join(" "), resolver.way.kind].join("\n");
  // A trouble may be over, for example if a person has removed its cause.
  const isDue = changed || basis !== state.checked || state.canary.trouble !== "";
  state.checked = basis;
  return isDue;
}

/** A port that is taken never ends the daemon: the next pass tries again. */
async function listen(state: State): Promise<void> {
  const { config, log } = state;
  const { listen: at } = config().dns;
  if (state.server?.at === at) return;
  closeServer(state);
  const address = parseHostPort(at, 53);
  if (!address.ok) return;
  try {
    const dns = await startDns(address.value, optionsOf(state));
    state.server = { at, dns };
    if (state.trouble !== "") log.info(`The DNS server listens on ${at} again`);
    else log.info(`The DNS server listens on ${at}`);
    state.trouble = "";
  } catch (error) {
    const trouble = await listenTrouble(address.value, error);
    if (trouble !== state.trouble) log.warn(trouble);
    state.trouble = trouble;
  }
}

function closeServer(state: State): void {
  state.server?.dns.close();
  state.server = undefined;
}

async function listenTrouble(at: HostPort, error: unknown): Promise<string> {
  const place = hostPortText(at);
  if (!isNgrokdError(error, "address-in-use"))
    return `The DNS server cannot listen on ${place}: ${reasonOf(error)}`;
  const holders = await holdersOfPort(at);
  const who = holders.length === 0 ? "another program" : holders.join(", ");
  return `The DNS server cannot listen on ${place}: ${who} has this port; another address in dns.listen, such as 127.0.0.55:53, avoids it`;
}

function optionsOf(state: State): DnsOptions {
  const { net, config, canary } = state;
  // An interface has 127.0.0.1 only, and a program may use any other.
  const isOwn = (ip: string): boolean => ip.startsWith("127.") || state.isOwn(ip);
  return {
    net,
    zones: () => state.zones,
    canary: canary.answer,
    async fresh(host) {
      const given = await state.fresh(host);
      if (typeof given !== "string") {
        state.zones.names.set(host, given);
        for (const ip of given) state.zones.pointers.set(ip, host);
      }
      return given;
    },
    touch: state.touch,
    upstream: () => serversOf(config().dns.upstream, config().dns.listen),
    isOwn,
    mayAsk: (ip) => isOwn(ip) || config().dns.clients.some((network) => rangeHas(network, ip)),
  };
}

/** The server itself would ask itself for ever. */
const serversOf = (texts: readonly string[], self: string): HostPort[] =>
  texts.flatMap((text) => {
    const server = parseHostPort(text, 53);
    return server.ok && text !== self ? [server.value] : [];
  });

/** Asks the machine's own resolver for a name that only we know. */
async function check(state: State): Promise<void> {
  const { server, zones, canary, resolver, log } = state;
  const [zone] = zones.wildcards;
  if (server === undefined || zone === undefined || state.stopped) return canary.rest();
  const before = canary.trouble;
  await canary.check(zone, { way: resolver.way, server: server.dns.address });
  // The settings may be gone by now.
  if (state.stopped || canary.trouble === before) return;
  if (canary.trouble === "") log.info("This machine's resolver finds the names below wildcards");
  else log.warn(canary.trouble);
}

function reportOf(state: State): DnsFacts | undefined {
  const { server, zones, resolver, canary, trouble, config } = state;
  if (!config().dns.enabled) return undefined;
  return {
    listening: server === undefined ? "" : hostPortText(server.dns.address),
    way: resolver.way.text,
    zones: zones.wildcards,
    questions: server?.dns.stats.questions ?? 0,
    refused: server?.dns.stats.refused ?? 0,
    warnings: [trouble, resolver.trouble, canary.trouble].filter((text) => text !== ""),
  };
}
