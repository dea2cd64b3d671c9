import type { Loaded } from "../config/load.ts";
import type { AccountEndpoints } from "../exposure/expose.ts";
import { addressRange } from "../exposure/range.ts";
import type { Machine } from "../machine/machine.ts";
import { namesInUse, type OwnHosts, policyNow } from "../machine/own-names.ts";
import type { ApiEndpoint } from "../model/endpoint.ts";
import type { Log } from "../model/log.ts";
import type { Reconciled } from "../model/pass.ts";
import { createSerial } from "../model/serial.ts";
import type { Names } from "../names/names.ts";
import type { Relay } from "../relay/relay.ts";
import { namePolicy, rulesNow, subjectsOf } from "./name-policy.ts";
import { ownHosts } from "./own-hosts.ts";
import { reconcile } from "./reconcile.ts";
import { createSteady } from "./steady.ts";

export interface ServingDeps {
  /** The names of all accounts; the first to list a host name has it. */
  readonly accounts: readonly string[];
  readonly loaded: () => Loaded;
  readonly relay: Relay;
  readonly machine: Machine;
  readonly names: Pick<Names, "look" | "standing" | "paused" | "changes">;
  readonly log: Log;
}

/**
 * Takes the latest list of an account, and serves the lists of all accounts.
 */
export type Serve = (account: string, listed: readonly ApiEndpoint[]) => Promise<Reconciled>;

/** An account without a list yet serves nothing. Lists are served in turn. */
export function createServing(deps: ServingDeps): Serve {
  const { accounts, relay, machine, names, loaded } = deps;
  const lists = new Map<string, readonly ApiEndpoint[]>();
  const inTurn = createSerial();
  const own = () => accounts.map((account) => ownHosts(loaded(), relay.ingress(account)));
  const decision = createDecision(() => names.changes);
  const steadily = createSteady(async () =>
    JSON.stringify([
      await machine.stamp(),
      namesInUse(own()),
      loaded().config.net.subnet,
      loaded().config.forward.reserved_ports,
      loaded().config.names,
      decision.isPresent(),
      relay.present.size,
    ]),
  );
  const serveAll = (all: readonly AccountEndpoints[]): Promise<Reconciled> =>
    steadily(
      all.map((one) => one.listed),
      () => {
        decision.take();
        return reconcileNow(all, deps, own());
      },
    );

  return (account, listed) =>
    inTurn(async () => {
      lists.set(account, listed);
      const all = accounts.map((name): AccountEndpoints => {
        return { account: name, listed: lists.get(name) ?? none };
      });
      const look = (withinMs: number): Promise<boolean> =>
        names.look(subjectsOf(all), rulesNow(loaded().config, names), withinMs);
      // Names that are known do not wait for those that are looked up.
      if (!(await look(promptMs))) {
        await serveAll(all);
        await look(patienceMs);
      }
      return await serveAll(all);
    });
}

/**
 * Whether names are as they were when a reconcile began. An answer that comes
 * in the middle of it must lead to another one.
 */
function createDecision(changes: () => number): { take(): void; isPresent(): true | number } {
  let taken = -1;
  let doubts = 0;
  return {
    take() {
      taken = changes();
    },
    isPresent() {
      if (taken === changes()) return true;
      doubts += 1;
      return doubts;
    },
  };
}

/** How long a pass waits for the meaning of new names, at first and at all. */
const promptMs = 200;
const patienceMs = 3500;

async function reconcileNow(
  all: readonly AccountEndpoints[],
  { relay, machine, names, loaded, log }: ServingDeps,
  own: readonly OwnHosts[],
): Promise<Reconciled> {
  const { config, hostsPath } = loaded();
  const ofNames = namePolicy(config, names);
  const policy = await policyNow({
    hostsPath,
    own,
    accounts: all,
    below: ofNames.aliases.keys(),
    assignment: machine.assignment,
    reservedPorts: config.forward.reserved_ports,
  });
  return await reconcile(all, {
    relay,
    machine,
    policy: { ...policy, ...ofNames },
    range: addressRange(config.net.subnet).range,
    log,
  });
}

const none: readonly ApiEndpoint[] = [];
