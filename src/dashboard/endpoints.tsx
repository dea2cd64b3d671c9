import { useMemo, useState } from "preact/hooks";
import type { ListItem } from "../desk/reply-schemas.ts";
import { Spark } from "./chart.tsx";
import type { Daemon } from "./daemon.ts";
import { Panel, profilesOf, Sentence } from "./panels.tsx";
import { type Column, type Order, Rows, sorted } from "./rows.tsx";
import { ago, bytes, count, milliseconds } from "./text.ts";

export const keyOfItem = ({ profile = "", url, id }: ListItem): string => `${profile} ${url} ${id}`;
const nameOf = ({ hostname, url }: ListItem): string => (hostname === "" ? url : hostname);
const targetOf = ({ hostname, port }: ListItem): string => `${hostname}:${port}`;
const reasonIn = ({ reason, warning }: ListItem): string => reason || warning;

/** The profile is a column if there are several. */
function columnsWith({ traffic, status }: Daemon): readonly Column<ListItem>[] {
  const series = (item: ListItem): readonly number[] => {
    const columns = traffic?.endpoints[targetOf(item)];
    return columns === undefined ? [] : columns.up.map((up, i) => up + (columns.down[i] ?? 0));
  };
  return [
    {
      name: "State",
      kind: "state",
      by: rankOf,
      cell: ({ state, warning }) => (
        <span class={`state-text ${state} ${warning === "" ? "" : "warned"}`}>{state}</span>
      ),
    },
    {
      name: "Endpoint",
      kind: "name",
      by: nameOf,
      cell: (item) => (
        <>
          <b>{nameOf(item)}</b>
          <span class="soft">:{item.port}</span>
        </>
      ),
    },
    ...(profilesOf(status).length > 0 ? [profileColumn] : []),
    {
      name: "Address",
      kind: "address",
      by: ({ ip }) => ip,
      cell: ({ ip, proto }) => `${ip} ${proto}`,
    },
    {
      name: "Traffic, 15 min",
      kind: "sparkline",
      by: ({ bytes: { up, down } }) => up + down,
      cell: (item) => <Spark values={series(item)} />,
    },
    {
      name: "Open",
      kind: "number",
      by: ({ connections }) => connections.active,
      cell: ({ connections }) => count(connections.active),
    },
    {
      name: "Total",
      kind: "number",
      by: ({ connections }) => connections.total,
      cell: ({ connections }) => count(connections.total),
    },
    {
      name: "p50",
      kind: "number",
      by: ({ latency_ms: { first_byte: it } }) => it?.p50 ?? -1,
      cell: ({ latency_ms: { first_byte: it } }) => (it === null ? "" : milliseconds(it.p50)),
    },
    { name: "Reason", kind: "reason", by: reasonIn, cell: (item) => reasonIn(item) },
  ];
}

const profileColumn: Column<ListItem> = {
  name: "Profile",
  kind: "profile",
  by: ({ profile = "" }) => profile,
  cell: ({ profile = "" }) => profile,
};

/** Served ones are what everybody hopes for; the others come first. */
const firstOrder: Order = { column: "State", isDown: false };
const ranks = ["failed", "refused", "unsupported", "paused", "draining"];
const served = ranks.length + 1;

function rankOf({ state, warning }: ListItem): number {
  const rank = ranks.indexOf(state);
  if (rank >= 0) return rank;
  return warning === "" ? served : served - 1;
}

interface EndpointsProps {
  readonly daemon: Daemon;
  readonly chosen: string | undefined;
  readonly choose: (key: string | undefined) => void;
  /** Only those of this profile; empty for all. */
  readonly profile: string;
  readonly setProfile: (profile: string) => void;
}

