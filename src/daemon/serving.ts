import type { Loaded } from "../config/load.ts";
import { ofProfile } from "../config/profiles.ts";
import type { AccountEndpoints } from "../exposure/expose.ts";
import { groundText } from "../exposure/ground.ts";
import type { Link } from "../machine/link/link.ts";
import type { Machine } from "../machine/machine.ts";
import { namesInUse, type OwnHosts, policyNow } from "../machine/own-names.ts";
import type { WantedPorts } from "../machine/wanted-ports.ts";
import type { ApiEndpoint } from "../model/endpoint.ts";
import { NgrokdError } from "../model/error.ts";
import type { Hostname } from "../model/hostname.ts";
import type { Log } from "../model/log.ts";
import type { Reconciled } from "../model/pass.ts";
import { createSerial } from "../model/serial.ts";
import type { Names } from "../names/names.ts";
import { suffixesFor } from "../names/suffixes.ts";
import type { Relay } from "../relay/relay.ts";
import { createFreshNames, type FreshNames } from "./fresh-names.ts";
import { namePolicy, namesBelow, subjectsOf, wordNow, zonesOf } from "./name-policy.ts";
import { networkBasis, networkMode } from "./network-mode.ts";
import { ownHosts } from "./own-hosts.ts";
import { reconcile, type Shown } from "./reconcile.ts";
import { createSteady } from "./steady.ts";

export interface ServingDeps {
  /** The names of all accounts; the first to list a host name has it. */
  readonly accounts: () => readonly string[];
  readonly loaded: () => Loaded;
  readonly relay: Relay;
  readonly machine: Machine;
  /** Is told the names that answer from now on. */
  readonly names: { show(shown: Shown): void; forget(host: Hostname): void };
  /** What names mean without ngrokd, and which are paused. */
  readonly meanings: Pick<Names, "look" | "standing" | "paused" | "changes">;
  /** How many files this process may have open. */
  readonly fileLimit: () => number;
  readonly link: Pick<Link, "ground" | "carry">;
  /** The ports that programs of this machine want now. */
  readonly wanted: () => Promise<WantedPorts>;
  readonly log: Log;
}

export interface Serving {
  /**
   * Takes the latest list of an account, and serves the lists of all. Without a
   * list the account is gone.
   */
  serve(account: string, listed: readonly ApiEndpoint[] | undefined): Promise<Reconciled>;
  /** The latest list of each account. */
  readonly lists: ReadonlyMap<string, readonly ApiEndpoint[]>;
  /**
   * Settles when no change is under way, and prevents others until its end is
   * known: `leave` prevents them for ever.
   */
  hold(): Promise<Hold>;
  /** See {@link FreshNames.open}. */
  open(host: Hostname): ReturnType<FreshNames["open"]>;
}

export interface Hold {
  release(): void;
  leave(): void;
}

/**
 * The most names below wildcards, and the share of open files for their
 * listeners. A program may ask for names without end.
 */
const mostNames = { atAll: 4096, shareOfFiles: 0.1 };

