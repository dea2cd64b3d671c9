import { getServers } from "node:dns";
import { readFileSync } from "node:fs";
import type { Loaded } from "../config/loaded.ts";
import { ofProfile } from "../config/profiles.ts";
import type { Config } from "../config/schema.ts";
import {
  type AccountEndpoints,
  expandedNames,
  type NamesBelow,
  type Policy,
} from "../exposure/expose.ts";
import { aliasesOf, nameRules, pinsOf } from "../exposure/name-settings.ts";
import { byWord, judgeName, type NameRules, type Subject } from "../exposure/verdict.ts";
import { bindingsOf } from "../model/binding.ts";
import type { ApiEndpoint } from "../model/endpoint.ts";
import { parseHostPort } from "../model/host-port.ts";
import type { Hostname } from "../model/hostname.ts";
import { defaultProfile } from "../model/profile.ts";
import { readResolvConf } from "../model/resolv-conf.ts";
import type { LookUpDeps } from "../names/look-up.ts";
import type { Names, Word } from "../names/names.ts";

/** The part of the policy that is about names. */
export function namePolicy(
  loaded: Loaded,
  names: Pick<Names, "paused" | "standing">,
): Required<Pick<Policy, "judge" | "aliases" | "pins">> {
  const rules = rulesNow(loaded, names);
  return {
    judge: (subject, account) => judgeName(subject, rules(account), names.standing(subject)),
    aliases: aliasesOf(loaded.config.names),
    pins: pinsOf(loaded.config.names),
  };
}

/**
 * The user's word now about the names of these endpoints. If several accounts
 * have a name, one without a word decides: the name has to be looked up.
 */
export function wordNow(
  loaded: Loaded,
  names: Pick<Names, "paused">,
  accounts: readonly AccountEndpoints[],
): Word {
  const rules = rulesNow(loaded, names);
  const [only, ...others] = accounts;
  if (others.length === 0) return (subject) => byWord(subject, rules(only?.account));
  const all = accounts.map(({ account, listed }) => {
    return { rules: rules(account), subjects: subjectsIn(listed) };
  });
  return (subject) => {
    let found: ReturnType<Word>;
    for (const one of all) {
      if (!one.subjects.has(subject)) continue;
      const word = byWord(subject, one.rules);
      if (word === undefined) return undefined;
      if (found?.kind !== "served") found = word.kind === "served" ? word : (found ?? word);
    }
    return found;
  };
}

/** The rules for each account; without one they are those of the top level. */
function rulesNow(
  loaded: Loaded,
  { paused }: Pick<Names, "paused">,
): (account?: string) => NameRules {
  const known = new Map<string, NameRules>();
  return (account = defaultProfile) => {
    const rules = known.get(account) ?? nameRules(ofProfile(loaded, account).config.names, paused);
    known.set(account, rules);
    return rules;
  };
}

/** Pure: the names that wildcards have with this configuration. */
export function namesBelow({ dns, names }: Config, asked: ReadonlySet<Hostname>): NamesBelow {
  return {
    onDemand: dns.enabled,
    asked: dns.enabled ? asked : new Set(),
    expanded: expandedNames(names.expand),
  };
}

/** The names that are decided for these endpoints; the same set each time. */
export function subjectsOf(
  accounts: readonly Pick<AccountEndpoints, "listed">[],
): ReadonlySet<Subject> {
  const lists = accounts.map(({ listed }) => listed);
  const [first, ...more] = lists;
  if (first === undefined) return new Set();
  if (more.length === 0) return subjectsIn(first);
  const before = together.get(first);
  if (before !== undefined && lists.every((list, i) => list === before.lists[i]))
    return before.subjects;
  const subjects = new Set(lists.flatMap((list) => [...subjectsIn(list)]));
  together.set(first, { lists, subjects });
  return subjects;
}

/** The zones of all wildcards. */
export const zonesOf = (accounts: readonly Pick<AccountEndpoints, "listed">[]): Hostname[] =>
  accounts.flatMap(({ listed }) => bindingsOf(listed).wildcards.map(({ zone }) => zone));

type List = readonly ApiEndpoint[];

/** A list stays the same object from pass to pass. */
const known = new WeakMap<List, ReadonlySet<Subject>>();
/** The lists of several accounts, by the first of them. */
const together = new WeakMap<
  List,
  { readonly lists: readonly List[]; readonly subjects: ReadonlySet<Subject> }
>();

function subjectsIn(listed: List): ReadonlySet<Subject> {
  const before = known.get(listed);
  if (before !== undefined) return before;
  const { bindings, wildcards } = bindingsOf(listed);
  const subjects = new Set<Subject>([
    ...bindings.map(({ host }) => host),
    ...wildcards.map(({ zone }) => `*.${zone}`),
  ]);
  known.set(listed, subjects);
  return subjects;
}

/** How this machine looks names up now. */
export const resolvConfNow = (config: Config): LookUpDeps["conf"] =>
  lookUpConf(config, {
    resolvConf: textOf("/etc/resolv.conf"),
    uplinks: textOf("/run/systemd/resolve/resolv.conf"),
    runtime: getServers,
  });

/**
 * Pure: the name servers by these texts, apart from the daemon's own: that one
 * would confirm its own names. `runtime`: for systems without resolv.conf.
 */
export function lookUpConf(
  { dns }: Pick<Config, "dns">,
  texts: {
    readonly resolvConf: string;
    readonly uplinks: string;
    readonly runtime: () => readonly string[];
  },
): LookUpDeps["conf"] {
  const { servers, search } = readResolvConf(texts.resolvConf);
  const own = parseHostPort(dns.listen, 53);
  const isOther = (server: string): boolean =>
    !(dns.enabled && own.ok && own.value.port === 53 && own.value.host === server);
  const all = servers.length === 0 ? texts.runtime() : servers;
  // systemd-resolved also answers from the hosts file.
  const uplinks = servers.includes("127.0.0.53") ? readResolvConf(texts.uplinks).servers : [];
  return { servers: all.filter(isOther), search, uplinks: uplinks.filter(isOther) };
}

function textOf(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return ""; // The runtime knows the servers of systems without resolv.conf.
  }
}
