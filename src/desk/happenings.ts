import type { Happening } from "../history/history.ts";
import { type EndpointState, isServed, type State } from "../model/state.ts";

/** Pure: the events of a profile between two of its states. */
export function happeningsBetween(account: string, before: State, after: State): Happening[] {
  return [
    ...endpointHappenings(before.endpoints, after.endpoints),
    ...certificateHappenings(account, before, after),
    ...pollHappenings(account, before, after),
  ];
}

function endpointHappenings(
  before: readonly EndpointState[],
  after: readonly EndpointState[],
): Happening[] {
  if (before === after) return [];
  const known = new Map(before.map((endpoint) => [keyOf(endpoint), endpoint]));
  const now = new Set(after.map(keyOf));
  const changed = after.filter((endpoint) => {
    const old = known.get(keyOf(endpoint));
    return old === undefined || storyOf(old) !== storyOf(endpoint);
  });
  const gone = before.filter((endpoint) => !now.has(keyOf(endpoint)));
  return [
    ...changed.map((endpoint): Happening => {
      const kind = isServed(endpoint.state) ? "endpoint.raised" : "endpoint.failed";
      return { kind, endpoint };
    }),
    ...gone.map((endpoint): Happening => ({ kind: "endpoint.gone", endpoint })),
  ];
}

/** A wildcard has one URL, and a state for each name below it. */
const keyOf = ({ url, host }: EndpointState): string => `${url} ${host}`;

const storyOf = ({ ip, state, reason, warning }: EndpointState): string =>
  [ip, state, reason, warning].join("\n");

function certificateHappenings(
  account: string,
  { registration: before }: State,
  { registration: after }: State,
): Happening[] {
  if (before === after || after.kind !== "registered") return [];
  const { notAfter, fingerprint256: fingerprint } = after.certificate;
  const isSame = before.kind === "registered" && before.certificate.fingerprint256 === fingerprint;
  return isSame ? [] : [{ kind: "certificate", account, notAfter, fingerprint, reason: "" }];
}

function pollHappenings(account: string, before: State, after: State): Happening[] {
  const { lastPass, endpoints } = after;
  if (lastPass === undefined || lastPass === before.lastPass) return [];
  const { ok, tookMs, reason, hint } = lastPass;
  return [{ kind: "poll", account, ok, tookMs, reason, hint, endpoints: endpoints.length }];
}

/** What holds for the whole daemon, at one time. */
export interface Outlook {
  readonly phase: State["phase"];
  readonly reason: string;
  readonly hint: string;
  readonly warnings: readonly string[];
}

/** Pure: the events of the whole daemon between two of its states. */
export function outlookHappenings(before: Outlook, after: Outlook): Happening[] {
  const { phase, reason, hint } = after;
  const isSame = phase === before.phase && reason === before.reason;
  const raised = after.warnings.filter((text) => !before.warnings.includes(text));
  const over = before.warnings.filter((text) => !after.warnings.includes(text));
  return [
    ...(isSame ? [] : [{ kind: "phase", phase, reason, hint } as const]),
    ...raised.map((text): Happening => ({ kind: "warning", text, isOver: false })),
    ...over.map((text): Happening => ({ kind: "warning", text, isOver: true })),
  ];
}
