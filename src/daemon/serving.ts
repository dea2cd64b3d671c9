import type { Loaded } from "../config/load.ts";
import type { AccountEndpoints } from "../exposure/expose.ts";
import { addressRange } from "../exposure/range.ts";
import type { Machine } from "../machine/machine.ts";
import { namesInUse, policyNow } from "../machine/own-names.ts";
import type { ApiEndpoint } from "../model/endpoint.ts";
import type { Log } from "../model/log.ts";
import type { Reconciled } from "../model/pass.ts";
import { createSerial } from "../model/serial.ts";
import type { Relay } from "../relay/relay.ts";
import { networkBasis, networkMode } from "./network-mode.ts";
import { ownHosts } from "./own-hosts.ts";
import { reconcile } from "./reconcile.ts";
import { createSteady } from "./steady.ts";

export interface ServingDeps {
  /** The names of all accounts; the first to list a host name has it. */
  readonly accounts: readonly string[];
  readonly loaded: () => Loaded;
  readonly relay: Relay;
  readonly machine: Machine;
  readonly log: Log;
}

/**
 * Takes the latest list of an account, and serves the lists of all accounts.
 */
export type Serve = (account: string, listed: readonly ApiEndpoint[]) => Promise<Reconciled>;

/** An account without a list yet serves nothing. Lists are served in turn. */
export function createServing(deps: ServingDeps): Serve {
  const { accounts, relay, machine, loaded, log } = deps;
  const lists = new Map<string, readonly ApiEndpoint[]>();
  const inTurn = createSerial();
  const own = () => accounts.map((account) => ownHosts(loaded(), relay.ingress(account)));
  const steadily = createSteady(async () =>
    JSON.stringify([
      await machine.stamp(),
      namesInUse(own()),
      loaded().config.net.subnet,
      loaded().config.forward.reserved_ports,
      networkBasis(loaded().config),
      relay.present.size,
    ]),
  );

  return (account, listed) =>
    inTurn(async () => {
      lists.set(account, listed);
      const all = accounts.map((name): AccountEndpoints => {
        return { account: name, listed: lists.get(name) ?? none };
      });
      const current = loaded();
      const network = networkMode(current.config, machine);
      return await steadily(
        // The configuration may change during the work.
        [...all.map((one) => one.listed), current],
        async () =>
          await reconcile(all, {
            ...(network !== undefined && { network }),
            relay,
            machine,
            policy: await policyNow({
              hostsPath: loaded().hostsPath,
              own: own(),
              accounts: all,
              assignment: machine.assignment,
              reservedPorts: loaded().config.forward.reserved_ports,
            }),
            range: addressRange(loaded().config.net.subnet).range,
            log,
          }),
      );
    });
}

const none: readonly ApiEndpoint[] = [];
