import { spawn } from "node:child_process";
import { type NetworkInterfaceInfo, networkInterfaces } from "node:os";
import {
  groundHas,
  type MachineRoute,
  ownAddresses,
  type VirtualGround,
} from "../../exposure/ground.ts";
import { NgrokdError } from "../../model/error.ts";
import { type AnyIp, ipv6Bytes, isSameIpv6, parseSubnet } from "../../model/ip.ts";
import { runProgram } from "../resolver/run.ts";
import { netstatPath, netstatWords, routesIn } from "./darwin-routes.ts";
import type { Held, LinkSystem } from "./system.ts";

/** The program that makes aliases. */
export const ifconfigPath = "/sbin/ifconfig";

/** The effects that a test replaces. */
export interface AliasDeps {
  /** The absolute path of ifconfig(8). */
  readonly ifconfig?: string;
  readonly interfaces?: () => NodeJS.Dict<readonly NetworkInterfaceInfo[]>;
  /** The absolute path of netstat(1). Without it, only interfaces are known. */
  readonly netstat?: string;
  /** Records the aliases before they are made; an empty list forgets them. */
  readonly journal: (addresses: readonly AnyIp[]) => Promise<void>;
  /** The aliases in the journal, also those of a run that was killed. */
  readonly recorded: () => Promise<readonly AnyIp[]>;
}

/**
 * macOS: every address is an alias of the loopback interface, since macOS has
 * no route that makes a whole subnet local. Aliases stay after a crash, so they
 * are recorded in the journal.
 */
export function darwinLinks(deps: AliasDeps): LinkSystem {
  const { interfaces = networkInterfaces, netstat = netstatPath } = deps;
  const aliases = new Set<AnyIp>();
  const missingOf = (addresses: Iterable<AnyIp>): AnyIp[] => {
    const there = aliasesIn(interfaces());
    return [...addresses].filter((address) => !there.some((one) => isSame(one, address)));
  };
  const add = async (addresses: readonly AnyIp[]): Promise<void> => {
    const missing = missingOf(addresses);
    if (missing.length > 0) await deps.journal([...new Set([...aliases, ...missing])]);
    for (const address of missing) {
      await runIfconfig(deps, aliasWords("add", address));
      aliases.add(address);
    }
  };
  const remove = async (addresses: readonly AnyIp[]): Promise<void> => {
    if (addresses.length === 0) return;
    const there = new Set(aliasesThere(addresses, { interfaces }));
    for (const address of addresses) {
      if (there.has(address)) await runIfconfig(deps, aliasWords("remove", address));
      aliases.delete(address);
    }
    await deps.journal([...aliases]);
  };
  return {
    async routes() {
      const ours = new Set([...aliases, ...(await deps.recorded())]);
      const { out } = await runProgram(netstat, netstatWords);
      return [...connectedNetworks(interfaces(), ours), ...routesIn(out, [...ours])];
    },
    async hold(grounds): Promise<Held> {
      for (const left of aliasesThere(await deps.recorded(), { interfaces })) aliases.add(left);
      const mended = missingOf(aliases).length > 0 ? ["alias"] : [];
      await add([...aliases, ...grounds.flatMap(ownOf)]);
      await remove([...aliases].filter((one) => !grounds.some((it) => groundHas(it, one))));
      return { mended, withoutIp6: undefined };
    },
    carry: add,
    changed: async () => missingOf(aliases).length > 0,
    close: () => remove([...aliases]).catch(() => undefined),
  };
}

/** The effects that a test of undo replaces. */
export type AliasUndo = Partial<Pick<AliasDeps, "ifconfig" | "interfaces">>;

/** Those of these addresses that are still aliases of this machine. */
export function aliasesThere(
  addresses: readonly AnyIp[],
  { interfaces = networkInterfaces }: AliasUndo,
): AnyIp[] {
  const there = aliasesIn(interfaces());
  return addresses.filter((address) => there.some((one) => isSame(one, address)));
}

/** Removes the aliases of a daemon that is gone. Rejects as runIfconfig. */
export async function takeAliasesBack(addresses: readonly AnyIp[], deps: AliasUndo): Promise<void> {
  for (const address of aliasesThere(addresses, deps))
    await runIfconfig(deps, aliasWords("remove", address));
}

/** Pure: the arguments of ifconfig for one alias. */
export function aliasWords(what: "add" | "remove", address: AnyIp): string[] {
  const isSix = address.includes(":");
  if (what === "remove")
    return isSix ? ["lo0", "inet6", address, "-alias"] : ["lo0", "-alias", address];
  return isSix
    ? ["lo0", "inet6", address, "prefixlen", "128", "alias"]
    : ["lo0", "alias", address, "255.255.255.255"];
}

/** Runs ifconfig. Rejects with NgrokdError `permission` or `network`. */
export async function runIfconfig(
  { ifconfig = ifconfigPath }: Pick<AliasDeps, "ifconfig">,
  words: readonly string[],
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const child = spawn(ifconfig, [...words], { stdio: ["ignore", "ignore", "pipe"], env: {} });
  let text = "";
  child.stderr.setEncoding("utf8").on("data", (part: string) => {
    text = (text + part).slice(0, 1000);
  });
  const action = `Cannot run "${[ifconfig, ...words].join(" ")}"`;
  child.once("error", (cause) => reject(new NgrokdError("network", action, { cause })));
  child.once("close", (code) => {
    if (code === 0) return resolve();
    const isDenied = /permission denied|not permitted/i.test(text);
    reject(
      new NgrokdError(isDenied ? "permission" : "network", `${action}: ${text.trim() || code}`, {
        ...(isDenied && { hint: "run the daemon as root" }),
      }),
    );
  });
  await promise;
}

function ownOf(ground: VirtualGround): AnyIp[] {
  const { ip, ip6 } = ownAddresses(ground);
  return ip6 === undefined ? [ip] : [ip, ip6];
}

const aliasesIn = (interfaces: NodeJS.Dict<readonly NetworkInterfaceInfo[]>): string[] =>
  (interfaces.lo0 ?? []).map(({ address }) => address);

const isSame = (one: string, other: string): boolean => one === other || isSameIpv6(one, other);

/** The networks to which an interface belongs, without our aliases. */
function connectedNetworks(
  interfaces: NodeJS.Dict<readonly NetworkInterfaceInfo[]>,
  aliases: ReadonlySet<string>,
): MachineRoute[] {
  return Object.entries(interfaces).flatMap(([device, list = []]) =>
    list.flatMap(({ address, cidr }): MachineRoute[] => {
      if ([...aliases].some((alias) => isSame(alias, address))) return [];
      const [, bits = ""] = (cidr ?? "").split("/");
      if (address.includes(":")) {
        const [plain = ""] = address.split("%");
        return [{ to: undefined, to6: { bytes: ipv6Bytes(plain), bits: Number(bits) }, device }];
      }
      const to = parseSubnet(`${address}/${bits}`);
      return to.ok ? [{ to: to.value, to6: undefined, device }] : [];
    }),
  );
}
