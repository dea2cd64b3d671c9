import type { ComponentChildren } from "preact";
import type { Status } from "../desk/reply-schemas.ts";
import type { Daemon, Link, Poll } from "./daemon.ts";
import { ago, bytes, clock, count, day, duration, milliseconds, plural, rate } from "./text.ts";

/** A sentence with commands in backticks. */
export function Sentence({ text }: { readonly text: string }) {
  const parts = text.split("`");
  return <>{parts.map((part, i) => (i % 2 === 1 ? <code key={part}>{part}</code> : part))}</>;
}

interface PanelProps {
  readonly id: string;
  readonly title: string;
  readonly tools?: ComponentChildren;
  readonly children: ComponentChildren;
}

export function Panel({ id, title, tools, children }: PanelProps) {
  return (
    <section class="panel" id={`panel-${id}`} aria-labelledby={`title-${id}`}>
      <header>
        <h2 id={`title-${id}`}>{title}</h2>
        {tools}
      </header>
      {children}
    </section>
  );
}

const linkTexts: Readonly<Record<Link, string>> = {
  connecting: "connecting",
  live: "live",
  lost: "no connection to the daemon: trying again",
  locked: "this session has ended: run `ngrokd dashboard` again",
};

export function TitleBar({ daemon, children }: { daemon: Daemon; children: ComponentChildren }) {
  const { status, link } = daemon;
  return (
    <header class="bar">
      <h1>ngrokd</h1>
      {status !== undefined && <span class={`badge ${status.phase}`}>{status.phase}</span>}
      <span class={`link ${link}`} role="status">
        <Sentence text={linkTexts[link]} />
      </span>
      {status !== undefined && (
        <span class="facts">
          {status.version} · up {duration(status.uptime_seconds)} · {status.ingress_endpoint}
        </span>
      )}
      {children}
    </header>
  );
}

/** What is wrong, and what to do. Nothing if all is well. */
export function Warnings({ status }: { readonly status: Status }) {
  const isWrong = status.phase !== "serving" && status.reason !== "";
  if (!isWrong && status.warnings.length === 0) return null;
  return (
    <section class="warnings" id="panel-warnings" aria-label="Warnings">
      {isWrong && (
        <p class="trouble" role="alert">
          <b>
            <Sentence text={status.reason} />
          </b>
          {status.hint !== "" && (
            <span class="hint">
              <Sentence text={status.hint} />
            </span>
          )}
        </p>
      )}
      <ul>
        {status.warnings.map((text) => (
          <li key={text}>
            <Sentence text={text} />
          </li>
        ))}
      </ul>
    </section>
  );
}

interface TileProps {
  readonly name: string;
  readonly value: ComponentChildren;
  readonly children?: ComponentChildren;
  readonly tone?: string;
}

function Tile({ name, value, children, tone = "" }: TileProps) {
  return (
    <section class={`tile ${tone}`} id={`tile-${name.toLowerCase().replaceAll(" ", "-")}`}>
      <h2>{name}</h2>
      <p class="value">{value}</p>
      <div class="more">{children}</div>
    </section>
  );
}

export function Tiles({ daemon, now }: { readonly daemon: Daemon; readonly now: number }) {
  const { status, traffic } = daemon;
  if (status === undefined) return null;
  const { endpoints, connections, pool } = status;
  const served = endpoints.listening + (endpoints.wildcard ?? 0);
  const others = (["failed", "refused", "unsupported", "paused", "draining"] as const)
    .map((state) => [state, endpoints[state] ?? 0] as const)
    .filter(([, n]) => n > 0);
  const last = (values: readonly number[] | undefined): number =>
    (values?.at(-1) ?? 0) / (traffic?.step ?? 1);
  const asked = pool.hits + pool.misses;
  return (
    <div class="tiles">
      <Tile name="Endpoints" value={count(served)} tone={endpoints.failed > 0 ? "bad" : ""}>
        {others.length === 0 ? "all served" : others.map(([s, n]) => `${n} ${s}`).join(", ")}
      </Tile>
      <Tile name="Connections" value={count(daemon.connections.open)}>
        {count(connections.total)} in all
        {connections.errors > 0 && `, ${plural(connections.errors, "error")}`}
      </Tile>
      <Tile name="Traffic" value={`↓ ${rate(last(traffic?.total.down))}`}>
        ↑ {rate(last(traffic?.total.up))} · {bytes(status.bytes.up + status.bytes.down)} in all
      </Tile>
      <Tile name="Pool" value={count(pool.ready)}>
        ready{asked > 0 && ` · ${Math.round((100 * pool.hits) / asked)} % of ${count(asked)} hit`}
      </Tile>
      <CertificateTile status={status} />
      <PollTile daemon={daemon} now={now} />
    </div>
  );
}

