import { getServers } from "node:dns";
import { readFile } from "node:fs/promises";
import type { Loaded } from "../config/loaded.ts";
import { nameRules } from "../exposure/name-settings.ts";
import { byWord, judgeName } from "../exposure/verdict.ts";
import type { Bindings } from "../model/binding.ts";
import type { Log } from "../model/log.ts";
import { readResolvConf } from "../model/resolv-conf.ts";
import { createNames } from "../names/names.ts";
import { type Ask, askServers } from "../names/question.ts";
import { suffixesFor } from "../names/suffixes.ts";

/** Judges the names of endpoints, as the daemon does. */
export interface Servable {
  /**
   * Those whose names mean nothing else on this machine, or that the user's
   * configuration allows. Waits for the name servers for a moment; a name on
   * which they are silent counts as free. Never rejects.
   */
  of(listed: Bindings): Promise<Bindings>;
}

export interface ServableOptions {
  readonly loaded: Loaded;
  readonly stateFolder: string;
  readonly log: Log;
  /** For tests. */
  readonly ask?: Ask;
}

const patienceMs = 1500;

/**
 * Whoever can make endpoints in the account must not take `github.com` from the
 * programs of this user.
 */
export function createServable(options: ServableOptions): Servable {
  const { loaded, stateFolder, log, ask = askServers } = options;
  const rules = nameRules(loaded.config.names, new Set());
  const told = new Set<string>();
  let conf = readResolvConf("");
  const names = createNames({
    stateFolder,
    assignment: () => nothingAssigned,
    ask,
    conf: () => conf,
    log,
    changed: () => undefined,
    keeps: false,
  });
  return {
    async of({ bindings, wildcards, bad }) {
      const text = await readFile("/etc/resolv.conf", "latin1").catch(() => "");
      const { servers, search } = readResolvConf(text);
      conf = { servers: servers.length === 0 ? getServers() : servers, search };
      const zones = wildcards.map(({ zone }) => `*.${zone}`);
      const subjects = new Set([...bindings.map(({ host }) => host), ...zones]);
      // First, so that the patience is for the name servers alone.
      await suffixesFor([...subjects]);
      await names.look(subjects, (subject) => byWord(subject, rules), patienceMs);
      const refused = new Set([...subjects].filter((subject) => !isServed(subject)));
      return {
        bindings: bindings.filter(({ host }) => !refused.has(host)),
        wildcards: wildcards.filter(({ zone }) => !refused.has(`*.${zone}`)),
        bad,
      };
    },
  };

  function isServed(subject: string): boolean {
    const standing = names.standing(subject);
    // Silent name servers say nothing against it, as in the daemon.
    const verdict = judgeName(
      subject,
      rules,
      standing.kind === "pending" ? { kind: "free" } : standing,
    );
    if (verdict.kind === "served") return true;
    if (!told.has(subject)) log.warn(`"${subject}" is left out: ${verdict.reason}`);
    told.add(subject);
    return false;
  }
}

const nothingAssigned: ReadonlyMap<string, string> = new Map();
