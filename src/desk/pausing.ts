import { wildcardSuffix } from "../model/endpoint.ts";
import { NgrokdError } from "../model/error.ts";
import { parseHostname } from "../model/hostname.ts";
import { quote } from "../model/parsed.ts";
import { closest } from "../model/similar.ts";
import type { EndpointState, State } from "../model/state.ts";

/**
 * Pure: the name that a user means, as `api.demo` or `*.demo`. Throws
 * NgrokdError `usage` if it is no name, or if no endpoint and no pause has it.
 */
export function pausable(text: string, known: readonly string[], paused: boolean): string {
  const [, star = "", rest = ""] = /^(\*\.)?(.*)$/s.exec(text) ?? [];
  const name = parseHostname(rest);
  const action = paused ? "pause" : "resume";
  if (!name.ok)
    throw new NgrokdError("usage", `Cannot ${action} ${quote(text)}: ${name.reason}`, {
      hint: "`ngrokd list` shows the names",
    });
  const subject = `${star}${name.value}`;
  if (known.includes(subject)) return subject;
  const near = closest(subject, known);
  throw new NgrokdError("usage", `Cannot ${action} ${quote(subject)}: no endpoint has this name`, {
    hint: near === undefined ? "`ngrokd list` shows the names" : `did you mean "${near}"?`,
  });
}

/** Pure: the names of all endpoints. */
export const subjectsIn = ({ endpoints }: Pick<State, "endpoints">): string[] => [
  ...new Set(endpoints.map(subjectOf).filter((subject) => subject !== "")),
];

function subjectOf({ url, host }: EndpointState): string {
  const zone = wildcardSuffix(url);
  return zone === undefined || zone === "" ? host : `*.${zone}`;
}

/** Pure: how many connections of a name are still open. */
export const drainingOf = ({ endpoints }: Pick<State, "endpoints">, subject: string): number =>
  endpoints
    .filter((one) => one.state === "draining" && subjectOf(one) === subject)
    .reduce((sum, { meter }) => sum + meter.active, 0);
