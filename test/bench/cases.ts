import { accessTimes } from "./access.ts";
import type { Apart, Metrics } from "./apart.ts";
import type { Kind } from "./chart.ts";
import { bar, type Figures, ratio, unfailing, type Verdict } from "./figures.ts";
import { historyCosts } from "./history.ts";
import { chunkCost } from "./inspection.ts";
import { atRest, cpuSeconds, descriptors, rssKiB, until } from "./processes.ts";
import type { Relay, RelayOptions } from "./relay.ts";
import { type Connects, oneWayMs, type Rig } from "./rig.ts";
import type { Row } from "./standing.ts";

/** A relay under measurement, or the direct way without one. */
export interface Contender {
  readonly name: string;
  /** `address:port`, and the flags that the load needs for it. */
  readonly load: readonly string[];
  /** Undefined without a relay. */
  readonly pid: number | undefined;
}

export interface Bench {
  readonly rig: Rig;
  /** All contenders; those without `far` use the ingress nearby. */
  readonly near: readonly Contender[];
  readonly far: readonly Contender[];
  /** The installed peers. */
  readonly peers: readonly string[];
  /** Makes a case shorter or smaller; 1 in a run that counts. */
  readonly scale: number;
  /** Starts a separate daemon with this many endpoints. */
  startRelay(endpoints: number, settings?: RelayOptions["settings"]): Promise<Relay>;
  /**
   * The same, with one endpoint that stays, and so many others: `show` chooses
   * one of two lists that share none of these.
   */
  startChanging(
    endpoints: number,
    settings: RelayOptions["settings"],
  ): Promise<{ readonly relay: Relay; show(list: number): void }>;
  /** The same with so many profiles, each with this many endpoints. */
  startProfiles(
    profiles: number,
    endpoints: number,
    settings?: RelayOptions["settings"],
  ): Promise<Relay>;
  /** See `measuredApart`. */
  apart(what: Apart): Promise<Metrics>;
}

export interface Case {
  /** The name for `--only`. */
  readonly name: string;
  readonly title: string;
  /** The method, for the reader of the figures. */
  readonly about: string;
  /**
   * The cause of the figures by a profile, and the attempts so far. For cases
   * that are near their bar or miss it.
   */
  readonly limits?: string;
  /** One round is enough. */
  readonly once?: true;
  /** One round. `turn` changes the order of the contenders. */
  measure(bench: Bench, figures: Figures, turn: number): Promise<void>;
  /** `peers` are the names of the installed ones. */
  verdicts(figures: Figures, peers: readonly string[]): Verdict[];
  /** What ngrokd and its peers are compared by. */
  readonly rows?: readonly Row[];
}

/** ngrokd's settings. */
export const withoutPool = { forward: { pool: { min: 0, max: 0 } } };
export const withoutBoth = { forward: { ...withoutPool.forward, session_resumption: false } };
export const withEarlyData = { forward: { early_data: "on" } };

/** Names of contenders. */
export const ours = "ngrokd";
export const poolOff = "ngrokd, pool off";
export const allOff = "ngrokd, pool and resumption off";
export const early = "ngrokd, early data";
export const direct = "no relay";

export function kindOf(contender: string): Kind {
  if (contender === direct) return "none";
  if (contender === ours) return "own";
  return [early, poolOff, allOff].includes(contender) ? "variant" : "peer";
}

const GiB = 2 ** 30;
const flows = [
  { way: "down", streams: 1 },
  { way: "down", streams: 8 },
  { way: "up", streams: 1 },
  { way: "up", streams: 8 },
] as const;

const bulkOf = (way: string, streams: number): string =>
  `bulk ${way}, ${streams} ${streams === 1 ? "connection" : "connections"}`;

const bulk: Case = {
  name: "bulk",
  title: "Bulk",
  about:
    "1 GiB in all over 1 and 8 connections, from the ingress (down) and to it (up). CPU is that of the relay's process, in seconds per GiB.",
  async measure({ rig, near, scale }, figures, turn) {
    const bytes = Math.ceil(GiB * scale);
    for (const { way, streams } of flows) {
      for await (const { name, load, pid } of oneByOne(inTurn(near.filter(plain), turn))) {
        const before = pid === undefined ? 0 : cpuSeconds(pid);
        const { seconds } = await rig.load<{ seconds: number }>(
          ...load,
          "-do=bulk",
          `-way=${way}`,
          `-streams=${streams}`,
          `-bytes=${bytes}`,
        );
        figures.add(name, `${way} ${streams}, MiB/s`, bytes / 2 ** 20 / seconds);
        if (pid !== undefined)
          figures.add(
            name,
            `${way} ${streams}, CPU s/GiB`,
            (cpuSeconds(pid) - before) / (bytes / GiB),
          );
      }
    }
  },
  verdicts: (figures, peers) =>
    flows.flatMap(({ way, streams }) => {
      const [speed, cpu] = [`${way} ${streams}, MiB/s`, `${way} ${streams}, CPU s/GiB`];
      const what = bulkOf(way, streams);
      const best =
        peers.toSorted((a, b) => figures.median(b, speed) - figures.median(a, speed))[0] ?? "";
      return [
        ratio(`${what}: throughput`, figures.median(ours, speed), figures.median(best, speed), {
          atLeast: 0.95,
          of: `the best peer's (${best})`,
        }),
        ratio(`${what}: CPU per GiB`, figures.median(ours, cpu), figures.median("haproxy", cpu), {
          atMost: 1.15,
          of: "haproxy's",
        }),
      ];
    }),
  rows: flows.flatMap(({ way, streams }) => [
    {
      what: `${bulkOf(way, streams)}: throughput`,
      metric: `${way} ${streams}, MiB/s`,
      better: "more",
    },
    {
      what: `${bulkOf(way, streams)}: CPU per GiB`,
      metric: `${way} ${streams}, CPU s/GiB`,
      better: "less",
    },
  ]),
};

