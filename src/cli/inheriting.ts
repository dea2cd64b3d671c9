import process from "node:process";
import { createInheritance, type LiveInheritance } from "../daemon/inheritance.ts";
import type { Starter } from "../daemon/parts.ts";
import { createEstate, type Estate } from "../handover/estate.ts";
import { inheritedBy } from "../handover/inherited.ts";
import { checkProgram, environmentOfNext, ownProgram, startProgram } from "../handover/program.ts";
import { invitationIn, successorVariable } from "../handover/protocol.ts";
import { storeSocket, storeWith } from "../handover/store.ts";
import { succeed } from "../handover/succeeding.ts";
import type { Io } from "./command.ts";

/** What a daemon has at its start. */
export interface Inherited {
  readonly estate: Estate;
  readonly inheritance: LiveInheritance;
  readonly problems: readonly string[];
  /**
   * From now on systemd keeps the sockets. Returns the end of that, which
   * leaves them there.
   */
  keep(): () => Promise<void>;
}

/**
 * The sockets of the daemon that has invited this process, or those from
 * systemd. Rejects with NgrokdError if the handover fails.
 */
export async function inheritEverything({ net, env }: Io): Promise<Inherited> {
  const estate = createEstate(net);
  const { held, problems } = await inheritedBy(net, env, process.pid);
  estate.inherit(held);
  const invitation = invitationIn(env[successorVariable]);
  const heritage = invitation === undefined ? undefined : await succeed(net, invitation);
  if (heritage !== undefined)
    estate.inherit(
      await heritage.descriptors().catch(async (error: unknown) => {
        await heritage.fail(error);
        throw error;
      }),
    );
  const socket = storeSocket(env);
  return {
    estate,
    inheritance: createInheritance(estate, heritage),
    problems,
    keep() {
      if (socket === undefined) return async () => undefined;
      const told = storeWith(net, socket, estate);
      return async () => {
        estate.leave();
        await told();
      };
    },
  };
}

/** Tells the daemon that has invited this one why it fails. */
export async function reportFailure<T>(
  { inheritance: { heritage } }: Inherited,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    await heritage?.fail(error);
    throw error;
  }
}

/** How this daemon starts the next one. */
export function starterFor({ env }: Io): Starter {
  return {
    way: "beside",
    own: () => ownProgram().path,
    check: checkProgram,
    start: (program, more) =>
      startProgram(program, ownProgram().args, environmentOfNext(env, more)),
  };
}