export function Endpoints({ daemon, chosen, choose, profile, setProfile }: EndpointsProps) {
  const [text, setText] = useState("");
  const [state, setState] = useState("");
  const [order, setOrder] = useState(firstOrder);
  const profiles = profilesOf(daemon.status);
  const columns = useMemo(() => columnsWith(daemon), [daemon.traffic, profiles.length]);
  const rows = useMemo(() => {
    const words = text.toLowerCase().split(/\s+/);
    const isWanted = (item: ListItem): boolean => {
      const all = `${item.url} ${item.ip} ${item.state} ${reasonIn(item)} ${item.profile ?? ""}`;
      if (state !== "" && item.state !== state) return false;
      if (profile !== "" && item.profile !== profile) return false;
      return words.every((word) => all.toLowerCase().includes(word));
    };
    return sorted(daemon.list.filter(isWanted), columns, order);
  }, [daemon.list, columns, order, text, state, profile]);
  const item = daemon.list.find((one) => keyOfItem(one) === chosen);
  const states = [...new Set(daemon.list.map((one) => one.state))].sort();
  const tools = (
    <>
      <span class="soft" id="shown">
        {rows.length === daemon.list.length
          ? count(rows.length)
          : `${count(rows.length)} of ${count(daemon.list.length)}`}
      </span>
      <span class="tools">
        {profiles.length > 0 && (
          <Choice
            label="Profile"
            all="all profiles"
            values={profiles}
            value={profile}
            set={setProfile}
          />
        )}
        <Choice label="State" all="all states" values={states} value={state} set={setState} />
        <input
          type="search"
          id="filter"
          placeholder="Filter ( / )"
          aria-label="Filter endpoints"
          value={text}
          onInput={({ currentTarget }) => setText(currentTarget.value)}
        />
      </span>
    </>
  );
  return (
    <Panel id="endpoints" title="Endpoints" tools={tools}>
      <Rows
        id="endpoints"
        label="Endpoints"
        empty={daemon.list.length === 0 ? "No endpoint is bound to this machine." : "None fits."}
        {...{ columns, rows, order, setOrder, chosen, choose, keyOf: keyOfItem }}
      />
      {item !== undefined && <Detail item={item} />}
    </Panel>
  );
}

interface ChoiceProps {
  readonly label: string;
  /** The name of no choice, whose value is empty. */
  readonly all: string;
  readonly values: readonly string[];
  readonly value: string;
  readonly set: (value: string) => void;
}

function Choice({ label, all, values, value, set }: ChoiceProps) {
  return (
    <select
      aria-label={label}
      value={value}
      onChange={({ currentTarget }) => set(currentTarget.value)}
    >
      <option value="">{all}</option>
      {values.map((one) => (
        <option key={one} value={one}>
          {one}
        </option>
      ))}
    </select>
  );
}

function Detail({ item }: { readonly item: ListItem }) {
  const { connections: c, latency_ms: latency, errors_by_kind, refused_by_code } = item;
  const kinds = Object.entries({ ...errors_by_kind, ...refused_by_code }).filter(([, n]) => n > 0);
  const quantiles = (one: typeof latency.upgrade): string =>
    one === null
      ? "not measured"
      : [one.p50, one.p90, one.p99].map((ms) => milliseconds(ms)).join(" / ");
  const facts: readonly (readonly [string, string])[] = [
    ["URL", item.url],
    ["Addresses", [item.ip, item.ip6].filter((ip) => ip !== "").join(", ")],
    ["Connections", `${count(c.total)}, ${count(c.active)} open, ${count(c.refused)} refused`],
    ["Bytes", `↓ ${bytes(item.bytes.down)}, ↑ ${bytes(item.bytes.up)}`],
    ["Upgrade p50 / p90 / p99", quantiles(latency.upgrade)],
    ["First byte p50 / p90 / p99", quantiles(latency.first_byte)],
    ["Errors", kinds.map(([kind, n]) => `${kind} ${n}`).join(", ") || "none"],
    ["Last error", c.last_error],
    ["Last notice of ngrok", c.last_notice],
    ["Last use", lastUse(item.last_activity)],
    ["Profile", item.profile ?? ""],
    ["Id", item.ids.join(", ") || item.id],
  ];
  const text = [item.reason, item.warning].filter((one) => one !== "").join(" ");
  return (
    <section class="detail" id="detail" aria-label={`Details of ${nameOf(item)}`}>
      {text !== "" && (
        <p class="trouble">
          <Sentence text={text} />
        </p>
      )}
      <dl>
        {facts
          .filter(([, value]) => value !== "")
          .map(([name, value]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{value}</dd>
            </div>
          ))}
      </dl>
    </section>
  );
}

const lastUse = (time: string | undefined): string =>
  time === undefined ? "" : ago((Date.now() - Date.parse(time)) / 1000);
