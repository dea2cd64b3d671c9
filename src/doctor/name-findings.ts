/** Names: what the hosts file says, and what the resolver returns. */
import { lookup } from "node:dns/promises";
import { readFile, stat } from "node:fs/promises";
import { isIP } from "node:net";
import { defaultHostsPath } from "../config/paths.ts";
import { fileError } from "../files/atomic.ts";
import { beginLine, endLine } from "../machine/hosts/text.ts";
import { hostsOrder, servicesIn } from "../machine/resolver/way.ts";
import { isNgrokdError, NgrokdError, reasonOf } from "../model/error.ts";
import { isSameIpv6 } from "../model/ip.ts";
import { type Attempt, attempt } from "./attempt.ts";
import { type Check, type Finding, failure, ok, warning } from "./finding.ts";

/** One name on one line of a hosts file. */
export interface HostsLine {
  /** Counts from 1. */
  readonly line: number;
  readonly address: string;
  /** The line is in ngrokd's section. */
  readonly ours: boolean;
}

export interface HostsFacts {
  readonly path: string;
  /** By name, in lower case. */
  readonly names: ReadonlyMap<string, readonly HostsLine[]>;
  /** The value of `hosts:` in /etc/nsswitch.conf; undefined without one. */
  readonly order: string | undefined;
  /** How to empty the cache of a system that always reads this file. */
  readonly forget?: string | undefined;
}

/** macOS: mDNSResponder answers, and has no nsswitch.conf. */
export const forgetOnMac = "`sudo dscacheutil -flushcache; sudo killall -HUP mDNSResponder`";

/**
 * Reads a hosts file. Rejects with NgrokdError `permission` or `state` if it
 * cannot be read.
 */
export async function lookAtHosts(path: string): Promise<HostsFacts> {
  const text = await textOf(path).catch((error: unknown) => {
    throw fileError(`Cannot read "${path}"`, error);
  });
  const nsswitch = await readFile("/etc/nsswitch.conf", "latin1").catch(() => "");
  return {
    path,
    names: hostsLines(text),
    order: hostsOrder(nsswitch),
    forget: process.platform === "darwin" ? forgetOnMac : undefined,
  };
}

/** To open a pipe would wait for its writer. */
async function textOf(path: string): Promise<string> {
  const info = await stat(path);
  if (info.isFile() || info.isDirectory()) return await readFile(path, "latin1");
  throw new NgrokdError("hosts", `Cannot read "${path}": it is not a regular file`);
}

/** Pure: the lines of a hosts file, by name. */
export function hostsLines(text: string): Map<string, HostsLine[]> {
  const found = new Map<string, HostsLine[]>();
  let ours = false;
  for (const [i, line] of text.split("\n").entries()) {
    if (line.trimEnd() === beginLine) ours = true;
    if (line.trimEnd() === endLine) ours = false;
    const [address = "", ...names] = (line.split("#", 1)[0] ?? "").trim().split(/\s+/);
    if (isIP(address) === 0) continue;
    for (const name of names.map((word) => word.toLowerCase())) {
      const lines = found.get(name);
      if (lines === undefined) found.set(name, [{ line: i + 1, address, ours }]);
      else lines.push({ line: i + 1, address, ours });
    }
  }
  return found;
}

/**
 * The addresses from this machine's resolver (getaddrinfo), in its order.
 * Never rejects.
 */
export async function resolved(name: string): Promise<Attempt<string[]>> {
  return await attempt(`Cannot look up "${name}"`, 3000, async () => {
    const found = await lookup(name, { all: true });
    return [...new Set(found.map(({ address }) => address))];
  });
}

export interface NameFacts {
  readonly name: string;
  /** The address from ngrokd. */
  readonly ip: string;
  /** The second one, of IPv6; empty or undefined without one. */
  readonly ip6?: string | undefined;
  readonly resolved: Attempt<readonly string[]>;
  readonly hosts: Attempt<HostsFacts>;
  /** It is below a wildcard, so the DNS server has it. */
  readonly wildcard?: boolean;
}

