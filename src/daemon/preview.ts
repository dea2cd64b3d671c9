import { type Assignment, allocate } from "../exposure/allocate.ts";
import { type Placed, placeOf, plan } from "../exposure/plan.ts";
import { editHosts } from "../machine/hosts/text.ts";
import type { ApiEndpoint } from "../model/endpoint.ts";
import type { Hostname } from "../model/hostname.ts";
import type { Ip, Subnet } from "../model/ip.ts";
import { admit } from "./reconcile.ts";

export interface PreviewFacts {
  /** What ngrok lists for this machine. */
  readonly listed: readonly ApiEndpoint[];
  /** The addresses as they are saved. */
  readonly saved: Assignment;
  readonly range: Subnet;
  readonly forbidden: (host: Hostname) => string | undefined;
  /** What listens now; nothing where no daemon runs. */
  readonly listening: readonly Listening[];
  /** The hosts file, as editHosts takes it. */
  readonly hosts: string;
}

export interface Listening {
  readonly url: string;
  readonly host: string;
  readonly ip: string;
  readonly port: number;
}

export interface NameChange {
  readonly host: string;
  readonly change: "new" | "moved" | "gone";
  /** Empty for a new name, and `to` for one that goes. */
  readonly from: string;
  readonly to: string;
}

/** What a pass would change. Empty lists: nothing. */
export interface Preview {
  readonly names: readonly NameChange[];
  readonly raise: readonly Listening[];
  readonly retire: readonly Listening[];
  /**
   * Whole lines of the hosts file, the marker lines too. `refused`: why it must
   * not be edited; empty where it may be.
   */
  readonly hosts: {
    readonly add: readonly string[];
    readonly remove: readonly string[];
    readonly refused: string;
  };
  /** Endpoints that would not be served. */
  readonly unserved: readonly { readonly url: string; readonly reason: string }[];
  /** How many endpoints would be served. */
  readonly served: number;
}

/**
 * Pure: what a pass would do with these facts. A new name's address is the
 * first that is free; where another program listens there, a pass takes the
 * next, which only trying can tell.
 */
export function preview({
  listed,
  saved,
  range,
  forbidden,
  listening,
  hosts,
}: PreviewFacts): Preview {
  const { bindings, bad } = admit(listed, forbidden);
  const { assignment, failed } = allocate({
    wanted: bindings.map(({ host }) => host),
    saved,
    range,
    avoid: new Set(),
  });
  const wanted = bindings.flatMap((binding): Placed[] => {
    const ip = assignment.get(binding.host);
    return ip === undefined ? [] : [{ binding, ip }];
  });
  const present = new Map(listening.map((one) => [`${one.ip}:${one.port} ${one.host}`, one]));
  const { raise, retire } = plan(wanted, new Set(present.keys()));
  const entries = new Map(wanted.map(({ binding, ip }) => [binding.host, ip]));
  const homeless = bindings.flatMap(({ url, host }) =>
    failed.has(host) ? [{ url, reason: failed.get(host) ?? "" }] : [],
  );
  return {
    names: nameChanges(entries, saved, listening),
    raise: raise.map(({ binding, ip }) => ({
      url: binding.url,
      host: binding.host,
      ip,
      port: binding.port,
    })),
    retire: retire.flatMap((place) => present.get(place) ?? []),
    hosts: hostsChanges(hosts, entries),
    unserved: [...bad.map(({ url, reason }) => ({ url, reason })), ...homeless],
    served: new Set(wanted.map(placeOf)).size,
  };
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
    if (!wanted.has(host)) changes.set(host, { host, change: "gone", from: ip, to: "" });
  return [...changes.values()].sort((a, b) => (a.host < b.host ? -1 : 1));
}

function hostsChanges(text: string, entries: ReadonlyMap<Hostname, Ip>): Preview["hosts"] {
  const edit = editHosts(text, entries);
  if (edit.kind === "refused") return { add: [], remove: [], refused: edit.reason };
  if (edit.kind === "same") return { add: [], remove: [], refused: "" };
  return { add: linesBeyond(edit.text, text), remove: linesBeyond(text, edit.text), refused: "" };
}

/** The lines of one text (latin1) that the other has not, or not as often. */
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
