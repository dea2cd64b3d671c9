import { hostPortText } from "../model/host-port.ts";
import { type Moment, moment, msBetween } from "../model/moment.ts";
import { type EndpointState, readiness, type State } from "../model/state.ts";
import type { Liveness } from "./daemon-facts.ts";
import { lastActivity, measured, seconds } from "./replies.ts";

/** Writes the body of /status (docs/protocol.md, "The health server"). */
export type StatusBody = (state: State, live: Liveness, now?: Moment) => Iterable<string>;

/**
 * The body comes in pieces of about `pieceLength` characters: with thousands of
 * endpoints the whole text takes tens of milliseconds, and connections must not
 * wait for that. Most endpoints have had no connection yet. Their texts are
 * kept as long as the published state has them.
 */
export function createStatusBody(pieceLength = 32_768): StatusBody {
  const unused = new WeakMap<EndpointState, string>();
  const entry = (name: string, endpoint: EndpointState): string => {
    if (endpoint.meter.total > 0 || endpoint.ids.length > 1) return entryText(name, endpoint);
    const text = unused.get(endpoint) ?? entryText(name, endpoint);
    unused.set(endpoint, text);
    return text;
  };
  return function* (state, live, now = moment()) {
    // The first entry of an id is kept: the listening endpoint comes before the
    // draining one.
    const told = new Set<string>();
    let piece = `${JSON.stringify(summary(state, live, now)).slice(0, -1)},"endpoints":{`;
    for (const endpoint of state.endpoints) {
      for (const id of endpoint.ids) {
        const name = id === "" ? endpoint.url : id;
        if (told.has(name)) continue;
        piece += `${told.size === 0 ? "" : ","}${entry(name, endpoint)}`;
        told.add(name);
      }
      if (piece.length < pieceLength) continue;
      yield piece;
      piece = "";
    }
    yield `${piece}}}\n`;
  };
}

function summary(state: State, live: Liveness, now: Moment): object {
  const { ready, reason } = readiness(state);
  const upMs = msBetween(state.startedAt, now);
  return {
    healthy: live.ok,
    ready,
    reason: live.ok ? reason : live.reason,
    phase: state.phase,
    uptime: goDuration(upMs),
    uptime_seconds: seconds(upMs),
    start_time: state.startedAt.wall.toISOString(),
  };
}

/** The first eight fields are the Go program's. */
function entryText(name: string, endpoint: EndpointState): string {
  const { url, ip, port, state, reason, meter } = endpoint;
  const value = {
    name,
    local_address: ip === "" ? "" : hostPortText({ host: ip, port }),
    target_uri: url,
    active: state === "listening",
    connections: meter.active,
    total_connections: meter.total,
    ...lastActivity(meter),
    errors: meter.errors + meter.refused,
    state,
    reason: reason === "" ? meter.lastError : reason,
    ...measured(meter),
  };
  return `${JSON.stringify(name)}:${JSON.stringify(value)}`;
}

/** As Go writes a duration of whole seconds: `2h15m30s`. */
function goDuration(ms: number): string {
  const all = Math.max(0, Math.floor(ms / 1000));
  const [h, m, s] = [Math.floor(all / 3600), Math.floor(all / 60) % 60, all % 60];
  return h > 0 ? `${h}h${m}m${s}s` : m > 0 ? `${m}m${s}s` : `${s}s`;
}
