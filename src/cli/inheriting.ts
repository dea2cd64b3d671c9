import process from "node:process";
import { createInheritance, type LiveInheritance } from "../daemon/inheritance.ts";
import type { Starter } from "../daemon/parts.ts";
import { createEstate, type Estate } from "../handover/estate.ts";
import type { Held } from "../handover/handover.ts";
import { inheritedBy, leftText } from "../handover/inherited.ts";
import { checkProgram, environmentOfNext, ownProgram, startProgram } from "../handover/program.ts";
import { invitationIn, successorVariable } from "../handover/protocol.ts";
import { storeSocket, storeWith } from "../handover/store.ts";
import { succeed } from "../handover/succeeding.ts";
import { inPlaceVariable } from "../model/environment.ts";
import type { Net } from "../net/types.ts";
import { version } from "../version.ts";
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
  // It is for this process alone, and not for the programs that it starts.
  delete process.env[successorVariable];
  const heritage = invitation === undefined ? undefined : await succeed(net, invitation);
  if (heritage?.invitation.way === "beside")
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

/**
 * Shows the daemon that has invited this one that it could start. Returns false
 * if this is no rehearsal.
 */
export async function rehearsed({ inheritance: { heritage } }: Inherited): Promise<boolean> {
  if (heritage?.invitation.way !== "rehearsal") return false;
  await heritage.ready(version, () => undefined);
  heritage.close();
  await heritage.ended;
  return true;
}

/** The open sockets, for the program that this process becomes. */
export async function copiesOf(
  { held }: Pick<Estate, "held">,
  net: Pick<Net, "heritableCopy">,
): Promise<Held[]> {
  const copies: Held[] = [];
  for (const { key, fd } of held) {
    const copy = await net.heritableCopy(fd);
    if (copy !== undefined) copies.push({ key, fd: copy });
  }
  return copies;
}

/** The environment of a program that goes on with these descriptors. */
export const inPlaceEnvironment = ({ env }: Io, held: readonly Held[]): Record<string, string> =>
  environmentOfNext(env, { [inPlaceVariable]: leftText(held) });

/**
 * How this daemon starts the next one. Only systemd goes on with another
 * process. For all others the end of this one would be the end of the service:
 * for launchd, containers, and a terminal.
 */
export function starterFor({ env }: Io): Starter {
  return {
    way: (env.NOTIFY_SOCKET ?? "") === "" ? "rehearsal" : "beside",
    own: () => ownProgram().path,
    check: checkProgram,
    start: (program, more) =>
      startProgram(program, ownProgram().args, environmentOfNext(env, more)),
  };
}