const echo: Case = {
  name: "echo",
  title: "1-byte echo on an open connection",
  about:
    "One byte to the ingress and back, 20,000 times on one connection. Each starts when the previous one is back.",
  async measure({ rig, near, scale }, figures, turn) {
    for await (const { name, load } of oneByOne(inTurn(near.filter(plain), turn))) {
      const { p50, p99 } = await rig.load<Connects>(
        ...load,
        "-do=echo",
        `-count=${Math.ceil(20_000 * scale)}`,
      );
      figures.add(name, "p50, us", p50 * 1000);
      figures.add(name, "p99, us", p99 * 1000);
    }
  },
  verdicts: (figures, peers) =>
    ["p50, us", "p99, us"].map((metric) => {
      const best =
        peers.toSorted((a, b) => figures.median(a, metric) - figures.median(b, metric))[0] ?? "";
      const limit = { atMost: 1.1, of: `the best peer's (${best})` };
      return ratio(
        `echo ${metric.slice(0, 3)}`,
        figures.median(ours, metric),
        figures.median(best, metric),
        limit,
      );
    }),
  rows: percentiles("echo", "us"),
};

/** A bar against the best peer: the fastest, or the one with the least time. */
function againstBest(
  figures: Figures,
  peers: readonly string[],
  bar: { what: string; metric: string } & ({ atLeast: number } | { atMost: number }),
): Verdict {
  const { what, metric, ...limit } = bar;
  const sign = "atLeast" in limit ? -1 : 1;
  const value = (name: string): number => figures.median(name, metric);
  const best = peers.toSorted((a, b) => sign * (value(a) - value(b)))[0] ?? "";
  const of = `the best peer's (${best})`;
  return unfailing(figures, ours, ratio(what, value(ours), value(best), { ...limit, of }));
}

const roundTripMs = 2 * oneWayMs;
const far: Case = {
  name: "far",
  title: "New connections to an ingress that is far away",
  about: `From connect() to the first echoed byte, 20 new connections a second, over a proxy that makes the round trip to the ingress ${roundTripMs} ms long, including that of the TCP handshake. Debian's peers send no upgrade header, which costs the two Go loops one more round trip.`,
  async measure({ rig, far, scale }, figures, turn) {
    for await (const { name, load } of oneByOne(inTurn(far, turn))) {
      const rate = ["-do=connect", "-per-second=20"];
      // The pool learns the demand.
      await rig.load<Connects>(...load, ...rate, "-count=10");
      const seen = await rig.load<Connects>(...load, ...rate, `-count=${Math.ceil(60 * scale)}`);
      figures.add(name, "p50, round trips", seen.p50 / roundTripMs);
      figures.add(name, "p99, round trips", seen.p99 / roundTripMs);
      figures.add(name, "failed", seen.failed);
    }
  },
  verdicts: (figures) => [
    farBar(figures, "p50", 2.2),
    farBar(figures, "p99", 3),
    farBar(figures, "p50", 1.2, early),
  ],
  rows: percentiles("new connection, 40 ms away", "round trips"),
};

function farBar(
  figures: Figures,
  mark: "p50" | "p99",
  atMost: number,
  contender: typeof ours | typeof early = ours,
): Verdict {
  const value = figures.median(contender, `${mark}, round trips`);
  const what = `new connection, ${roundTripMs} ms away${withEarly(contender)}: ${mark}`;
  return unfailing(figures, contender, bar(what, value, { atMost, unit: "round trips" }));
}

/** The part of a bar's name that tells of early data. */
const withEarly = (contender: string): string => (contender === early ? " with early data" : "");

