/** Who may connect: what the rules say, and whom they have kept out. */

import { type Rule, refusalOf, ruleFor } from "../access/access.ts";
import { createRules, systemFiles } from "../access/rules.ts";
import { accessText, refusalText, type Surroundings } from "../access/words.ts";
import { type Loaded, rulePlace } from "../config/load.ts";
import type { ListItem } from "../desk/reply-schemas.ts";
import type { Env } from "../model/environment.ts";
import { type Finding, notChecked, ok, warning } from "./finding.ts";

/** The rules as the daemon reads them. */
export interface AccessFacts extends Surroundings {
  readonly rules: readonly Rule[];
  /** The user who asks; behind sudo, the one who has called it. */
  readonly uid: number | undefined;
}

/** Reads the rules; undefined without a configuration. */
export function accessFacts(
  loaded: Loaded | undefined,
  env: Env,
  files = systemFiles,
): AccessFacts | undefined {
  if (loaded === undefined) return undefined;
  const { rules, nameOf } = createRules(() => loaded.config.access.rules, files)();
  const caller = /^\d{1,10}$/.test(env.SUDO_UID ?? "") ? Number(env.SUDO_UID) : undefined;
  const placeOf = ({ number }: Rule): string => rulePlace(loaded, number);
  return { rules, nameOf, placeOf, uid: caller ?? process.getuid?.() };
}

/**
 * Pure: who may connect to an endpoint, and whether the asking user may. No
 * finding without rules and refusals.
 */
export function judgeAccess(item: Asked, facts: AccessFacts | undefined): Finding[] {
  const { hostname: host, port, errors_by_kind: errors, listen_interface: at = "virtual" } = item;
  if ((facts?.rules.length ?? 0) === 0 && (errors.access ?? 0) === 0) return [];
  if (facts === undefined) return [notChecked("access", "the configuration cannot be used")];
  const wanted = { host, port };
  const without = at === "virtual" ? "users" : "everybody";
  const user = { kind: "user", uid: facts.uid } as const;
  const refusal = refusalOf(ruleFor(facts.rules, wanted), user, without);
  if (refusal === undefined) return [ok("access", accessText(facts.rules, wanted, facts, without))];
  const { reason, hint } = refusalText(refusal, wanted, facts);
  return [warning("access", reason, hint)];
}

type Asked = Pick<ListItem, "hostname" | "port" | "errors_by_kind"> &
  Partial<Pick<ListItem, "listen_interface">>;

/** Pure: the endpoints that have reset clients, or else the rules in short. */
export function judgeRefusals(list: readonly ListItem[], loaded: Loaded | undefined): Finding[] {
  const refused = list.flatMap((item): Finding[] => {
    const count = item.errors_by_kind.access ?? 0;
    if (count === 0) return [];
    const last = item.connections.last_error;
    const why = last.includes("may not connect") ? `; the latest: ${last}` : "";
    const about = `${item.hostname}:${item.port}`;
    const text = `${about} has reset ${count} ${count === 1 ? "client" : "clients"} who may not connect${why}`;
    return [{ ...warning("access", text, `\`ngrokd why ${about}\` shows who may`), about }];
  });
  if (refused.length > 0 || loaded === undefined) return refused;
  const count = loaded.config.access.rules.length;
  if (count === 0) return [];
  return [ok("access", `${count} ${count === 1 ? "rule" : "rules"}, and nobody was refused`)];
}
