import {
  decideGround,
  type GroundDecision,
  type GroundWish,
  loopbackGround,
  needsDevice,
} from "../../exposure/ground.ts";
import { reasonOf } from "../../model/error.ts";
import type { Ip } from "../../model/ip.ts";
import { silentLog } from "../../model/log.ts";
import type { Net } from "../../net/types.ts";
import { nameServers } from "./name-servers.ts";
import { openLinks } from "./open-links.ts";
import { ownPrefix } from "./own-prefix.ts";

/**
 * The ground that a daemon would have, as far as it can be known without the
 * right to make an interface. Changes nothing, and never rejects.
 */
export async function groundAhead({
  net,
  stateFolder,
  wish,
  saved,
}: {
  net: Pick<Net, "routing">;
  stateFolder: string;
  wish: GroundWish;
  saved: Ip | undefined;
}): Promise<GroundDecision> {
  const decide = (routes: Parameters<typeof decideGround>[1]["routes"]): GroundDecision =>
    decideGround(wish, { routes, prefix: ownPrefix(), servers: nameServers(), saved });
  if (!needsDevice(wish)) return decide([]);
  try {
    const links = await openLinks({ net, stateFolder, log: silentLog });
    try {
      const routes = await links.routes(wish.device);
      // A daemon that runs has the interface already.
      return decide(routes.filter(({ device }) => device !== wish.device));
    } finally {
      await links.close();
    }
  } catch (error) {
    return { ground: loopbackGround, remarks: [`${reasonOf(error)}; loopback is used instead`] };
  }
}
