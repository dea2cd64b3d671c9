import { randomInt } from "node:crypto";
import { lookup } from "node:dns/promises";
import { type HostPort, hostPortText } from "../../model/host-port.ts";
import type { Hostname } from "../../model/hostname.ts";
import { serversIn } from "../../model/resolv-conf.ts";
import { asksResolved, type ResolverFacts, servicesIn, type Way } from "./way.ts";

/**
 * A name that only our DNS server knows. If the machine's own resolver finds
 * it, programs find the names below wildcards.
 */
export interface Canary {
  /** The canary's addresses, if this is its name; notes that it was asked. */
  readonly answer: (name: string) => readonly string[] | undefined;
  /** Asks the machine's resolver. Never rejects. */
  check(zone: Hostname, place: { readonly way: Way; readonly server: HostPort }): Promise<void>;
  /** There is nothing to check. */
  rest(): void;
  /** Why programs do not find the names; empty if they do. */
  readonly trouble: string;
}

export interface CanaryDeps {
  readonly facts: () => Promise<ResolverFacts>;
  /** The links of other programs that take names of a zone. */
  readonly rivals: (zone: Hostname) => Promise<readonly string[]>;
  /** Replaced in tests. */
  readonly look?: (name: string) => Promise<readonly string[]>;
  readonly limitMs?: number;
}

export function createCanary(deps: CanaryDeps): Canary {
  const { facts, rivals, look = systemLook, limitMs = 6000 } = deps;
  let song: { readonly name: string; readonly address: string; heard: boolean } | undefined;
  let trouble = "";
  return {
    answer(name) {
      if (song === undefined || name !== song.name) return undefined;
      song.heard = true;
      return [song.address];
    },
    async check(zone, { way, server }) {
      // Another name each time, so that no cache answers.
      const name = `ngrokd-canary-${randomInt(2 ** 40).toString(36)}.${zone}`;
      const mine = { name, address: `127.${randomInt(1, 255)}.0.9`, heard: false };
      song = mine;
      const found = await within(look(name), limitMs);
      const { address, heard } = mine;
      if (Array.isArray(found) && found.includes(address)) trouble = "";
      else {
        const others = way.kind === "resolved" ? await rivals(zone) : [];
        trouble = canaryTrouble({
          zone,
          way,
          server,
          heard,
          found,
          rivals: others,
          facts: await facts(),
        });
      }
      if (song === mine) song = undefined;
    },
    rest() {
      trouble = "";
    },
    get trouble() {
      return trouble;
    },
  };
}

/** The addresses, `none`, or `silent` if the resolver does not answer. */
type Found = readonly string[] | "none" | "silent";

export interface CanaryFacts {
  readonly zone: string;
  readonly way: Way;
  readonly server: HostPort;
  /** Whether the question reached our server. */
  readonly heard: boolean;
  readonly found: Found;
  readonly rivals: readonly string[];
  readonly facts: ResolverFacts;
}

/** Pure: why the machine's resolver does not find names of this zone. */
export function canaryTrouble(given: CanaryFacts): string {
  const { zone, heard, found, server } = given;
  const what = `Programs do not find the names below "*.${zone}"`;
  const at = hostPortText(server);
  if (heard && found === "silent")
    return `${what}: the DNS server on ${at} was asked, and its answer did not arrive; does a firewall block it?`;
  if (heard)
    return `${what}: the DNS server on ${at} was asked, and the resolver returned something else; does it insist on DNSSEC, or refuse addresses of 127.0.0.0/8?`;
  const wrong = Array.isArray(found) ? `, and got ${found.join(", ")}` : "";
  return `${what}: the machine's resolver did not ask ${at}${wrong}. ${culprit(given)}`;
}

/** The first cause on the way from a program to our server. */
function culprit({ way, server, rivals, facts, found }: CanaryFacts): string {
  const services = servicesIn(facts.order);
  if (facts.order !== "" && !services.includes("dns") && !services.includes("resolve"))
    return `"hosts: ${facts.order}" in /etc/nsswitch.conf asks no name server: add "dns"`;
  if (way.kind === "by-hand") return sentence(way.text);
  if (rivals.length > 0)
    return `systemd-resolved also asks the servers of ${rivals.join(" and ")} for these names: a VPN that takes all names? \`resolvectl domain\` shows it`;
  const servers = serversIn(facts.resolvConf);
  const [first = ""] = servers;
  if (way.kind === "resolved" && !asksResolved(facts))
    return `/etc/resolv.conf names ${first === "" ? "no server" : first} now, and not systemd-resolved`;
  if (way.kind === "resolv-conf" && first !== server.host)
    return `The first name server in /etc/resolv.conf is ${first === "" ? "missing" : first}: another program has written the file`;
  if (found === "silent") return `The name server ${first} does not answer`;
  return `Which program answers on ${first === "" ? "this machine" : first}? a cache such as nscd may have to be restarted`;
}

const sentence = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

async function systemLook(name: string): Promise<readonly string[]> {
  return (await lookup(name, { all: true })).map(({ address }) => address);
}

async function within(looking: Promise<readonly string[]>, limitMs: number): Promise<Found> {
  const { promise, resolve } = Promise.withResolvers<Found>();
  const timer = setTimeout(() => resolve("silent"), limitMs);
  looking.then(resolve, (error: { code?: string }) =>
    resolve(error.code === "EAI_AGAIN" || error.code === "ETIMEOUT" ? "silent" : "none"),
  );
  const found = await promise;
  clearTimeout(timer);
  return found;
}
