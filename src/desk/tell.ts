import { readable } from "../model/parsed.ts";
import { type EndpointState, isServed } from "../model/state.ts";
import type { LogLevel } from "../observe/daemon-log.ts";

export interface Line {
  readonly level: LogLevel;
  readonly text: string;
  /** Advice; empty if there is none. */
  readonly hint?: string;
}

/** If a pass has more changes than this, the log has their numbers only. */
const mostLines = 20;

/** Pure: the log lines of a pass. Only changes are logged. */
export function changeLines(
  before: readonly EndpointState[],
  after: readonly EndpointState[],
): Line[] {
  if (before === after) return [];
  const known = new Set(before.map(storyOf));
  const changed = after.filter((endpoint) => !known.has(storyOf(endpoint)));
  const urls = new Set(after.map(({ url }) => url));
  const gone = before.filter(({ url }) => !urls.has(url));
  if (changed.length + gone.length > mostLines) {
    const failed = changed.filter(({ state }) => !isServed(state)).length;
    const some = failed === 0 ? "" : ` (${failed} of them not served)`;
    const counts = `${changed.length} endpoints new or changed${some}, ${gone.length} gone`;
    return [{ level: "info", text: `${counts}; \`ngrokd list\` shows them` }];
  }
  return [
    ...changed.flatMap(linesOf),
    ...gone.map(({ url }): Line => ({ level: "info", text: `${nameOf(url)} is gone` })),
  ];
}

function linesOf({ url, host, ip, port, state, reason, warning }: EndpointState): Line[] {
  const name = nameOf(url);
  const below = url.includes("*") ? ` (${host})` : "";
  const line: Line =
    state === "listening"
      ? { level: "info", text: `${name}${below} listens on ${ip}:${port}` }
      : state === "wildcard"
        ? { level: "info", text: `${name} has names, each with an address of its own` }
        : { level: levelOf(state), text: `${name} is not served: ${reason}` };
  return warning === "" ? [line] : [line, { level: "warn", text: `${name}: ${warning}` }];
}

/** A pause is the user's own wish. */
const levelOf = (state: EndpointState["state"]): LogLevel => (state === "paused" ? "info" : "warn");

const nameOf = (url: string): string => (url === "" ? "an endpoint without a URL" : readable(url));

const storyOf = ({ url, ip, state, reason, warning }: EndpointState): string =>
  [url, ip, state, reason, warning].join("\n");
