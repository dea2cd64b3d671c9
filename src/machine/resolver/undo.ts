import { readFile } from "node:fs/promises";
import { basename, dirname } from "node:path";
import type { Change } from "../../journal/journal.ts";
import { NgrokdError } from "../../model/error.ts";
import { hasLink, resolvectlIn, usualPlaces } from "./facts.ts";
import { editResolvConf } from "./keepers.ts";
import { withoutServer } from "./resolv-conf.ts";
import { revertCommand } from "./resolved.ts";
import { type Run, runProgram } from "./run.ts";
import { dnsmasqFile } from "./zone-files.ts";

export type ResolverChange = Extract<Change, { kind: "resolv-conf" | "resolved" }>;

/** Whether a change is still there, and why it has to stay. */
export async function resolverStep({
  kind,
  path,
}: ResolverChange): Promise<{ readonly isThere: boolean; readonly refusal: string }> {
  if (kind === "resolved") {
    const links = await readFile(usualPlaces.links, "latin1").catch(() => "");
    return { isThere: hasLink(links, basename(path)), refusal: "" };
  }
  const text = await readFile(path, "latin1").catch(() => "");
  const rest = withoutServer(text);
  return rest.ok
    ? { isThere: rest.value !== text, refusal: "" }
    : { isThere: true, refusal: rest.reason };
}

/** Takes a change of the resolver back. Rejects with NgrokdError. */
export async function takeResolverBack(
  { kind, path }: ResolverChange,
  run: Run = runProgram,
): Promise<void> {
  if (kind === "resolv-conf") return void (await editResolvConf(path, withoutServer));
  const program = resolvectlIn(usualPlaces);
  if (program === undefined) return; // It went with systemd-resolved.
  const { ok, error } = await run(program, revertCommand(basename(path)));
  if (!ok)
    throw new NgrokdError(
      "state",
      `Cannot take back the settings of "${basename(path)}": ${error}`,
    );
}

const isOfDnsmasq = (path: string): boolean =>
  basename(path) === dnsmasqFile && dirname(path).endsWith("/dnsmasq.d");

/** Pure: whether a file of ours tells a resolver about zones. */
export const isZoneFile = (path: string): boolean =>
  isOfDnsmasq(path) || dirname(path) === usualPlaces.zoneFolder;

/** Makes the program read its files again that lost one of ours. */
export async function afterRemoval(path: string, run: Run = runProgram): Promise<void> {
  if (isOfDnsmasq(path)) await run("/usr/bin/nmcli", ["general", "reload", "dns-full"]);
}
