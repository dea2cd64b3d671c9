import { isDeepStrictEqual } from "node:util";
import { type Config, defaultConfig } from "../config/schema.ts";
import type { Wish } from "../config/write.ts";
import { NgrokdError } from "../model/error.ts";
import { isLoopbackSubnet, parseSubnet } from "../model/ip.ts";
import type { Facts, Modes } from "./facts.ts";

/** The address of our DNS server beside another one on 127.0.0.1. */
const besideOthers = "127.0.0.55:53";
const everywhere = "0.0.0.0";

/** Pure: the modes that the configuration has now. */
export function modesOf({ net, dns, access }: Config): Modes {
  const subnet = parseSubnet(net.subnet);
  const isLoopback = subnet.ok && isLoopbackSubnet(subnet.value);
  const ranges = rangesOf(access);
  // A rule opens a virtual interface to machines that have a route to it.
  const others = isOpen(net) ? (ranges ?? "everybody") : isLoopback ? "nobody" : ranges;
  return {
    addresses: isLoopback ? "loopback" : "interface",
    wildcards: dns.enabled,
    share: others ?? "nobody",
  };
}

const isOpen = ({ listen_interface }: Config["net"]): boolean => listen_interface !== "virtual";

/** The ranges, if the rules are the single one that setup writes. */
function rangesOf({ rules }: Config["access"]): readonly string[] | undefined {
  const [rule, ...more] = rules;
  const isOurs = rule?.endpoint === "*" && rule.users === undefined && rule.groups === undefined;
  return isOurs && more.length === 0 ? rule.from : undefined;
}

/**
 * Pure: the settings that have to change for these modes. Throws NgrokdError
 * `refused` if this machine cannot do it, or `usage` if the modes do not fit
 * together.
 */
export function wishesFor(facts: Facts, wanted: Modes): Wish[] {
  const { config } = facts.loaded;
  const now = modesOf(config);
  const modes = withNeeds(facts, now, wanted);
  const wishes: Wish[] = [];
  if (modes.addresses !== undefined && modes.addresses !== now.addresses) {
    const isLoopback = modes.addresses === "loopback";
    if (!isLoopback) demand(facts, "interface", "make a virtual interface");
    wishes.push({ key: "net.subnet", value: isLoopback ? defaultConfig.net.subnet : "auto" });
  }
  if (modes.wildcards !== undefined && modes.wildcards !== now.wildcards)
    wishes.push({ key: "dns.enabled", value: modes.wildcards });
  if (modes.wildcards === true) wishes.push(...resolverWishes(facts));
  if (modes.share !== undefined && !isDeepStrictEqual(modes.share, now.share))
    wishes.push(...shareWishes(config, modes.share));
  return wishes;
}

/** Pure: whether names below a wildcard need the virtual interface. */
export const needsInterface = ({ way }: Facts): boolean => way === "resolved";

function withNeeds(facts: Facts, now: Modes, wanted: Modes): Modes {
  const wildcards = wanted.wildcards ?? now.wildcards;
  const addresses = wanted.addresses ?? now.addresses;
  if (wildcards !== true || !needsInterface(facts) || addresses === "interface") return wanted;
  if (wanted.wildcards === true && wanted.addresses === undefined)
    return { ...wanted, addresses: "interface" };
  // The choice is the user's own, and has been so until now.
  if (wanted.wildcards === undefined && wanted.addresses === undefined) return wanted;
  throw new NgrokdError(
    "usage",
    "Names below a wildcard need the virtual interface here: systemd-resolved takes a name " +
      "server only for an interface of its own",
    { hint: "choose both: --wildcards --addresses interface" },
  );
}

function resolverWishes({ way, loaded }: Facts): Wish[] {
  const { config, origins } = loaded;
  const wishes: Wish[] = [];
  if (way === "resolv-conf" && !config.dns.manage_resolv_conf)
    wishes.push({ key: "dns.manage_resolv_conf", value: true });
  // On macOS only 127.0.0.1 is there without a command.
  if (way !== "folder" && origins["dns.listen"] === "default")
    wishes.push({ key: "dns.listen", value: besideOthers });
  return wishes;
}

function shareWishes({ net, access }: Config, share: NonNullable<Modes["share"]>): Wish[] {
  const place: Wish[] =
    share === "nobody" && isOpen(net)
      ? [{ key: "net.listen_interface", value: "virtual" }]
      : share !== "nobody" && !isOpen(net)
        ? [{ key: "net.listen_interface", value: everywhere }]
        : [];
  const isOurs = rangesOf(access) !== undefined;
  if (typeof share === "string")
    return isOurs ? [...place, { key: "access.rules", value: [] }] : place;
  const rules = [{ endpoint: "*", from: share }];
  if (isDeepStrictEqual(access.rules, rules)) return place;
  if (access.rules.length > 0 && !isOurs)
    throw new NgrokdError(
      "usage",
      "Cannot set who may connect: the configuration has rules of its own (access.rules)",
      { hint: "change them with `ngrokd config edit`" },
    );
  return [...place, { key: "access.rules", value: rules }];
}

function demand({ abilities }: Facts, name: "interface" | "service", action: string): void {
  const ability = abilities[name];
  if (ability.can) return;
  throw new NgrokdError("refused", `Cannot ${action}: ${ability.why}`, {
    ...(ability.hint !== undefined && { hint: ability.hint }),
  });
}