function CertificateTile({ status: { certificate } }: { readonly status: Status }) {
  if (certificate === null) return <Tile name="Certificate" value="none yet" />;
  const { days_left: days, not_after: end, renewal_trouble: trouble } = certificate;
  const left = days < 1 ? duration(days * 86_400) : plural(Math.floor(days), "day");
  return (
    <Tile name="Certificate" value={left} tone={trouble !== null || days < 7 ? "bad" : ""}>
      {trouble === null ? `until ${day(end)}` : <Sentence text={trouble.reason} />}
      <meter min={0} max={90} low={14} value={Math.max(0, days)} aria-label="Days left" />
    </Tile>
  );
}

function PollTile({ daemon, now }: { readonly daemon: Daemon; readonly now: number }) {
  const { status, polls, statusAt } = daemon;
  const last = status?.last_poll;
  if (last === null || last === undefined) return <Tile name="Last poll" value="none yet" />;
  const newest = polls.at(-1);
  const seconds =
    newest === undefined
      ? (last.seconds_ago ?? 0) + (now - statusAt) / 1000
      : (Date.now() - Date.parse(newest.at)) / 1000;
  return (
    <Tile
      name="Last poll"
      value={last.ok ? ago(seconds) : `failed ${ago(seconds)}`}
      tone={last.ok ? "" : "bad"}
    >
      <span class="polls" role="img" aria-label={pollsText(daemon)}>
        {polls.map((poll) => (
          <i
            key={poll.id}
            class={poll.ok ? "good" : "bad"}
            title={pollText(poll, profilesOf(status).length > 0)}
          />
        ))}
      </span>
    </Tile>
  );
}

function pollText({ at, took_ms, ok, reason, profile }: Poll, isOneOfSeveral: boolean): string {
  const name = isOneOfSeveral ? `${profile}, ` : "";
  return `${name}${clock(at)}, ${milliseconds(took_ms)}${ok ? "" : `: ${reason}`}`;
}

const pollsText = ({ polls }: Daemon): string =>
  `${plural(polls.length, "poll")}, ${polls.filter(({ ok }) => !ok).length} failed`;

/** The names of the profiles; none if there is only one. */
export const profilesOf = (status: Status | undefined): readonly string[] => {
  const names = status?.profiles?.map(({ name }) => name) ?? [];
  return names.length < 2 ? [] : names;
};

/** The profiles, if there are several. */
export function Profiles({ status }: { readonly status: Status }) {
  if (profilesOf(status).length === 0) return null;
  return (
    <Panel id="profiles" title="Profiles">
      <ul class="profiles">
        {status.profiles?.map(({ name, phase, endpoints, ingress_endpoint, reason, hint }) => (
          <li key={name}>
            <b>{name}</b>
            <span class={`badge ${phase}`}>{phase}</span>
            <span class="soft">
              {plural(endpoints.listening, "endpoint")} · {ingress_endpoint}
            </span>
            {reason !== "" && (
              <span>
                <Sentence text={hint === "" ? reason : `${reason}: ${hint}`} />
              </span>
            )}
          </li>
        ))}
      </ul>
    </Panel>
  );
}
