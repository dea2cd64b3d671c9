import type { Running } from "./ngrokd.ts";
import { until } from "./story.ts";

/** What `ngrokd connect --json` prints once it is ready. */
export interface Ready {
  readonly identity: string;
  readonly listeners: readonly { kind: string; endpoint?: string; address: string }[];
}

export const readyOf = (running: Running): Promise<Ready> =>
  until("the doors are open", () => JSON.parse(running.out()) as Ready);

/** The address of a door, by its endpoint or its kind. */
export function addressOf({ listeners }: Ready, name: string): string {
  const found = listeners.find(({ kind, endpoint }) => kind === name || endpoint === name);
  if (found === undefined) throw new Error(`no door for ${name}: ${JSON.stringify(listeners)}`);
  return found.address;
}

export const portOf = (address: string): number => Number(address.split(":").at(-1));
