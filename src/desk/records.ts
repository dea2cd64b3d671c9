import type { Happening, History } from "../history/history.ts";
import type { Row } from "../history/series.ts";
import type { ClientAddress, Trace } from "../history/trace.ts";
import { hostPortText } from "../model/host-port.ts";
import type { EndpointState } from "../model/state.ts";
import type { Columns, Connection, Event, Quantiles, Traffic } from "./history-schemas.ts";

/** The name of a user of this machine; undefined if it has none. */
export type NameOf = (uid: number) => string | undefined;

/** Pure: a connection as programs read it. */
export function connectionRecord(trace: Trace, nameOf: NameOf): Connection {
  const { id, endpoint, account, client, uid, acceptedAt, from, ending } = trace;
  const since = (time: number | undefined): number | null =>
    time === undefined ? null : Math.round((time - trace.accepted) * 100) / 100;
  return {
    id,
    endpoint,
    profile: account,
    client: clientText(client),
    user: uid === undefined ? null : { uid, name: nameOf(uid) ?? "" },
    state: ending !== undefined ? "ended" : trace.upgraded === undefined ? "opening" : "open",
    accepted: new Date(acceptedAt).toISOString(),
    from: from ?? null,
    timeline_ms: {
      connected: since(trace.connected),
      ready: since(trace.ready),
      upgraded: since(trace.upgraded),
      first_up: since(trace.firstUp),
      first_down: since(trace.firstDown),
      ended: since(trace.ended),
    },
    bytes: { up: trace.bytesUp, down: trace.bytesDown },
    end: ending === undefined ? null : { kind: ending, reason: trace.detail },
  };
}

const clientText = (client: ClientAddress): string =>
  "path" in client ? client.path : hostPortText(client);

/** Pure: an event as programs read it. */
export function eventRecord(
  happening: Happening,
  { id, at }: { readonly id: string; readonly at: number },
  nameOf: NameOf,
): Event {
  const common = { id, at: new Date(at).toISOString() };
  switch (happening.kind) {
    case "endpoint.raised":
    case "endpoint.failed":
    case "endpoint.gone":
      return { ...common, kind: happening.kind, ...endpointRecord(happening.endpoint) };
    case "connection.opened":
      return { ...common, kind: happening.kind, connection: openedRecord(happening.trace, nameOf) };
    case "connection.ended":
      return {
        ...common,
        kind: happening.kind,
        connection: connectionRecord(happening.trace, nameOf),
      };
    case "poll": {
      const { kind, account, ok, tookMs, reason, hint, endpoints } = happening;
      return {
        ...common,
        kind,
        profile: account,
        ok,
        took_ms: Math.round(tookMs),
        reason,
        hint,
        endpoints,
      };
    }
    case "certificate": {
      const { kind, account, notAfter, fingerprint, reason } = happening;
      const not_after = notAfter.toISOString();
      return { ...common, kind, profile: account, not_after, fingerprint, reason };
    }
    case "notice": {
      const { kind, account, endpoint, text } = happening;
      return { ...common, kind, profile: account, endpoint, text };
    }
    case "warning":
      return { ...common, kind: "warning", text: happening.text, over: happening.isOver };
    case "phase": {
      const { kind, phase, reason, hint } = happening;
      return { ...common, kind, phase, reason, hint };
    }
  }
}

/** A connection as it was when the ingress accepted it, whenever it is read. */
function openedRecord(trace: Trace, nameOf: NameOf): Connection {
  const then = {
    firstUp: undefined,
    firstDown: undefined,
    ended: undefined,
    ending: undefined,
    bytesUp: 0,
    bytesDown: 0,
    detail: "",
  };
  return connectionRecord({ ...trace, ...then }, nameOf);
}

const endpointRecord = ({
  account,
  host,
  port,
  url,
  ip,
  state,
  reason,
  warning,
}: EndpointState) => ({
  profile: account,
  endpoint: host === "" ? "" : `${host}:${port}`,
  url,
  ip,
  state,
  reason,
  warning,
});

/** Which slots are asked for; `now` is of the steady clock, in seconds. */
export interface Window {
  readonly now: number;
  readonly to: Date;
  readonly seconds: number;
  readonly step: number;
  /** `host:port` or a host; undefined for all endpoints. */
  readonly of: string | undefined;
  readonly each: boolean;
}

