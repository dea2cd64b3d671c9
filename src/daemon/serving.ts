import type { Loaded } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
import { type AccountEndpoints, expandedNames, type NamesBelow } from "../exposure/expose.ts";
import { groundText } from "../exposure/ground.ts";
import type { Link } from "../machine/link/link.ts";
import type { Machine } from "../machine/machine.ts";
import { namesInUse, policyNow } from "../machine/own-names.ts";
import type { ApiEndpoint } from "../model/endpoint.ts";
import type { Hostname } from "../model/hostname.ts";
import type { Log } from "../model/log.ts";
import type { Reconciled } from "../model/pass.ts";
import { createSerial } from "../model/serial.ts";
import type { Relay } from "../relay/relay.ts";
import { createFreshNames, type FreshNames } from "./fresh-names.ts";
import { networkBasis, networkMode } from "./network-mode.ts";
import { ownHosts } from "./own-hosts.ts";
import { reconcile, type Shown } from "./reconcile.ts";
import { createSteady } from "./steady.ts";

export interface ServingDeps {
  /** The names of all accounts; the first to list a host name has it. */
  readonly accounts: readonly string[];
  readonly loaded: () => Loaded;
  readonly relay: Relay;
  readonly machine: Machine;
  /** Is told the names that answer from now on. */
  readonly names: { show(shown: Shown): void; forget(host: Hostname): void };
  /** How many files this process may have open. */
  readonly fileLimit: () => number;
  readonly link: Pick<Link, "ground" | "carry">;
  readonly log: Log;
}

export interface Serving {
  /** Takes the latest list of an account, and serves the lists of all. */
  serve(account: string, listed: readonly ApiEndpoint[]): Promise<Reconciled>;
  /** See {@link FreshNames.open}. */
  open(host: Hostname): ReturnType<FreshNames["open"]>;
}

/**
 * The most names below wildcards, and the share of open files for their
 * listeners. A program may ask for names without end.
 */
const mostNames = { atAll: 4096, shareOfFiles: 0.1 };

/** An account without a list yet serves nothing. Lists are served in turn. */
export function createServing(deps: ServingDeps): Serving {
  const { accounts, relay, machine, link, names, loaded, fileLimit, log } = deps;
  const lists = new Map<string, readonly ApiEndpoint[]>();
  const inTurn = createSerial();
  const own = () => accounts.map((account) => ownHosts(loaded(), relay.ingress(account)));
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
      const { forward, dns, names } = loaded().config;
      return JSON.stringify([
        namesInUse(own()),
        groundText(link.ground),
        forward.reserved_ports,
        dns.enabled,
        names.expand,
        machine.asked.changes,
        networkBasis(loaded().config),
      ]);
    },
    outcome: async () => `${await machine.stamp()} ${relay.present.size}`,
  });

  return {
    open: (host) => inTurn(() => fresh.open(host)),
    serve: (account, listed) =>
      inTurn(async () => {
        lists.set(account, listed);
        const all = accounts.map((name): AccountEndpoints => {
          return { account: name, listed: lists.get(name) ?? none };
        });
        return await steadily(
          all.map((one) => one.listed),
          () => reconcileNow(all),
        );
      }),
  };

  async function reconcileNow(all: readonly AccountEndpoints[]): Promise<Reconciled> {
    const { config, hostsPath } = loaded();
    const below = namesBelow(config, machine.asked.all);
    const policy = await policyNow({
      hostsPath,
      own: own(),
      accounts: all,
      below: [...below.asked, ...below.expanded],
      assignment: machine.assignment,
      reservedPorts: config.forward.reserved_ports,
    });
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
      link: { ground, carry: link.carry },
      log,
    });
  }
}

/** Pure: the names that wildcards have with this configuration. */
export function namesBelow({ dns, names }: Config, asked: ReadonlySet<Hostname>): NamesBelow {
  return {
    onDemand: dns.enabled,
    asked: dns.enabled ? asked : new Set(),
    expanded: expandedNames(names.expand),
  };
}

const none: readonly ApiEndpoint[] = [];