/** An account without a list yet serves nothing. */
export function createServing(deps: ServingDeps): Serving {
  const { accounts, relay, machine, link, names, meanings, loaded, fileLimit, log } = deps;
  const lists = new Map<string, readonly ApiEndpoint[]>();
  const own = (): OwnHosts[] => hostsOfAccounts(deps);
  const fresh = createFreshNames({
    relay,
    machine,
    most: () => Math.min(mostNames.atAll, Math.floor(fileLimit() * mostNames.shareOfFiles)),
    forget: names.forget,
    carry: link.carry,
    log,
  });
  const steadily = createSteady({
    inputs() {
      const { forward, dns } = loaded().config;
      return JSON.stringify([
        namesInUse(own()),
        groundText(link.ground),
        forward.reserved_ports,
        dns.enabled,
        accounts().map((account) => ofProfile(loaded(), account).config.names),
        meanings.changes,
        machine.asked.changes,
        networkBasis(loaded().config),
      ]);
    },
    outcome: async () =>
      JSON.stringify([await machine.stamp(), relay.present.size, ...(await deps.wanted())]),
  });

  const { hold, unlessLeft } = createHolding();
  const present = (): AccountEndpoints[] =>
    accounts().map((account) => ({ account, listed: lists.get(account) ?? none }));
  const serveAll = (): Promise<Reconciled> =>
    unlessLeft(() => {
      const all = present();
      return steadily(
        all.map(({ listed }) => listed),
        () => reconcileNow(all, deps, { own: own(), fresh }),
      );
    });
  const look = (withinMs: number): Promise<boolean> => {
    const all = present();
    return meanings.look(subjectsOf(all), wordNow(loaded(), meanings, all), withinMs);
  };

  return {
    lists,
    hold,
    open: (host) => unlessLeft(() => fresh.open(host)),
    async serve(account, listed) {
      if (listed === undefined) lists.delete(account);
      else lists.set(account, listed);
      // Not in turn: fresh names do not wait for the name servers, and neither
      // do names that are known.
      if (!(await look(promptMs))) {
        await serveAll();
        await look(patienceMs);
      }
      return await serveAll();
    },
  };
}

/** Work in turn, which can be held up, or prevented for ever. */
function createHolding(): {
  hold: Serving["hold"];
  unlessLeft<T>(work: () => Promise<T>): Promise<T>;
} {
  const inTurn = createSerial();
  let left = false;
  return {
    unlessLeft: (work) =>
      inTurn(async () => {
        if (left) throw new NgrokdError("cancelled", "Another process serves the endpoints now");
        return await work();
      }),
    hold: () =>
      new Promise((held) => {
        const until = async (released: PromiseWithResolvers<void>): Promise<void> => {
          const leave = (): void => {
            left = true;
            released.resolve();
          };
          held({ release: released.resolve, leave });
          await released.promise;
        };
        void inTurn(() => until(Promise.withResolvers<void>()));
      }),
  };
}

/** How long a pass waits for the meaning of new names, at first and at all. */
const promptMs = 200;
const patienceMs = 3500;

async function reconcileNow(
  all: readonly AccountEndpoints[],
  { relay, machine, link, names, meanings, loaded, wanted, log }: ServingDeps,
  { own, fresh }: { own: readonly OwnHosts[]; fresh: FreshNames },
): Promise<Reconciled> {
  const { config, hostsPath } = loaded();
  const below = namesBelow(config, machine.asked.all);
  const ofNames = namePolicy(loaded(), meanings);
  const ofMachine = await policyNow({
    hostsPath,
    own,
    accounts: all,
    below: [...below.asked, ...below.expanded, ...ofNames.aliases.keys()],
    assignment: machine.assignment,
    reservedPorts: config.forward.reserved_ports,
    isPublicDomain: (await suffixesFor(zonesOf(all))).isDomain,
  });
  const policy = { ...ofMachine, ...ofNames };
  // A reload may change the ground during the reconcile.
  const { ground } = link;
  const network = networkMode(config, machine);
  return await reconcile(all, {
    ...(network !== undefined && { network }),
    relay,
    machine: {
      get assignment() {
        return machine.assignment;
      },
      saveAssignment: machine.saveAssignment,
      apply(shown) {
        names.show(shown);
        return machine.apply(shown);
      },
    },
    below,
    decided: (result) => fresh.settle(result, { policy, ground }),
    policy,
    wanted: await wanted(),
    link: { ground, carry: link.carry },
    log,
  });
}

/** The hosts of the accounts that have an identity. */
function hostsOfAccounts({ accounts, relay, loaded }: ServingDeps): OwnHosts[] {
  return accounts().flatMap((account) => {
    const ingress = relay.ingress(account);
    return ingress === undefined ? [] : ownHosts(ofProfile(loaded(), account), ingress);
  });
}

const none: readonly ApiEndpoint[] = [];
