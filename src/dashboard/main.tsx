/**
 * The dashboard: one page about a running daemon. It only reads, and gets
 * everything from the daemon that serves it. `make build` puts it into the
 * binary.
 */
import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { Quantiles, Traffic } from "../desk/history-schemas.ts";
import { Chart } from "./chart.tsx";
import { ConnectionList, ExchangeList } from "./connections.tsx";
import { type Daemon, follow } from "./daemon.ts";
import { Doctor } from "./doctor.tsx";
import { Endpoints, keyOfItem } from "./endpoints.tsx";
import { Panel, Profiles, profilesOf, Tiles, TitleBar, Warnings } from "./panels.tsx";
import { milliseconds, rate } from "./text.ts";

const following = follow();

function useDaemon(): Daemon {
  const [daemon, setDaemon] = useState(following.now());
  useEffect(() => {
    let isAsked = false;
    // Many events in one frame are drawn once.
    return following.subscribe(() => {
      if (isAsked) return;
      isAsked = true;
      setTimeout(() => {
        isAsked = false;
        setDaemon(following.now());
      }, 50);
    });
  }, []);
  return daemon;
}

/** The steady clock; a hidden page does not look at it. */
function useNow(): number {
  const [now, setNow] = useState(performance.now());
  useEffect(() => {
    const timer = setInterval(() => {
      if (document.visibilityState === "visible") setNow(performance.now());
    }, 1000);
    return () => clearInterval(timer);
  }, []);
  return now;
}

type Theme = "light dark" | "light" | "dark";
const themeNames: Readonly<Record<Theme, string>> = {
  "light dark": "Theme: system",
  light: "Theme: light",
  dark: "Theme: dark",
};
const afterTheme: Readonly<Record<Theme, Theme>> = {
  "light dark": "light",
  light: "dark",
  dark: "light dark",
};

/** The choice of the reader, and what it means at the moment. */
function useTheme() {
  const systemsDark = matchMedia("(prefers-color-scheme: dark)");
  const [theme, setTheme] = useState(
    () => (localStorage.getItem("theme") ?? "light dark") as Theme,
  );
  const [isDark, setDark] = useState(systemsDark.matches);
  useEffect(() => {
    const update = (): void => setDark(systemsDark.matches);
    systemsDark.addEventListener("change", update);
    return () => systemsDark.removeEventListener("change", update);
  }, []);
  document.documentElement.style.colorScheme = theme;
  const next = (): void => {
    localStorage.setItem("theme", afterTheme[theme]);
    setTheme(afterTheme[theme]);
  };
  return { name: themeNames[theme], look: `${theme} ${isDark}`, next };
}

function useKeys(): void {
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      const { tagName } = event.target as HTMLElement;
      if (event.key !== "/" || tagName === "INPUT" || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      document.getElementById("filter")?.focus();
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);
}

function Page() {
  const [daemon, now, theme] = [useDaemon(), useNow(), useTheme()];
  const [chosen, choose] = useState<string | undefined>();
  const [profile, setProfile] = useState("");
  useKeys();
  const { status, traffic } = daemon;
  const item = daemon.list.find((one) => keyOfItem(one) === chosen);
  const failed = status?.endpoints.failed ?? 0;
  useEffect(() => {
    document.title = failed > 0 ? `ngrokd: ${failed} failed` : "ngrokd";
  }, [failed]);
  return (
    <>
      <TitleBar daemon={daemon}>
        <button type="button" class="theme" onClick={theme.next}>
          {theme.name}
        </button>
      </TitleBar>
      <main class={daemon.link}>
        {status !== undefined && <Warnings status={status} />}
        <Tiles daemon={daemon} now={now} />
        {traffic !== undefined && (
          <Charts traffic={traffic} theme={theme.look} seconds={status?.uptime_seconds ?? 0} />
        )}
        {status !== undefined && <Profiles status={status} />}
        <Endpoints {...{ daemon, chosen, choose, profile, setProfile }} />
        <ConnectionList
          connections={daemon.connections}
          endpoint={item && `${item.hostname}:${item.port}`}
          profile={profile}
          hasProfiles={profilesOf(status).length > 0}
        />
        <Doctor endpoint={item && `${item.hostname}:${item.port}`} />
        <ExchangeList exchanges={daemon.exchanges} />
      </main>
    </>
  );
}

interface ChartsProps {
  readonly traffic: Traffic;
  readonly theme: string;
  /** How long the daemon runs. */
  readonly seconds: number;
}

/** A young daemon has nothing to show of the time before, but 3 minutes. */
const leastSeconds = 180;

function Charts({ traffic, theme, seconds }: ChartsProps) {
  const [kind, setKind] = useState<"first_byte" | "upgrade">("first_byte");
  const { step, total } = traffic;
  const slots = Math.min(traffic.slots, Math.ceil(Math.max(leastSeconds, seconds) / step));
  const end = Date.parse(traffic.to) / 1000;
  const times = Array.from({ length: slots }, (_, i) => end - (slots - 1 - i) * step);
  const perSecond = (values: readonly number[]): number[] =>
    values.slice(-slots).map((value) => value / step);
  const quantiles: Quantiles = traffic.latency_ms[kind];
  const newest = (values: readonly (number | null)[]): string => {
    const value = values.findLast((one) => one !== null);
    return value === undefined || value === null ? "not measured" : milliseconds(value);
  };
  const latencyText = (["p50", "p90", "p99"] as const)
    .map((name) => `${name} ${newest(quantiles[name])}`)
    .join(", ");
  const tools = (
    <select
      class="tools"
      aria-label="Latency of"
      value={kind}
      onChange={({ currentTarget }) => setKind(currentTarget.value as typeof kind)}
    >
      <option value="first_byte">to the first byte</option>
      <option value="upgrade">of the ingress</option>
    </select>
  );
  return (
    <div class="charts">
      <Panel id="traffic" title="Traffic">
        <Chart
          label={`Traffic of 15 minutes, at most ${rate(Math.max(...perSecond(total.down), 0))} down`}
          show={rate}
          {...{ times, theme }}
          lines={[
            { label: "down", color: "--blue", values: perSecond(total.down), isFilled: true },
            { label: "up", color: "--violet", values: perSecond(total.up) },
          ]}
        />
      </Panel>
      <Panel id="latency" title="Latency" tools={tools}>
        <Chart
          label={`Latency: ${latencyText}`}
          show={milliseconds}
          {...{ times, theme }}
          lines={[
            { label: "p50", color: "--green", values: quantiles.p50.slice(-slots) },
            { label: "p90", color: "--amber", values: quantiles.p90.slice(-slots) },
            { label: "p99", color: "--red", values: quantiles.p99.slice(-slots) },
          ]}
        />
      </Panel>
    </div>
  );
}

following.start();
render(<Page />, document.body);
