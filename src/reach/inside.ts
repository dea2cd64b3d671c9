import { readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import * as z from "zod/mini";
import { isNgrokdError, reasonOf } from "../model/error.ts";
import type { HostPort } from "../model/host-port.ts";
import { addressText, type Enclosure, type Net } from "../net/types.ts";
import { nameServer as ownServer } from "./exec-names.ts";
import { type GivenProxies, proxyVariables } from "./exec-plan.ts";

/** What the process outside wants of the one in the namespaces. */
export const insidePlanSchema = z.object({
  doors: z.array(z.object({ ip: z.string(), port: z.number() })),
  /** Whether there are proxies. */
  proxies: z.boolean(),
  /** Whether there is a name server. */
  nameServer: z.boolean(),
  /** Files in the folder, and what they are put over. */
  covers: z.array(z.object({ file: z.string(), over: z.string() })),
  /** Hosts that need no proxy. */
  direct: z.array(z.string()),
  program: z.string(),
  command: z.array(z.string()),
});
export type InsidePlan = z.infer<typeof insidePlanSchema>;

/** Names the folder of the plan, for the process inside alone. */
export const insideVariable = "NGROKD_EXEC_FOLDER";
/** The descriptor of the channel to the process outside. */
export const insideChannel = 3;
export const planFile = "plan.json";

/** The messages on the channel. */
export const insideMessageSchema = z.union([
  z.object({ kind: z.literal("listeners") }),
  z.object({ kind: z.literal("ready") }),
  z.object({ kind: z.literal("failed"), code: z.string(), message: z.string() }),
]);
type InsideMessage = z.infer<typeof insideMessageSchema>;

const atOnce = 250;
/** Away from the addresses that programs use. */
const proxyHost = "127.255.255.1";

/**
 * Runs as the first program in the namespaces. It listens on the endpoints'
 * ports, hands these listeners out, and becomes the user's program. Returns
 * only if that failed, and then has told the process outside.
 */
export async function runInside(
  net: Net,
  folder: string,
  env: Record<string, string>,
): Promise<void> {
  const enclosure = await net.enclosure();
  const say = (message: InsideMessage, descriptors: readonly number[] = []): void =>
    enclosure.send(insideChannel, JSON.stringify(message), descriptors);
  try {
    const plan = insidePlanSchema.parse(JSON.parse(readFileSync(join(folder, planFile), "utf8")));
    enclosure.raiseLoopback();
    const { descriptors, proxies } = await listenInside(net, plan);
    for (let i = 0; i < descriptors.length; i += atOnce)
      say({ kind: "listeners" }, descriptors.slice(i, i + atOnce));
    coverFiles(enclosure, folder, plan);
    say({ kind: "ready" });
    // Nothing comes if the process outside has gone.
    if (enclosure.await(insideChannel) === null) return;
    const { [insideVariable]: _, ...rest } = env;
    const variables = proxies === undefined ? {} : proxyVariables(proxies, plan.direct);
    enclosure.leave(insideChannel);
    process.execve?.(plan.program, plan.command, { ...rest, ...variables });
  } catch (error) {
    const code = isNgrokdError(error) ? error.code : "state";
    say({ kind: "failed", code, message: reasonOf(error) });
  }
}

/** The sockets of the doors, the proxies and the name server, in this order. */
async function listenInside(
  net: Net,
  { doors, proxies, nameServer }: InsidePlan,
): Promise<{ descriptors: number[]; proxies: GivenProxies | undefined }> {
  const descriptors: number[] = [];
  const listen = async (at: HostPort): Promise<string> => {
    const { address, fd = -1 } = await net.listen(at, (conn) => conn.abort());
    descriptors.push(fd);
    return addressText(address);
  };
  for (const { ip, port } of doors) await listen({ host: ip, port });
  const at = { host: proxyHost, port: 0 };
  const given = proxies ? { http: await listen(at), socks: await listen(at) } : undefined;
  if (nameServer) {
    const { fd = -1 } = await net.udp(ownServer, () => undefined);
    descriptors.push(fd);
    await listen(ownServer);
  }
  return { descriptors, proxies: given };
}

function coverFiles(enclosure: Enclosure, folder: string, { covers }: InsidePlan): void {
  for (const { file, over } of covers) enclosure.cover(join(folder, file), over);
}
