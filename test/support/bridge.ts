import { type Ran, run } from "./ngrokd.ts";
import { atEnd } from "./story.ts";

/** A bridge of this machine, and another machine or a container behind it. */
export interface Neighbour {
  /** Runs a program there. */
  readonly run: (...command: string[]) => Promise<Ran>;
}

export async function ip(words: string): Promise<void> {
  const { code, err } = await run(["ip", ...words.split(" ")]);
  if (code !== 0) throw new Error(`ip ${words}: ${err}`);
}

/** Makes a bridge with this address, until the end of the chapter. */
export async function bridge(name: string, here: string): Promise<void> {
  await ip(`link add ${name} type bridge`);
  atEnd(() => ip(`link del ${name}`));
  await ip(`addr add ${here}/24 dev ${name}`);
  await ip(`link set ${name} up`);
}

/** Connects a machine of its own to a bridge, until the end of the chapter. */
export async function neighbour(
  name: string,
  { on, there, gateway }: { on: string; there: string; gateway?: string },
): Promise<Neighbour> {
  await ip(`netns add ${name}`);
  atEnd(() => ip(`netns del ${name}`));
  await ip(`link add to-${name} type veth peer name eth0 netns ${name}`);
  // The kernel takes a namespace apart some time after its name is gone.
  atEnd(() => ip(`link del to-${name}`));
  await ip(`link set to-${name} master ${on} up`);
  await ip(`-n ${name} addr add ${there}/24 dev eth0`);
  await ip(`-n ${name} link set lo up`);
  await ip(`-n ${name} link set eth0 up`);
  if (gateway !== undefined) await ip(`-n ${name} route add default via ${gateway}`);
  return { run: async (...command) => await run(["ip", "netns", "exec", name, ...command]) };
}