const steady: Case = {
  name: "steady",
  title: "New connections at a steady rate",
  about:
    "From connect() to the first echoed byte, 100 new connections a second for three seconds, after two seconds to warm up. The ingress is nearby.",
  limits:
    "Every connection finds a ready one, and then takes two round trips through the ingress, one for the header and one for the byte. At this rate every hop wakes a sleeping process. By our own histograms, each hop then takes 0.5 to 0.6 ms, instead of 0.12 ms on a busy connection (see the echo). With the pool off, the dial adds some 1.7 ms. Refills come 3 ms after a client, so that they do not meet the next one: p99 was 2.02 ms when they came in rows, and is 1.25 ms. Tried: one refill at a time (same p99, a fifth fewer connections 1 at a time), resumed sessions for them, CAs in a file (0.15 ms less for every dial), no unnecessary promise or timer. With `forward.early_data: on`, the byte leaves together with the header, so one round trip is left. It is off by default, since ngrok does not document it, and since a dead ready connection loses these bytes.",
  async measure({ rig, near, scale }, figures, turn) {
    for await (const { name, load } of oneByOne(inTurn(near.filter(pooled), turn))) {
      const rate = ["-do=connect", "-per-second=100"];
      await rig.load<Connects>(...load, ...rate, `-count=${Math.ceil(200 * scale)}`);
      const { p50, p99, failed } = await rig.load<Connects>(
        ...load,
        ...rate,
        `-count=${Math.ceil(300 * scale)}`,
      );
      figures.add(name, "p50, ms", p50);
      figures.add(name, "p99, ms", p99);
      figures.add(name, "failed", failed);
    }
  },
  verdicts: (figures, peers) => {
    const off = figures.median(poolOff, "p50, ms");
    const limit = { atMost: 0.3, of: "our own with the pool off" };
    return [
      ...[ours, early].map((contender) => {
        const what = `new connections, 100/s${withEarly(contender)}: p50`;
        const own = figures.median(contender, "p50, ms");
        return unfailing(figures, contender, ratio(what, own, off, limit));
      }),
      againstBest(figures, peers, {
        what: "new connections, 100/s: p99",
        metric: "p99, ms",
        atMost: 1,
      }),
    ];
  },
  rows: percentiles("new connections, 100/s", "ms"),
};

const crowds = [1, 32] as const;
const rate: Case = {
  name: "rate",
  title: "New connections as fast as they go",
  about: "Connect, one byte to the ingress and back, close; 1 and 32 at a time, for 1.5 s each.",
  limits:
    "At 32 at a time both cores are full, and ready connections cost as many dials as they save. So the CPU of ngrokd, ingress and load together counts: 0.42, 0.44 and 0.11 ms for a connection of ngrokd, and 0.33, 0.41 and 0.12 ms for one of nginx. To be ahead, 0.15 of ngrokd's 0.42 ms would have to go. Bun's TCP dial, resumed handshake, one write, one read and close alone take 0.3 ms: connect() 0.045, upgradeTLS() 0.1, of which the keys of X25519 with ML-KEM are 0.035, write() 0.013, shutdown() 0.016, and the rest is the server's flight. The header is one write and one read more on both sides. Done: our certificate without the CAs above it, which took 0.3 ms of the ingress for each connection. Tried: a shared SecureContext (0.007 ms), no copy of the ciphertext (within the noise), TLS in Bun's own dial (within the noise), CAs in a file that Bun reads once (0.15 ms), relaying without promises. Other key exchanges would save 0.035 ms, and the protection against quantum computers with it.",
  async measure({ rig, near, scale }, figures, turn) {
    for (const crowd of crowds) {
      for await (const { name, load } of oneByOne(inTurn(near, turn))) {
        const time = `-time=${Math.ceil(1500 * scale)}ms`;
        const { done, failed, seconds } = await rig.load<Connects>(
          ...load,
          "-do=connect",
          `-at-once=${crowd}`,
          time,
        );
        figures.add(name, `${crowd} at a time, 1/s`, done / seconds);
        figures.add(name, `${crowd} at a time, failed`, failed);
      }
    }
  },
  verdicts: (figures, peers) =>
    crowds.map((crowd) =>
      againstBest(figures, peers, {
        what: `new connections, ${crowd} at a time: rate`,
        metric: `${crowd} at a time, 1/s`,
        atLeast: 1.05,
      }),
    ),
  rows: crowds.map((crowd) => ({
    what: `new connections, ${crowd} at a time: rate`,
    metric: `${crowd} at a time, 1/s`,
    better: "more",
  })),
};

const burst: Case = {
  name: "burst",
  title: "256 new connections in one burst",
  about: "All at once, each from connect() to its first echoed byte, then closed.",
  limits:
    "All dials run in one thread, so p99 is the CPU of 256 of them: 0.47 ms each in ngrokd, 0.34 ms in nginx (see the row above).",
  async measure({ rig, near }, figures, turn) {
    for await (const { name, load } of oneByOne(inTurn(near.filter(pooled), turn))) {
      const { p50, p99, failed } = await rig.load<Connects>(
        ...load,
        "-do=connect",
        "-count=256",
        "-at-once=256",
      );
      figures.add(name, "p50, ms", p50);
      figures.add(name, "p99, ms", p99);
      figures.add(name, "failed", failed);
    }
  },
  verdicts: (figures, peers) => {
    const own = figures.median(ours, "p99, ms");
    const failed = figures.values(ours, "failed").reduce((sum, count) => sum + count, 0);
    return [
      bar("256 in a burst: failed", failed, { atMost: 0, unit: "" }),
      bar("256 in a burst: p99", own / 1000, { atMost: 1, unit: "s" }),
      againstBest(figures, peers, { what: "256 in a burst: p99", metric: "p99, ms", atMost: 1 }),
    ];
  },
  rows: percentiles("256 in a burst", "ms"),
};

