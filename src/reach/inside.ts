import { readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import * as z from "zod/mini";
import { isNgrokdError, reasonOf } from "../model/error.ts";
import type { Conn, Enclosure, Listener, Net } from "../net/types.ts";
import { type GivenProxies, proxyVariables } from "./exec-plan.ts";

/** What the process outside wants of the one in the namespaces. */
export const insidePlanSchema = z.object({
  doors: z.array(z.object({ ip: z.string(), port: z.number() })),
  /** Whether there are proxies. */
  proxies: z.boolean(),
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
    const { listeners, proxies } = await listenInside(net, plan);
    const descriptors = listeners.map(({ fd }) => fd ?? -1);
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

async function listenInside(
  net: Net,
  { doors, proxies }: InsidePlan,
): Promise<{ listeners: Listener[]; proxies: GivenProxies | undefined }> {
  const refuse = (conn: Conn): void => conn.abort();
  const listeners: Listener[] = [];
  for (const { ip, port } of doors) listeners.push(await net.listen({ host: ip, port }, refuse));
  if (!proxies) return { listeners, proxies: undefined };
  const http = await net.listen({ host: proxyHost, port: 0 }, refuse);
  const socks = await net.listen({ host: proxyHost, port: 0 }, refuse);
  const text = ({ address }: Listener): string =>
    "host" in address ? `${address.host}:${address.port}` : address.path;
  return {
    listeners: [...listeners, http, socks],
    proxies: { http: text(http), socks: text(socks) },
  };
}

function coverFiles(enclosure: Enclosure, folder: string, { covers }: InsidePlan): void {
  for (const { file, over } of covers) enclosure.cover(join(folder, file), over);
}
