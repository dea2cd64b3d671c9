import type { Exchanges } from "../desk/exchange-schemas.ts";
import type { Connection, Connections } from "../desk/history-schemas.ts";
import { Panel } from "./panels.tsx";
import { type Column, Rows } from "./rows.tsx";
import { bytes, clock, count, milliseconds } from "./text.ts";

/** The parts of a connection's life, in their order. */
const phases = ["dial", "tls", "upgrade", "wait", "flow"] as const;
const ofKey = ["pool", ...phases] as const;

/** Pure: the ends of the parts that came, in milliseconds. */
export function partsOf({ timeline_ms: t, state, from: source }: Connection, age: number) {
  const end = t.ended ?? Math.max(age, t.first_down ?? 0, t.upgraded ?? 0);
  const first = t.first_down;
  const stops = [t.connected, t.ready, t.upgraded, first, state === "opening" ? null : end];
  let from = 0;
  return phases.flatMap((phase, i) => {
    const to = stops[i] ?? null;
    if (to === null || to < from) return [];
    const isPool = phase === "tls" && source === "pool";
    const part = { phase: isPool ? ("pool" as const) : phase, from, to };
    from = to;
    return [part];
  });
}

/** Opening and waiting matter most, so the square root widens them. */
function Timeline({ connection }: { readonly connection: Connection }) {
  const age = Date.now() - Date.parse(connection.accepted);
  const parts = partsOf(connection, age);
  const end = parts.at(-1)?.to ?? 0;
  const at = (ms: number): number => (end === 0 ? 0 : 100 * Math.sqrt(ms / end));
  const label = parts.map(({ phase, from, to }) => `${phase} ${milliseconds(to - from)}`);
  return (
    <span class="timeline" role="img" aria-label={label.join(", ")} title={label.join("\n")}>
      {parts.map(({ phase, from, to }) => (
        <i
          key={phase}
          class={phase}
          style={{ left: `${at(from)}%`, width: `${at(to) - at(from)}%` }}
        />
      ))}
    </span>
  );
}

const lifeOf = ({ timeline_ms: { ended }, accepted }: Connection): string =>
  milliseconds(ended ?? Date.now() - Date.parse(accepted));

const columns: readonly Column<Connection>[] = [
  { name: "Time", kind: "time", cell: ({ accepted }) => clock(accepted) },
  {
    name: "Endpoint",
    kind: "name",
    cell: ({ endpoint }) => <b>{endpoint}</b>,
  },
  {
    name: "Client",
    kind: "client",
    cell: ({ client, user }) => `${client}${user === null ? "" : ` ${user.name}`}`,
  },
  { name: "From", kind: "short", cell: ({ from }) => from ?? "" },
  {
    name: "Timeline",
    kind: "line",
    cell: (connection) => <Timeline connection={connection} />,
  },
  { name: "Life", kind: "number", cell: lifeOf },
  { name: "Bytes", kind: "number", cell: ({ bytes: { up, down } }) => bytes(up + down) },
  {
    name: "End",
    kind: "reason",
    cell: ({ end, state }) => (
      <span class={end === null ? "open" : end.kind}>
        {end === null ? state : end.reason || end.kind}
      </span>
    ),
  },
];

interface ConnectionsProps {
  readonly connections: Connections;
  /** Only those of this `host:port`. */
  readonly endpoint: string | undefined;
  /** Only those of this profile; empty for all. */
  readonly profile: string;
  readonly hasProfiles: boolean;
}

const profileColumn: Column<Connection> = {
  name: "Profile",
  kind: "profile",
  cell: ({ profile }) => profile,
};
const columnsWithProfile = columns.flatMap((column) =>
  column.name === "Client" ? [profileColumn, column] : [column],
);

export function ConnectionList(props: ConnectionsProps) {
  const { connections, endpoint, profile, hasProfiles } = props;
  const rows = connections.connections.filter(
    (one) =>
      (endpoint === undefined || one.endpoint === endpoint) &&
      (profile === "" || one.profile === profile),
  );
  const only = [endpoint ?? "", profile].filter((one) => one !== "").join(", ");
  const tools = (
    <>
      <span class="soft">
        {count(connections.open)} open, {count(connections.ended)} ended
        {only !== "" && ` · only ${only}`}
      </span>
      <span class="key tools" aria-hidden="true">
        {ofKey.map((phase) => (
          <span key={phase}>
            <i class={phase} />
            {phase}
          </span>
        ))}
      </span>
    </>
  );
  return (
    <Panel id="connections" title="Connections" tools={tools}>
      <Rows
        id="connections"
        label="Connections"
        empty="There was no connection yet."
        columns={hasProfiles ? columnsWithProfile : columns}
        rows={rows}
        keyOf={({ id }) => String(id)}
        chosen={undefined}
        choose={() => undefined}
      />
    </Panel>
  );
}

type Exchange = Exchanges["exchanges"][number];

const exchangeColumns: readonly Column<Exchange>[] = [
  { name: "Time", kind: "time", cell: ({ started_at }) => clock(started_at) },
  {
    name: "Status",
    kind: "short",
    cell: ({ status }) => (
      <span class={`status-${Math.floor(status / 100)}`}>{status === 0 ? "none" : status}</span>
    ),
  },
  { name: "Method", kind: "short", cell: ({ method }) => method },
  {
    name: "Request",
    kind: "name",
    cell: ({ host, target }) => (
      <>
        <span class="soft">{host}</span>
        <b>{target}</b>
      </>
    ),
  },
  { name: "Time taken", kind: "number", cell: ({ times_ms }) => milliseconds(times_ms.total) },
  {
    name: "Bytes",
    kind: "number",
    cell: ({ reply }) => bytes(reply?.body_bytes ?? 0),
  },
  { name: "Note", kind: "reason", cell: ({ note, reason }) => note || reason },
];

/** Nothing if no endpoint is read. */
export function ExchangeList({ exchanges }: { readonly exchanges: Exchanges | undefined }) {
  if (exchanges === undefined || exchanges.inspected.length === 0) return null;
  const tools = <span class="soft">{exchanges.inspected.join(", ")}</span>;
  return (
    <Panel id="exchanges" title="HTTP" tools={tools}>
      <Rows
        id="exchanges"
        label="HTTP exchanges"
        empty="No exchange was read yet."
        columns={exchangeColumns}
        rows={exchanges.exchanges.toReversed()}
        keyOf={({ id }) => String(id)}
        chosen={undefined}
        choose={() => undefined}
      />
    </Panel>
  );
}