/** The limit of the memory afterwards, relative to the memory before. */
const rssLimit = 1.2;
const held: Case = {
  name: "held",
  title: "8,000 connections at once",
  about:
    "A fresh daemon first carries 200 connections. Then it holds 4,000 and 8,000 idle ones. Each has echoed a byte, and echoes another at the end. Then all are closed. The rows show its memory before, with the connections, and after them: when it is back within 20 %, or 30 s later. The pool is off, so that its own connections do not count.",
  limits:
    "Of the 14 to 16 KiB, one is JavaScript (ten objects). The rest is two of Bun's sockets, the state of one TLS connection, and some 2 KiB for the socket below TLS, whose bytes show a cut stream. With promises it was 95 objects and 4.2 KiB. Garbage of the opening would add 2 KiB, but it is collected in the first pause after a burst.",
  async measure({ rig, startRelay, scale }, figures) {
    const relay = await startRelay(1, withoutPool);
    const { pid, target } = relay;
    const half = Math.ceil(4000 * scale);
    const add = (metric: string, value: number): void => figures.add(ours, metric, value);
    const closed = (): Promise<void> =>
      until(
        "all connections are closed",
        async () => (await relay.status()).connections.active === 0,
      );
    const load = [`-to=${target}`, "-at-once=64"];
    await rig.load<Connects>(...load, "-do=connect", "-count=200");
    await closed();
    await Bun.sleep(3000);
    const before = { rss: rssKiB(pid), descriptors: descriptors(pid) };
    const first = await rig.hold(...load, `-count=${half}`);
    await Bun.sleep(1000);
    const atHalf = rssKiB(pid);
    const second = await rig.hold(...load, `-count=${half}`);
    await Bun.sleep(1000);
    const atAll = rssKiB(pid);
    const alive = (await first.release()) + (await second.release());
    await closed();
    for (let seconds = 0; seconds < 30 && rssKiB(pid) > before.rss * rssLimit; seconds += 1)
      await Bun.sleep(1000);
    add("KiB each at 4,000", (atHalf - before.rss) / half);
    add("KiB each at 8,000", (atAll - before.rss) / (2 * half));
    add("not served", 2 * half - alive);
    add("RSS before, MiB", before.rss / 1024);
    add("RSS after, MiB", rssKiB(pid) / 1024);
    add("descriptors more than before", descriptors(pid) - before.descriptors);
    add("counted as active", (await relay.status()).connections.active);
    await relay.stop();
  },
  verdicts: (figures) => {
    const worst = (metric: string): number => Math.max(...figures.values(ours, metric));
    const [before, after] = [
      figures.median(ours, "RSS before, MiB"),
      figures.median(ours, "RSS after, MiB"),
    ];
    return [
      bar("memory per idle connection at 4,000", figures.median(ours, "KiB each at 4,000"), {
        atMost: 16,
        unit: "KiB",
      }),
      bar("memory per idle connection at 8,000", figures.median(ours, "KiB each at 8,000"), {
        atMost: 14,
        unit: "KiB",
      }),
      bar("8,000 at once: not served", worst("not served"), { atMost: 0, unit: "" }),
      bar("8,000 at once, then closed: descriptors left", worst("descriptors more than before"), {
        atMost: 0,
        unit: "",
      }),
      bar("8,000 at once, then closed: still counted", worst("counted as active"), {
        atMost: 0,
        unit: "",
      }),
      ratio("8,000 at once, then closed: RSS", after, before, {
        atMost: rssLimit,
        of: "the RSS before",
      }),
    ];
  },
};

const endpoints: Case = {
  name: "endpoints",
  title: "10,000 endpoints",
  about:
    "From the start of the process, including registration, until all listen. Then 10 passes without a change, after 5 to warm up. The API serves pages of 100.",
  limits:
    "Some 100 pages of 56 KB, at 0.4 to 0.5 ms of CPU each in Bun's fetch. A page with the same bytes is not parsed, and a list of the same pages is not reconciled. The account's list only shows stale endpoints, so it is requested only after ten seconds for each page. A pass that does all of this took 430 ms.",
  async measure({ startRelay, scale }, figures) {
    const relay = await startRelay(Math.ceil(10_000 * scale));
    figures.add(ours, "listening after, s", relay.startSeconds);
    // Work left over from the start does not belong to a pass.
    await Bun.sleep(1000);
    const passes = 10;
    for (let i = 0; i < 5; i += 1) await relay.refresh();
    const files = relay.files();
    const before = cpuSeconds(relay.pid);
    for (let i = 0; i < passes; i += 1) await relay.refresh();
    figures.add(ours, "CPU of a pass, ms", ((cpuSeconds(relay.pid) - before) * 1000) / passes);
    figures.add(ours, "writes", relay.files() === files ? 0 : 1);
    figures.add(ours, "RSS, MiB", rssKiB(relay.pid) / 1024);
    await relay.stop();
  },
  verdicts: (figures) => [
    bar("10,000 endpoints: listening", figures.median(ours, "listening after, s"), {
      atMost: 5,
      unit: "s",
    }),
    bar(
      "10,000 endpoints: CPU of a pass without change",
      figures.median(ours, "CPU of a pass, ms"),
      { atMost: 60, unit: "ms" },
    ),
    bar(
      "10,000 endpoints: writes in passes without change",
      Math.max(...figures.values(ours, "writes")),
      { atMost: 0, unit: "" },
    ),
  ],
};

