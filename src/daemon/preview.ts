import type { Assignment } from "../exposure/allocate.ts";
import { type AccountEndpoints, expose, type NamesBelow, type Policy } from "../exposure/expose.ts";
import { type Doorway, doorId, type Exposure, type NameRecord } from "../exposure/exposure.ts";
import type { Ground } from "../exposure/ground.ts";
import { plan } from "../exposure/plan.ts";
import { type ShareInput, share } from "../exposure/share.ts";
import { editHosts } from "../machine/hosts/text.ts";
import { type Binding, bindingBelow, bindingsOf } from "../model/binding.ts";
import { hostPortText } from "../model/host-port.ts";
import { type Hostname, parseHostname } from "../model/hostname.ts";
import { type Ip, parseIp, parseIp6 } from "../model/ip.ts";
import { defaultProfile } from "../model/profile.ts";

export interface PreviewFacts {
  /** The endpoints that ngrok lists for this machine, by profile. */
  readonly accounts: readonly AccountEndpoints[];
  /** The saved addresses. */
  readonly saved: Assignment;
  readonly ground: Ground;
  readonly policy: Policy;
  readonly below?: NamesBelow;
  /** The zones for which the resolver asks the daemon now. */
  readonly zones?: readonly string[];
  /** How other machines share endpoints; undefined if they do not. */
  readonly sharing?: Pick<ShareInput, "reach" | "ports" | "startPort"> | undefined;
  /** The present listeners; empty if no daemon runs. */
  readonly listening: readonly Listening[];
  /** The hosts file, as editHosts takes it. */
  readonly hosts: string;
}

export interface Listening {
  readonly url: string;
  readonly host: string;
  readonly ip: string;
  readonly port: number;
  /** If there are several. */
  readonly profile?: string | undefined;
  /** How other machines reach it, as `192.0.2.1:80`; empty if they do not. */
  readonly forOthers?: string;
}

/** A change of how other machines reach an endpoint; empty: they do not. */
export interface OtherChange {
  readonly url: string;
  readonly from: string;
  readonly to: string;
}

export interface NameChange {
  readonly host: string;
  readonly change: "new" | "moved" | "gone";
  /** `from` is empty for a new name, and `to` for one that is removed. */
  readonly from: string;
  readonly to: string;
}

/** The changes of a pass; empty lists mean none. */
export interface Preview {
  readonly names: readonly NameChange[];
  readonly raise: readonly Listening[];
  readonly retire: readonly Listening[];
  readonly others: readonly OtherChange[];
  /**
   * Whole lines of the hosts file, the marker lines too. `refused`: why it must
   * not be edited; empty if it may be.
   */
  readonly hosts: {
    readonly add: readonly string[];
    readonly remove: readonly string[];
    readonly refused: string;
  };
  /** Zones for which the machine's resolver would ask the daemon, or not. */
  readonly zones: { readonly add: readonly string[]; readonly remove: readonly string[] };
  /** Endpoints that would not be served. */
  readonly unserved: readonly { readonly url: string; readonly reason: string }[];
  /** How many endpoints would be served. */
  readonly served: number;
  /** All that would be served. */
  readonly exposure: Exposure;
}

/**
 * Pure: the changes of a pass with these facts. A new name gets the first free
 * address here. A pass takes the next one if another program listens there,
 * which only a pass can find out.
 */
export function preview(facts: PreviewFacts): Preview {
  const { accounts, saved, policy, ground, below, listening, hosts, zones = [] } = facts;
  const { exposure, unserved } = expose({
    accounts,
    assignment: saved,
    policy,
    machine: { ground, taken: new Set() },
    ...(below !== undefined && { below }),
  });
  const present = new Map(listening.map((one) => [presentId(one), one]));
  const doorways = new Map(
    listening.flatMap((one) => doorwaysAt(one).map((it) => [it.door.id, it])),
  );
  const { open, reopen, close } = plan(exposure, doorways);
  const entries = entriesOf(exposure.names);
  const asked = entriesOf(exposure.asked);
  return {
    names: nameChanges(withoutAliases(new Map([...entries, ...asked]), policy), saved, listening),
    raise: [...open, ...reopen].flatMap(listeningOf),
    retire: close.flatMap((id) => present.get(id) ?? []),
    others: otherChanges(exposure, facts),
    hosts: hostsChanges(hosts, exposure.names, saved),
    zones: {
      add: exposure.zones.filter((zone) => !zones.includes(zone)),
      remove: zones.filter((zone) => !(exposure.zones as readonly string[]).includes(zone)),
    },
    unserved: unserved.map((one) =>
      one.kind === "homeless"
        ? { url: one.binding.url, reason: one.reason }
        : { url: one.url, reason: one.reason },
    ),
    served: new Set(exposure.routes.map(({ target }) => target)).size,
    exposure,
  };
}

