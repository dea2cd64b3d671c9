import { inPlaceVariable, leftDescriptors, passedDescriptors } from "../model/environment.ts";
import type { Net } from "../net/types.ts";
import { activatedKeyOf, type Held, type Key } from "./handover.ts";

type Env = Readonly<Record<string, string | undefined>>;

/** A descriptor with the name that systemd has for it. */
export interface Named {
  readonly name: string;
  readonly fd: number;
}

/** Pure: the descriptors that systemd has passed to this process. */
export function passedIn(env: Env, pid: number): Named[] {
  const names = (env.LISTEN_FDNAMES ?? "").split(":");
  return passedDescriptors(env, pid).map((fd, i) => ({ name: names[i] ?? "", fd }));
}

/** Pure: the inverse of leftDescriptors. */
export const leftText = (held: readonly Held[]): string =>
  held.map(({ key, fd }) => `${key}=${fd}`).join(",");

/**
 * Pure: the name of a descriptor in systemd's store. It must not have a colon.
 */
export const storeName = (key: Key): string => `ngrokd ${key.replaceAll(":", "|")}`;

/** Pure: the inverse of {@link storeName}; undefined for any other name. */
export const keyOfStored = (name: string): Key | undefined =>
  name.startsWith("ngrokd ") ? name.slice("ngrokd ".length).replaceAll("|", ":") : undefined;

export interface Inherited {
  readonly held: readonly Held[];
  /** Descriptors that cannot be used, a sentence each. They are closed. */
  readonly problems: readonly string[];
}

/**
 * All descriptors that this process has inherited: from systemd's store, from
 * its socket units, and from the program that it was before. Never rejects.
 */
export async function inheritedBy(
  net: Pick<Net, "addressOf" | "closeDescriptor">,
  env: Env,
  pid: number,
): Promise<Inherited> {
  const held = [...leftDescriptors(env)].map(([key, fd]) => ({ key, fd }));
  const problems: string[] = [];
  for (const { name, fd } of passedIn(env, pid)) {
    const stored = keyOfStored(name);
    const key = stored ?? (await keyOfPassed(net, fd));
    if (key !== undefined) {
      held.push({ key, fd });
      continue;
    }
    net.closeDescriptor(fd);
    problems.push(`systemd has passed the descriptor "${name}", which is no listening socket`);
  }
  return { held, problems };
}

const keyOfPassed = async (net: Pick<Net, "addressOf">, fd: number): Promise<Key | undefined> =>
  await net.addressOf(fd).then(activatedKeyOf, () => undefined);

/** Pure: the environment without what only this process may read. */
export function withoutInherited(env: Env): Record<string, string | undefined> {
  const own = new Set(["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", inPlaceVariable]);
  return Object.fromEntries(Object.entries(env).filter(([name]) => !own.has(name)));
}