const crews = [1, 2] as const;
const crewName = (workers: number): string =>
  workers === 1 ? "one process" : `${workers} workers`;

const isolation: Case = {
  name: "isolation",
  title: "Echo while 10,000 endpoints change",
  about:
    "A byte to the ingress and back, again and again on one connection: for 5 s at rest, and for as long as passes run in which all of 10,000 endpoints go and 10,000 others come. In one process, and with `forward.workers: 2`. The same without a relay, beside such passes, shows what the machine itself adds.",
  limits:
    "The daemon alone needs a core during a pass, and its API (the benchmark's process) a part of one. With two cores, the worker shares the other one with the load and the ingress, so their turns at it are in the figure.",
  once: true,
  async measure({ rig, near, startChanging, scale }, figures) {
    for (const workers of crews) {
      const settings = { forward: { workers } };
      const { relay, show } = await startChanging(Math.ceil(10_000 * scale), settings);
      const echo = (seconds: number): Promise<Connects> =>
        rig.load<Connects>(`-to=${relay.target}`, "-do=echo", `-time=${seconds}s`);
      await Bun.sleep(2000);
      const atRest = await echo(5);
      let passes = 0;
      const inPasses = async (start: (seconds: number) => Promise<Connects>): Promise<Connects> => {
        const seconds = 10;
        const during = start(seconds);
        const until = performance.now() + seconds * 1000;
        while (performance.now() < until - 1000) {
          passes += 1;
          show(passes % 2);
          await relay.refresh();
        }
        return await during;
      };
      const busy = await inPasses(echo);
      const bare = near.find(({ name }) => name === direct)?.load ?? [];
      const beside = await inPasses((seconds) =>
        rig.load<Connects>(...bare, "-do=echo", `-time=${seconds}s`),
      );
      figures.add(crewName(workers), "at rest p99, ms", atRest.p99);
      figures.add(crewName(workers), "in passes p50, ms", busy.p50);
      figures.add(crewName(workers), "in passes p99, ms", busy.p99);
      figures.add(crewName(workers), "in passes max, ms", busy.max);
      figures.add(crewName(workers), "no relay, in passes p99, ms", beside.p99);
      figures.add(crewName(workers), "passes", passes);
      await relay.stop();
    }
  },
  verdicts(figures) {
    const of = (metric: string): number => figures.median(crewName(2), metric);
    return [
      ratio("echo in passes, 2 workers: p99", of("in passes p99, ms"), of("at rest p99, ms"), {
        atMost: 1.5,
        of: "at rest",
      }),
    ];
  },
};

const crewRate: Case = {
  name: "workers",
  title: "New connections with two workers",
  about:
    "4,000 connections, 32 at a time, each with one byte to the ingress and back: in one process, and with `forward.workers: 2`. CPU is that of all its processes.",
  limits:
    "Load and ingress need more of two cores than the relay does, so on two cores the second worker has nothing to run on. The figure shows what workers cost there; a machine with more cores shows what they bring.",
  async measure({ rig, startRelay, scale }, figures, turn) {
    for (const workers of inTurn(crews, turn)) {
      const relay = await startRelay(1, { forward: { workers } });
      const load = [`-to=${relay.target}`, "-do=connect", "-at-once=32"];
      await rig.load<Connects>(...load, "-count=500");
      const pids = [relay.pid, ...((await relay.status()).workers ?? []).map(({ pid }) => pid)];
      const before = pids.map(cpuSeconds);
      const result = await rig.load<Connects>(...load, `-count=${Math.ceil(4000 * scale)}`);
      const cpu = pids.reduce((sum, pid, i) => sum + cpuSeconds(pid) - (before[i] ?? 0), 0);
      figures.add(crewName(workers), "per second", result.done / result.seconds);
      figures.add(crewName(workers), "p99, ms", result.p99);
      figures.add(crewName(workers), "CPU, ms each", (cpu * 1000) / result.done);
      figures.add(crewName(workers), "failed", result.failed);
      await relay.stop();
    }
  },
  verdicts: (figures) => [
    bar("2 workers: failed", Math.max(...figures.values(crewName(2), "failed")), {
      atMost: 0,
      unit: "",
    }),
  ],
};