function otherChanges(exposure: Exposure, { sharing, listening }: PreviewFacts): OtherChange[] {
  const before = new Map(listening.map(({ url, forOthers = "" }) => [url, forOthers]));
  const shared =
    sharing === undefined ? undefined : share({ ...sharing, exposure, taken: new Set() });
  const urls = new Map(
    exposure.routes.map(({ target: { binding } }) => [binding.key, binding.url]),
  );
  const wanted = new Map(
    [...(shared?.network ?? [])].map(
      ([
        key,
        {
          places: [place],
        },
      ]) => [
        urls.get(key) ?? key,
        place === undefined ? "" : hostPortText({ host: place.ip, port: place.port }),
      ],
    ),
  );
  return [...new Set([...before.keys(), ...wanted.keys()])]
    .map((url) => ({ url, from: before.get(url) ?? "", to: wanted.get(url) ?? "" }))
    .filter(({ from, to }) => from !== to)
    .sort((a, b) => (a.url < b.url ? -1 : 1));
}

const entriesOf = (records: readonly NameRecord[]): Map<Hostname, Ip> =>
  new Map(records.map(({ host, ip }) => [host, ip]));

/** An alias has no address of its own that could change. */
const withoutAliases = (
  entries: ReadonlyMap<Hostname, Ip>,
  { aliases }: Policy,
): ReadonlyMap<Hostname, Ip> =>
  new Map([...entries].filter(([host]) => aliases?.has(host) !== true));

const presentId = ({ ip, port }: Listening): string => hostPortText({ host: ip, port });

/** The door of a listening endpoint, made from the daemon's list. */
function doorwaysAt({ url, host: name, ip: text, port, profile }: Listening): Doorway[] {
  const ip = text.includes(":") ? parseIp6(text) : parseIp(text);
  const host = parseHostname(name);
  if (!ip.ok || !host.ok) return [];
  const id = doorId(ip.value, port);
  const { bindings, wildcards } = bindingsOf([{ id: "", url, proto: "" }]);
  const below = wildcards.map((wildcard) => bindingBelow(wildcard, host.value));
  const routes = [...bindings, ...below].map((binding: Binding) => ({
    door: id,
    match: { kind: "any" } as const,
    target: { account: profile ?? defaultProfile, binding },
  }));
  return [{ door: { id, at: { ip: ip.value, port }, greet: "fixed" }, routes }];
}

function listeningOf({ door, routes }: Doorway): Listening[] {
  return routes.map(({ target: { binding } }) => ({
    url: binding.url,
    host: binding.host,
    ip: door.at.ip,
    port: door.at.port,
  }));
}

function nameChanges(
  entries: ReadonlyMap<Hostname, Ip>,
  saved: Assignment,
  listening: readonly Listening[],
): NameChange[] {
  const changes = new Map<string, NameChange>();
  for (const [host, to] of entries) {
    const from = saved.get(host) ?? "";
    if (from !== to) changes.set(host, { host, change: from === "" ? "new" : "moved", from, to });
  }
  const wanted: ReadonlyMap<string, Ip> = entries;
  for (const { host, ip } of listening)
    if (!wanted.has(host) && !changes.has(host))
      changes.set(host, { host, change: "gone", from: ip, to: "" });
  return [...changes.values()].sort((a, b) => (a.host < b.host ? -1 : 1));
}

function hostsChanges(
  text: string,
  names: readonly NameRecord[],
  saved: Assignment,
): Preview["hosts"] {
  const entries = new Map(names.map(({ host, ip }) => [host, ip]));
  const six = new Map(names.flatMap(({ host, ip6 }) => (ip6 === undefined ? [] : [[host, ip6]])));
  const edit = editHosts(text, entries, undefined, saved, six);
  if (edit.kind === "refused") return { add: [], remove: [], refused: edit.reason };
  if (edit.kind === "same") return { add: [], remove: [], refused: "" };
  return { add: linesBeyond(edit.text, text), remove: linesBeyond(text, edit.text), refused: "" };
}

/** The lines of one text (latin1) that the other lacks, or has less often. */
function linesBeyond(text: string, other: string): string[] {
  const there = new Map<string, number>();
  for (const line of other.split("\n")) there.set(line, (there.get(line) ?? 0) + 1);
  const beyond = text.split("\n").filter((line) => {
    const left = there.get(line) ?? 0;
    there.set(line, left - 1);
    return left <= 0 && line.trim() !== "";
  });
  return beyond.map((line) => Buffer.from(line.trimEnd(), "latin1").toString("utf8"));
}