/** Pure: whether programs get the right address for a name. */
export function judgeName(check: Check, facts: NameFacts): Finding {
  const { name, ip, resolved, hosts } = facts;
  const addresses = resolved.ok ? resolved.value : [];
  const isOurs = (address: string | undefined): boolean => isAddressOf(facts, address);
  if (addresses.length > 0 && addresses.every(isOurs))
    return ok(check, `"${name}" leads to ${addresses.join(" and ")}`);
  if (hosts.ok && isOnlyInOwnFile(facts)) {
    const text = `"${hosts.value.path}", which the daemon keeps, gives "${name}" ${ip}`;
    return { ...ok(check, text), fix: useAddress };
  }
  if (!resolved.ok && isNgrokdError(resolved.error, "timeout"))
    return failure(check, reasonOf(resolved.error), slowResolver);
  const partly = isOurs(addresses[0]);
  const leads = partly
    ? `"${name}" leads to ${ip}, and to ${addresses.filter((one) => !isOurs(one)).join(", ")} for some programs`
    : addresses.length > 0
      ? `"${name}" leads to ${addresses.join(", ")} and not to ${ip}`
      : `"${name}" does not resolve`;
  const judged = partly ? warning : failure;
  if (!hosts.ok) return judged(check, leads, writeAgain);
  const { path, names } = hosts.value;
  const lines = names.get(name) ?? [];
  const strangers = lines.filter(({ ours, address }) => !ours && !isOurs(address));
  if (strangers.length > 0) {
    const where = strangers.map(({ line, address }) => `line ${line} (${address})`).join(", ");
    return judged(check, leads, `remove ${where} from "${path}", or keep it if it is intended`);
  }
  const isNamed = lines.some(({ address }) => address === ip);
  if (!isNamed && facts.wildcard === true) return judged(check, leads, askServer);
  if (!isNamed) return judged(check, `${leads}, and "${path}" does not name it`, writeAgain);
  const text = partly ? leads : `${leads}, although "${path}" says so`;
  if (path === defaultHostsPath) return judged(check, text, orderFix(hosts.value));
  return warning(
    check,
    text,
    `this machine's resolver reads "${defaultHostsPath}", and not what NGROKD_HOSTS_PATH names; use the address`,
  );
}

/**
 * Pure: the daemon keeps another hosts file than this machine's resolver reads.
 * The name is right in that file, and has no other address. This is no fault:
 * the demo does it, and so does a container that writes its host's file.
 */
function isOnlyInOwnFile(facts: NameFacts): boolean {
  const { name, resolved, hosts } = facts;
  if (!hosts.ok || hosts.value.path === defaultHostsPath) return false;
  const lines = hosts.value.names.get(name) ?? [];
  const isRight = lines.length > 0 && lines.every(({ address }) => isAddressOf(facts, address));
  return isRight && (!resolved.ok || resolved.value.length === 0);
}

const isAddressOf = ({ ip, ip6 }: NameFacts, address: string | undefined): boolean =>
  address === ip || (address !== undefined && isSameIpv6(address, ip6 ?? ""));

/** The advice of {@link judgeName} for a name that is only in such a file. */
export const useAddress = `this machine's resolver reads "${defaultHostsPath}": use the address here`;

const askServer = "`ngrokd status` says why this machine's resolver does not ask the DNS server";

const slowResolver =
  "try again; if this stays, `getent ahosts NAME` shows how long this machine's resolver takes";

const writeAgain = "`ngrokd refresh` writes it again; did another program change the file?";

function orderFix({ order, forget }: HostsFacts): string {
  if (forget !== undefined) return `an old answer may be remembered: ${forget}`;
  if (order === undefined)
    return "does this system's resolver read the hosts file? use the address instead of the name";
  const services = servicesIn(order);
  if (!services.includes("files"))
    return `"hosts: ${order}" in /etc/nsswitch.conf lacks "files": put it first`;
  if (services[0] !== "files")
    return `"hosts: ${order}" in /etc/nsswitch.conf asks others before "files": put it first`;
  return "something else answers for this name: is a cache such as nscd running? restart it";
}
