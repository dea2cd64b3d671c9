import { readFileSync, statSync } from "node:fs";
import type { Rule, WrittenRule } from "./access.ts";
import { type Accounts, accountsIn, rulesOf } from "./accounts.ts";

export interface AccountFiles {
  readonly passwd: string;
  readonly group: string;
}

export const systemFiles: AccountFiles = { passwd: "/etc/passwd", group: "/etc/group" };

export interface CurrentRules {
  readonly rules: readonly Rule[];
  readonly unknown: readonly string[];
  readonly nameOf: Accounts["nameOf"];
}

/** How long a change of the files may go unnoticed. Milliseconds. */
const freshMs = 1000;

/**
 * Returns the rules in effect. If they name users or groups and the files have
 * changed, the files are read again: a new member of a group gets in, and a
 * former one does not. So they are if the names of users are wanted anyway.
 */
export function createRules(
  written: () => readonly WrittenRule[],
  files: AccountFiles,
  wantsNames: () => boolean = () => false,
): () => CurrentRules {
  let last: (CurrentRules & { of: readonly WrittenRule[]; stamp: string }) | undefined;
  let looked = 0;
  return () => {
    const of = written();
    const isSame = last?.of === of;
    const isWanted = wantsNames();
    if (last !== undefined && isSame && last.stamp === "" && !isWanted) return last;
    const now = performance.now();
    if (last !== undefined && isSame && now - looked < freshMs) return last;
    looked = now;
    const stamp = isWanted || of.some(namesAnybody) ? stampOf(files) : "";
    if (last !== undefined && isSame && last.stamp === stamp) return last;
    const accounts =
      stamp === "" ? accountsIn("", "") : accountsIn(textOf(files.passwd), textOf(files.group));
    last = { ...rulesOf(of, accounts), nameOf: accounts.nameOf, of, stamp };
    return last;
  };
}

const namesAnybody = ({ users, groups }: WrittenRule): boolean =>
  users !== undefined || groups !== undefined;

const stampOf = (files: AccountFiles): string =>
  [files.passwd, files.group]
    .map((path) => {
      const found = statSync(path, { throwIfNoEntry: false, bigint: true });
      return found === undefined ? "none" : `${found.ino} ${found.size} ${found.mtimeNs}`;
    })
    .join(" ");

/** A missing file counts as empty, so no user has a name. */
function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