const restMinutes = ["first", "second", "third", "fourth"].map(
  (minute) => `CPU, % of a core, ${minute} minute`,
);
const rest: Case = {
  name: "rest",
  title: "At rest, 100 endpoints",
  about:
    "Five daemons at once, with default settings and without clients, minute by minute after the start. For the first half minute of a process, Bun collects garbage every second, and it compiles frequent code for about three minutes. So the fourth minute counts.",
  limits:
    "Bun itself wakes up every second, for the date of its HTTP server. The rest is a check every 3.5 s (configuration, hosts file, clocks, network) and a poll every 30 s. The wake-up costs more than the work, so the checks of all parts share one timer.",
  once: true,
  async measure({ startRelay, scale }, figures) {
    const relays = await Promise.all(Array.from({ length: 5 }, () => startRelay(100)));
    const seconds = 60 * scale;
    for (const column of restMinutes) {
      const before = relays.map(({ pid }) => cpuSeconds(pid));
      await Bun.sleep(seconds * 1000);
      for (const [i, { pid }] of relays.entries())
        figures.add(ours, column, ((cpuSeconds(pid) - (before[i] ?? 0)) / seconds) * 100);
    }
    for (const { pid } of relays) figures.add(ours, "RSS, MiB", rssKiB(pid) / 1024);
    await Promise.all(relays.map((relay) => relay.stop()));
  },
  verdicts: (figures) => [
    bar("at rest, 100 endpoints: CPU", figures.median(ours, restMinutes.at(-1) ?? ""), {
      atMost: 0.2,
      unit: "% of a core",
    }),
  ],
};

const namings = ["host", "sni"] as const;
const shared: Case = {
  name: "shared",
  title: "New connections to a shared port",
  about:
    "4,000 connections, 8 at a time, that begin with an HTTP request or a TLS ClientHello, then one byte to the ingress and back. The same to an endpoint's own address, where nothing is read, and to a port that two endpoints share. They take turns of 1,000, after 1,000 to warm up. CPU is that of the relay's process, in ms per connection.",
  async measure({ rig, startRelay, scale }, figures, turn) {
    const relay = await startRelay(2, {
      net: { listen_interface: "127.58.0.1" },
      bound_endpoints: { poll_interval: 3600 },
    });
    const ways = namings.flatMap((naming) => [
      { naming, door: "fixed", to: relay.target },
      { naming, door: "shared", to: relay.shared },
    ]);
    const connect = (way: (typeof ways)[number], count: number): Promise<Connects> =>
      rig.load<Connects>(
        ...[`-to=${way.to}`, "-do=connect", "-at-once=8"],
        ...[`-count=${Math.ceil(count * scale)}`, `-${way.naming}=service-0.bench`],
      );
    // A way that runs before its code is compiled would look expensive.
    for (const way of ways) await connect(way, 1000);
    const spent = new Map(ways.map((way) => [way, { cpu: 0, done: 0, failed: 0 }]));
    for (let slice = 0; slice < 4; slice += 1)
      for (const [way, sum] of (turn + slice) % 2 === 0 ? spent : [...spent].reverse()) {
        const before = cpuSeconds(relay.pid);
        const { done, failed } = await connect(way, 1000);
        sum.cpu += cpuSeconds(relay.pid) - before;
        sum.done += done;
        sum.failed += failed;
      }
    for (const [{ door, naming }, { cpu, done, failed }] of spent) {
      figures.add(ours, `${door}, by ${naming}, CPU ms`, (cpu / done) * 1000);
      figures.add(ours, `${door}, by ${naming}, failed`, failed);
    }
    await relay.stop();
  },
  verdicts: (figures) =>
    namings.map((naming) => {
      const cpu = (door: string) => figures.median(ours, `${door}, by ${naming}, CPU ms`);
      const what = `a shared port, by ${naming}: CPU per connection`;
      const limit = { atMost: 1.15, of: "a fixed one" };
      return unfailing(figures, ours, ratio(what, cpu("shared"), cpu("fixed"), limit));
    }),
};

const families = [
  ["IPv4", "127.0.0.83"],
  ["IPv6", "::1"],
] as const;

const access: Case = {
  name: "access",
  title: "May this client connect?",
  about:
    "The check of a new connection by 50 rules of `access.rules`, of which the last one names users: the kernel is asked for the user behind the connection. In this process, 20,000 times for 32 clients of each family.",
  async measure({ scale }, figures) {
    for (const [name, host] of families) {
      const { p50, p99 } = await accessTimes(host, Math.ceil(20_000 * scale));
      figures.add(ours, `${name}, p50, us`, p50);
      figures.add(ours, `${name}, p99, us`, p99);
    }
  },
  verdicts: (figures) =>
    families.map(([name]) =>
      bar(`access by 50 rules, ${name}: p99`, figures.median(ours, `${name}, p99, us`), {
        atMost: 25,
        unit: "us",
      }),
    ),
};

