import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { choosesDnsmasq, hostsOrder, type ResolverFacts, resolvConfPath } from "./way.ts";

/** Where the facts are; tests have other places. */
export interface ResolverPlaces {
  readonly resolvConf: string;
  readonly nsswitch: string;
  readonly networkManager: string;
  /** The kernel's table of this network namespace's links. */
  readonly links: string;
  /** The first that is there. */
  readonly resolvectl: readonly string[];
  /** The folder of macOS with a file for each zone; other systems have none. */
  readonly zoneFolder: string | undefined;
}

export const usualPlaces: ResolverPlaces = {
  resolvConf: resolvConfPath,
  nsswitch: "/etc/nsswitch.conf",
  networkManager: "/etc/NetworkManager",
  links: "/proc/self/net/dev",
  resolvectl: ["/usr/bin/resolvectl", "/bin/resolvectl"],
  zoneFolder: process.platform === "darwin" ? "/etc/resolver" : undefined,
};

/** The path of resolvectl; undefined if this machine has none. */
export const resolvectlIn = ({ resolvectl }: Pick<ResolverPlaces, "resolvectl">) =>
  resolvectl.find((path) => existsSync(path));

/** What a service needs, in order to tell this machine's resolver. */
export function resolverNeeds(places: ResolverPlaces = usualPlaces): {
  readonly usesDbus: boolean;
  readonly folders: readonly string[];
} {
  const folders = [dnsmasqIn(places)].filter((path) => existsSync(path));
  return { usesDbus: resolvectlIn(places) !== undefined || folders.length > 0, folders };
}

const dnsmasqIn = ({ networkManager }: Pick<ResolverPlaces, "networkManager">): string =>
  join(networkManager, "dnsmasq.d");

/** Reads the facts. A file that cannot be read counts as missing. */
export async function resolverFacts(
  linkName: string,
  mayEdit: boolean,
  places: ResolverPlaces = usualPlaces,
): Promise<ResolverFacts> {
  const [resolvConf, nsswitch, dnsmasqFolder] = await Promise.all([
    textOf(places.resolvConf),
    textOf(places.nsswitch),
    dnsmasqFolderIn(places),
  ]);
  return {
    zoneFolder: places.zoneFolder,
    resolvConf,
    order: hostsOrder(nsswitch) ?? "",
    resolvectl: resolvectlIn(places),
    link: hasLink(await textOf(places.links), linkName),
    linkName,
    dnsmasqFolder,
    mayEdit,
  };
}

/**
 * Pure: whether the table has a link of this name. /sys/class/net could be that
 * of another namespace.
 */
export const hasLink = (table: string, name: string): boolean =>
  table.split("\n").some((line) => line.trimStart().startsWith(`${name}:`));

async function dnsmasqFolderIn(places: ResolverPlaces): Promise<string | undefined> {
  const [folder, found] = [places.networkManager, dnsmasqIn(places)];
  if (!existsSync(found)) return undefined;
  const more = await readdir(join(folder, "conf.d")).catch((): string[] => []);
  const files = ["NetworkManager.conf", ...more.sort().map((name) => join("conf.d", name))];
  const texts = await Promise.all(files.map((file) => textOf(join(folder, file))));
  return choosesDnsmasq(texts) ? found : undefined;
}

const textOf = async (path: string): Promise<string> =>
  await readFile(path, "latin1").catch(() => "");