/** Pure: the traffic of the last minutes in slots of equal length. */
export function trafficRecord(
  { open, past, series }: Pick<History, "open" | "past" | "series">,
  { now, to, seconds, step, of, each }: Window,
): Traffic {
  const slots = Math.ceil(seconds / step);
  const from = now - slots * step;
  const slotOf = (second: number): number => Math.floor((second - from) / step);
  const isMeant = (endpoint: string): boolean => of === undefined || isOf(endpoint, of);
  const total = emptyColumns(slots);
  const endpoints = new Map<string, Columns>();
  series.since(from, (row) => {
    if (!isMeant(row.endpoint) || row.second >= now) return;
    addRow(total, slotOf(row.second), row);
    if (!each) return;
    const own = endpoints.get(row.endpoint) ?? emptyColumns(slots);
    endpoints.set(row.endpoint, own);
    addRow(own, slotOf(row.second), row);
  });
  const active = new Map<string, number>();
  for (const { endpoint } of open) active.set(endpoint, (active.get(endpoint) ?? 0) + 1);
  let all = 0;
  for (const [endpoint, count] of active) if (isMeant(endpoint)) all += count;
  fillActive(total, all);
  for (const [endpoint, columns] of endpoints) fillActive(columns, active.get(endpoint) ?? 0);
  const complete = Math.ceil((series.completeFrom - from) / step);
  return {
    to: to.toISOString(),
    step,
    slots,
    complete_from: Math.min(slots, Math.max(0, complete)),
    total,
    latency_ms: latencyOf({ open, past }, { slots, slotOf, isMeant }),
    endpoints: Object.fromEntries(endpoints),
  };
}

/** Pure: whether an endpoint `host:port` is meant by its host or all of it. */
export const isOf = (endpoint: string, host: string): boolean =>
  endpoint === host || endpoint.startsWith(`${host}:`);

const emptyColumns = (slots: number): Columns => {
  const zeros = (): number[] => new Array(slots).fill(0);
  return {
    up: zeros(),
    down: zeros(),
    opened: zeros(),
    ended: zeros(),
    failed: zeros(),
    active: zeros(),
  };
};

/** Called for each of up to 200,000 rows. */
function addRow(columns: Columns, slot: number, row: Row): void {
  add(columns.up, slot, row.up);
  add(columns.down, slot, row.down);
  add(columns.opened, slot, row.opened);
  add(columns.ended, slot, row.ended);
  add(columns.failed, slot, row.failed);
}

function add(column: number[], slot: number, value: number): void {
  column[slot] = (column[slot] ?? 0) + value;
}

/** Backwards from the number of now, which is the only one that is known. */
function fillActive({ active, opened, ended }: Columns, now: number): void {
  let count = now;
  for (let i = active.length - 1; i >= 0; i -= 1) {
    active[i] = Math.max(0, count);
    count += (ended[i] ?? 0) - (opened[i] ?? 0);
  }
}

function latencyOf(
  { open, past }: Pick<History, "open" | "past">,
  {
    slots,
    slotOf,
    isMeant,
  }: {
    slots: number;
    slotOf: (second: number) => number;
    isMeant: (endpoint: string) => boolean;
  },
): Traffic["latency_ms"] {
  const upgrade: number[][] = Array.from({ length: slots }, () => []);
  const firstByte: number[][] = Array.from({ length: slots }, () => []);
  const add = (trace: Trace): void => {
    const { endpoint, accepted, upgraded, firstUp = 0, firstDown } = trace;
    if (upgraded === undefined || !isMeant(endpoint)) return;
    const slot = slotOf(Math.floor(accepted / 1000));
    upgrade[slot]?.push(upgraded - accepted);
    if (firstDown === undefined) return;
    const turn = firstUp < firstDown ? Math.max(upgraded, firstUp) : upgraded;
    firstByte[slot]?.push(firstDown - turn);
  };
  for (const trace of open) add(trace);
  for (let i = past.first; i <= past.last; i += 1) {
    const trace = past.at(i);
    if (trace !== undefined) add(trace);
  }
  return { upgrade: quantilesOf(upgrade), first_byte: quantilesOf(firstByte) };
}

function quantilesOf(slots: readonly number[][]): Quantiles {
  const sorted = slots.map((values) => values.sort((a, b) => a - b));
  const at = (q: number): (number | null)[] =>
    sorted.map((values) => {
      const value = values[Math.min(values.length - 1, Math.floor(q * values.length))];
      return value === undefined ? null : Math.round(value * 100) / 100;
    });
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99) };
}
