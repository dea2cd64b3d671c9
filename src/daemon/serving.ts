import type { Loaded } from "../config/load.ts";
import type { AccountEndpoints } from "../exposure/expose.ts";
import { groundText } from "../exposure/ground.ts";
import type { Link } from "../machine/link/link.ts";
import type { Machine } from "../machine/machine.ts";
import { namesInUse, policyNow } from "../machine/own-names.ts";
import type { ApiEndpoint } from "../model/endpoint.ts";
import type { Log } from "../model/log.ts";
import type { Reconciled } from "../model/pass.ts";
import { createSerial } from "../model/serial.ts";
import type { Relay } from "../relay/relay.ts";
import { ownHosts } from "./own-hosts.ts";
import { reconcile } from "./reconcile.ts";
import { createSteady } from "./steady.ts";

export interface ServingDeps {
  /** The names of all accounts; the first to list a host name has it. */
  readonly accounts: readonly string[];
  readonly loaded: () => Loaded;
  readonly relay: Relay;
  readonly machine: Machine;
  readonly link: Pick<Link, "ground" | "carry">;
  readonly log: Log;
}

/**
 * Takes the latest list of an account, and serves the lists of all accounts.
 */
export type Serve = (account: string, listed: readonly ApiEndpoint[]) => Promise<Reconciled>;

/** An account without a list yet serves nothing. Lists are served in turn. */
export function createServing(deps: ServingDeps): Serve {
  const { accounts, relay, machine, link, loaded, log } = deps;
  const lists = new Map<string, readonly ApiEndpoint[]>();
  const inTurn = createSerial();
  const own = () => accounts.map((account) => ownHosts(loaded(), relay.ingress(account)));
  const steadily = createSteady({
    inputs: () =>
      JSON.stringify([
        namesInUse(own()),
        groundText(link.ground),
        loaded().config.forward.reserved_ports,
      ]),
    outcome: async () => `${await machine.stamp()} ${relay.present.size}`,
  });

  return (account, listed) =>
    inTurn(async () => {
      lists.set(account, listed);
      const all = accounts.map((name): AccountEndpoints => {
        return { account: name, listed: lists.get(name) ?? none };
      });
      return await steadily(
        all.map((one) => one.listed),
        async () =>
          await reconcile(all, {
            relay,
            machine,
            policy: await policyNow({
              hostsPath: loaded().hostsPath,
              own: own(),
              accounts: all,
              assignment: machine.assignment,
              reservedPorts: loaded().config.forward.reserved_ports,
            }),
            // A reload may change the ground during the reconcile.
            link: { ground: link.ground, carry: link.carry },
            log,
          }),
      );
    });
}

const none: readonly ApiEndpoint[] = [];