const inspected = "ngrokd, inspected";
const inspection: Case = {
  name: "inspection",
  title: "HTTP endpoints that are inspected",
  about:
    "An exchange of HTTP/1.1 with a body of 1 GiB in all, over 1 and 8 connections, as in bulk; then 20,000 small exchanges, one after the other. Both in turns of a quarter, the exchanges of a turn on one connection. Once without `inspect`, and once with it, without bodies. CPU is that of the relay's process. The last column is the reader's part of it, for a chunk of a body, measured in this process.",
  async measure({ rig, startRelay, scale }, figures, turn) {
    const usual = { bound_endpoints: { poll_interval: 3600 } };
    const relays = [
      { name: ours, relay: await startRelay(1, usual) },
      { name: inspected, relay: await startRelay(1, { ...usual, inspect: { endpoints: ["*"] } }) },
    ];
    const slices = 4;
    const bytes = Math.ceil((GiB * scale) / slices);
    const count = Math.ceil((20_000 * scale) / slices);
    for (const { way, streams } of flows) {
      const spent = new Map(relays.map(({ name }) => [name, 0]));
      for (let slice = 0; slice < slices; slice += 1)
        for (const { name, relay } of inTurn(relays, turn + slice)) {
          const before = cpuSeconds(relay.pid);
          await rig.load(
            ...[`-to=${relay.target}`, "-do=bulk", "-http", `-way=${way}`],
            ...[`-streams=${streams}`, `-bytes=${bytes}`],
          );
          spent.set(name, (spent.get(name) ?? 0) + cpuSeconds(relay.pid) - before);
        }
      for (const [name, cpu] of spent)
        figures.add(name, `${way} ${streams}, CPU s/GiB`, cpu / ((slices * bytes) / GiB));
    }
    const asked = new Map(relays.map(({ name }) => [name, 0]));
    for (let slice = 0; slice < slices; slice += 1)
      for (const { name, relay } of inTurn(relays, turn + slice)) {
        const before = cpuSeconds(relay.pid);
        await rig.load(`-to=${relay.target}`, "-do=requests", `-count=${count}`);
        asked.set(name, (asked.get(name) ?? 0) + cpuSeconds(relay.pid) - before);
      }
    for (const [name, cpu] of asked)
      figures.add(name, "requests, CPU us", (cpu / (slices * count)) * 1e6);
    await Promise.all(relays.map(({ relay }) => relay.stop()));
    figures.add(inspected, "a chunk of a body, us", chunkCost(Math.ceil(1_000_000 * scale)));
  },
  verdicts(figures) {
    // A single flow differs by a tenth from itself, from one round to the next.
    const cpu = (name: string) =>
      flows
        .map(({ way, streams }) => figures.median(name, `${way} ${streams}, CPU s/GiB`))
        .reduce((sum, one) => sum + one, 0);
    const limit = { atMost: 1.05, of: "the same unread" };
    return [
      ratio("inspected bulk, all four flows: CPU", cpu(inspected), cpu(ours), limit),
      bar("to look at a chunk of a body", figures.median(inspected, "a chunk of a body, us"), {
        atMost: 0.5,
        unit: "us",
      }),
    ];
  },
};

const history: Case = {
  name: "history",
  title: "What has happened",
  about:
    "What the daemon does to remember a connection with its steps and events, and each chunk of it, and the memory of an open one. In this process, 100,000 connections.",
  async measure({ scale }, figures) {
    const { connection, chunk, idle } = historyCosts(Math.ceil(100_000 * scale));
    figures.add(ours, "a connection, us", connection);
    figures.add(ours, "a chunk, us", chunk);
    figures.add(ours, "an open connection, bytes", idle);
  },
  verdicts: (figures) => [
    // A connection takes some 600 us of CPU, and a chunk of bulk some 50.
    bar("to remember a connection", figures.median(ours, "a connection, us"), {
      atMost: 10,
      unit: "us",
    }),
    bar("to count a chunk", figures.median(ours, "a chunk, us"), { atMost: 0.5, unit: "us" }),
    bar("to remember an open connection", figures.median(ours, "an open connection, bytes"), {
      atMost: 512,
      unit: "bytes",
    }),
  ],
};

