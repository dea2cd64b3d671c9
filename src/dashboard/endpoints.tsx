import { useMemo, useState } from "preact/hooks";
import type { ListItem } from "../desk/reply-schemas.ts";
import { Spark } from "./chart.tsx";
import type { Daemon } from "./daemon.ts";
import { Panel, Sentence } from "./panels.tsx";
import { type Column, type Order, Rows, sorted } from "./rows.tsx";
import { ago, bytes, count, milliseconds } from "./text.ts";

export const keyOfItem = ({ profile = "", url, id }: ListItem): string => `${profile} ${url} ${id}`;
const nameOf = ({ hostname, url }: ListItem): string => (hostname === "" ? url : hostname);
const targetOf = ({ hostname, port }: ListItem): string => `${hostname}:${port}`;
const reasonIn = ({ reason, warning }: ListItem): string => reason || warning;

function columnsWith({ traffic }: Daemon): readonly Column<ListItem>[] {
  const series = (item: ListItem): readonly number[] => {
    const columns = traffic?.endpoints[targetOf(item)];
    return columns === undefined ? [] : columns.up.map((up, i) => up + (columns.down[i] ?? 0));
  };
  return [
    {
      name: "State",
      kind: "state",
      by: ({ state }) => state,
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

/** Served ones are what everybody hopes for; the others come first. */
const byState: Order = { column: "Endpoint", isDown: false };

interface EndpointsProps {
  readonly daemon: Daemon;
  readonly chosen: string | undefined;
  readonly choose: (key: string | undefined) => void;
}

export function Endpoints({ daemon, chosen, choose }: EndpointsProps) {
  const [text, setText] = useState("");
  const [state, setState] = useState("");
  const [order, setOrder] = useState(byState);
  const columns = useMemo(() => columnsWith(daemon), [daemon.traffic]);
  const rows = useMemo(() => {
    const words = text.toLowerCase().split(/\s+/);
    const isWanted = (item: ListItem): boolean => {
      const all = `${item.url} ${item.ip} ${item.state} ${reasonIn(item)} ${item.profile ?? ""}`;
      return (state === "" || item.state === state) && words.every((word) => all.includes(word));
    };
    return sorted(daemon.list.filter(isWanted), columns, order);
  }, [daemon.list, columns, order, text, state]);
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
        <select
          aria-label="State"
          value={state}
          onChange={({ currentTarget }) => setState(currentTarget.value)}
        >
          <option value="">all states</option>
          {states.map((one) => (
            <option key={one} value={one}>
              {one}
            </option>
          ))}
        </select>
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
