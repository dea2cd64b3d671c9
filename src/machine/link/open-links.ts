import { forgetChange, readJournal, recordChange } from "../../journal/journal.ts";
import { NgrokdError } from "../../model/error.ts";
import type { Log } from "../../model/log.ts";
import type { Net } from "../../net/types.ts";
import { darwinLinks, ifconfigPath } from "./darwin.ts";
import { linuxLinks } from "./linux.ts";
import type { LinkSystem } from "./system.ts";

/**
 * Access to the interfaces of this system. Rejects with NgrokdError `network`
 * if there is none.
 */
export async function openLinks({
  net,
  stateFolder,
  log,
}: {
  net: Pick<Net, "routing">;
  stateFolder: string;
  log: Log;
}): Promise<LinkSystem> {
  if (process.platform === "linux") return linuxLinks(await net.routing());
  if (process.platform !== "darwin")
    throw new NgrokdError("network", "Cannot make an interface on this system");
  const change = { kind: "aliases", path: ifconfigPath } as const;
  return darwinLinks({
    journal: (addresses) =>
      addresses.length === 0
        ? forgetChange(stateFolder, change, log)
        : recordChange(stateFolder, { ...change, addresses }, log),
    async recorded() {
      // Only root may read the journal, and everybody may ask for a plan.
      const changes = await readJournal(stateFolder).catch(() => []);
      return changes.flatMap((one) => (one.kind === "aliases" ? one.addresses : []));
    },
  });
}