/** Seconds; the first is the default. */
const polls = [30, 10] as const;
const eachMore = (seconds: number): string => `each profile more, a poll every ${seconds} s, MiB`;
const profiles: Case = {
  name: "profiles",
  title: "Three more profiles of 1,000 endpoints",
  about:
    "Two daemons, 60 s after their start: one with an account of 1,000 endpoints, and one with four such accounts. The difference of their memory, divided by three. The same with a poll every 10 s instead of 30.",
  limits:
    "An endpoint is some 70 objects and 4 KiB of JavaScript, and a listening socket. The rest is garbage between two collections, which Bun lets grow with the heap. The more often is polled, the more there is of it: 11 MiB with a poll every second.",
  once: true,
  async measure({ startProfiles, scale }, figures) {
    const count = Math.ceil(1000 * scale);
    const pairs = await Promise.all(
      polls.map(async (seconds) => {
        const settings = { bound_endpoints: { poll_interval: seconds } };
        const one = await startProfiles(1, count, settings);
        return { seconds, one, four: await startProfiles(4, count, settings) };
      }),
    );
    await Bun.sleep(60_000 * scale);
    for (const { seconds, one, four } of pairs) {
      const [less, more] = [rssKiB(one.pid) / 1024, rssKiB(four.pid) / 1024];
      figures.add(ours, `RSS of one, a poll every ${seconds} s, MiB`, less);
      figures.add(ours, `RSS of four, a poll every ${seconds} s, MiB`, more);
      figures.add(ours, eachMore(seconds), (more - less) / 3);
      await Promise.all([one.stop(), four.stop()]);
    }
  },
  verdicts: (figures) =>
    polls.map((seconds) =>
      bar(
        `a profile of 1,000 endpoints more, a poll every ${seconds} s: RSS`,
        figures.median(ours, eachMore(seconds)),
        { atMost: 10, unit: "MiB" },
      ),
    ),
};

const anyip: Case = {
  name: "anyip",
  title: "10,000 endpoints on a virtual interface",
  about:
    "In a network of its own, from the last page of the list until all endpoints listen, on IPv4 addresses of AnyIP. `after the start` includes the start of the process, the registration and 100 pages of the list, and ends when `status` says so.",
  async measure({ apart }, figures) {
    addAll(figures, await apart("anyip"));
  },
  verdicts: (figures) => [
    bar(
      "10,000 endpoints on AnyIP: listening after the list",
      figures.median(ours, "listening after the list, s"),
      { atMost: 1, unit: "s" },
    ),
  ],
};

const fresh: Case = {
  name: "fresh",
  title: "A fresh name below a wildcard",
  about:
    "From the question to the answer of the daemon's name server, by UDP, for 1,000 names that nobody asked for before, one after the other. The address listens before the answer leaves; every 50th is looked up among the system's sockets.",
  async measure({ apart }, figures) {
    addAll(figures, await apart("fresh"));
  },
  verdicts: (figures) => {
    const at = (metric: string): number => figures.median(ours, metric);
    return [
      bar("a fresh wildcard name: p50", at("p50, ms"), { atMost: 0.5, unit: "ms" }),
      bar("a fresh wildcard name: p99", at("p99, ms"), { atMost: 3, unit: "ms" }),
      bar("a fresh wildcard name: not listening", at("not listening"), { atMost: 0, unit: "" }),
    ];
  },
};

const questions: Case = {
  name: "questions",
  title: "20,000 questions a second",
  about:
    "dnsperf asks the daemon's name server 20,000 times a second for 5 s, for a known name and for one of others, while 10,000 bytes are echoed over an open connection, one after the other. CPU is that of the relay's process, with the echoes, per question.",
  async measure({ apart }, figures) {
    addAll(figures, await apart("questions"));
  },
  verdicts: (figures) => [
    bar("20,000 questions a second: answered", figures.median(ours, "answered, %"), {
      atLeast: 99,
      unit: "%",
    }),
    bar(
      "20,000 questions a second: longest echo beside",
      figures.median(ours, "longest echo beside, ms"),
      { atMost: 100, unit: "ms" },
    ),
  ],
};

function addAll(figures: Figures, metrics: Metrics): void {
  for (const [metric, value] of Object.entries(metrics)) figures.add(ours, metric, value);
}

/** In the order of the page. */
export const cases: readonly Case[] = [
  bulk,
  echo,
  far,
  steady,
  rate,
  burst,
  shared,
  held,
  endpoints,
  anyip,
  profiles,
  isolation,
  crewRate,
  rest,
  fresh,
  questions,
  access,
  inspection,
  history,
];

/**
 * The contenders of cases without new connections, and of cases with the pool
 * alone.
 */
const plain = ({ name }: Contender): boolean => ![early, poolOff, allOff].includes(name);
const pooled = ({ name }: Contender): boolean => name !== allOff;

/** The rows for the median and the 99th percentile. */
function percentiles(what: string, unit: string): Row[] {
  return ["p50", "p99"].map((mark) => ({
    what: `${what}: ${mark}`,
    metric: `${mark}, ${unit}`,
    better: "less",
  }));
}

/**
 * Each next contender begins when the one before has no work left. A relay that
 * fills its pool again would slow down its successor.
 */
async function* oneByOne(contenders: readonly Contender[]): AsyncGenerator<Contender> {
  for (const contender of contenders) {
    yield contender;
    if (contender.pid !== undefined) await atRest(contender.pid);
  }
}

/** Each contender is the first once. */
function inTurn<C>(contenders: readonly C[], turn: number): C[] {
  const first = turn % contenders.length;
  return [...contenders.slice(first), ...contenders.slice(0, first)];
}
