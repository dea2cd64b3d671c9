import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus, loadavg, release, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { measuredApart } from "./apart.ts";
import {
  allOff,
  type Bench,
  type Case,
  type Contender,
  cases,
  direct,
  early,
  kindOf,
  ours,
  poolOff,
  withEarlyData,
  withoutBoth,
  withoutPool,
} from "./cases.ts";
import { chart, panelsOf } from "./chart.ts";
import { startChangingCloud, startCloud, writeCertificates } from "./cloud.ts";
import { createFigures } from "./figures.ts";
import { installMissing, type Program } from "./packages.ts";
import { installable, loops, type Peer, peerVersions, startPeers } from "./peers.ts";
import { outputOf, stopAll } from "./processes.ts";
import { type RelayOptions, startRelay } from "./relay.ts";
import { figureTable, judged, page, type Result, standingTable, verdictTable } from "./report.ts";
import { startRig } from "./rig.ts";
import { standings } from "./standing.ts";
import { verdictLines } from "./verdict.ts";

/**
 * `make bench`: runs every case in rounds, prints the results and a verdict,
 * and writes docs/benchmarks.md and docs/images/bench-*.svg. `--only CASE`
 * (names, with commas between them), `--rounds N` (5) and BENCH_SCALE (1: less
 * makes every case smaller) reduce the run. Such a run writes only to
 * dist/bench, and with `--no-page` nothing. NGROKD_BINARY is measured instead
 * of dist/ngrokd. BENCH_INSTALL=no installs nothing.
 */
const root = join(import.meta.dirname, "..", "..");
const output = join(root, "dist", "bench");
const binary = process.env.NGROKD_BINARY ?? join(root, "dist", "ngrokd");
const { values: options } = parseArgs({
  options: {
    only: { type: "string", default: "" },
    rounds: { type: "string", default: "5" },
    page: { type: "boolean", default: true },
  },
  allowNegative: true,
});
const rounds = roundsOf(options.rounds);
const scale = Number(process.env.BENCH_SCALE ?? 1);
const chosen = chosenCases(options.only);
const begun = { at: new Date(), load: loadavg()[0] ?? 0 };

const folder = mkdtempSync(join(tmpdir(), "ngrokd-bench-"));
let interrupted = false;
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
  process.on(signal, () => void interrupt());
try {
  if (begun.load > availableParallelism() / 4)
    console.log(
      `This machine is busy (load average ${begun.load.toFixed(1)}): figures will be noise`,
    );
  const programs = installMissing();
  report(await run(await prepare(programs)), programs);
  await end(0);
} catch (error) {
  // After an interrupt, the error of a stopped load does not matter.
  if (interrupted) await new Promise(() => undefined);
  await stopAll();
  console.error(error, `\nThe logs of all processes are in ${folder}`);
  process.exit(1);
}

async function interrupt(): Promise<void> {
  interrupted = true;
  await end(130);
}

async function end(code: number): Promise<never> {
  await stopAll();
  rmSync(folder, { recursive: true, force: true });
  process.exit(code);
}

async function prepare(programs: ReadonlySet<Program>): Promise<Bench> {
  if (process.platform !== "linux")
    throw new Error("The benchmark reads /proc, and so needs Linux");
  if (!programs.has("go"))
    throw new Error(
      "The benchmark needs Go, for its ingress and its load: apt-get install golang-go",
    );
  const ca = await writeCertificates(folder);
  const rig = await startRig(folder, output);
  const peers = await startPeers(folder, programs, rig);
  const url = await startCloud(ca, ["tcp://relay.bench:7000"]);

  const relay = async (
    name: string,
    ingressPort: number,
    settings: RelayOptions["settings"] = {},
  ): Promise<Contender> => {
    const { pid, target } = await startRelay(folder, binary, {
      url,
      ingressPort,
      settings: { bound_endpoints: { poll_interval: 3600 }, ...settings },
    });
    return { name, pid, load: [`-to=${target}`] };
  };
  const bare = (name: string, port: number): Contender => ({
    name,
    pid: undefined,
    load: [`-to=127.0.0.1:${port}`, `-tls=${folder}`],
  });
  const contender = ({ name, pid }: Peer, port: number): Contender => ({
    name,
    pid,
    load: [`-to=127.0.0.1:${port}`],
  });
  return {
    rig,
    peers: peers.map(({ name }) => name),
    scale,
    near: [
      await relay(ours, rig.near.header),
      await relay(early, rig.near.header, withEarlyData),
      await relay(poolOff, rig.near.header, withoutPool),
      await relay(allOff, rig.near.header, withoutBoth),
      ...peers.map((peer) => contender(peer, peer.near)),
      bare(direct, rig.near.bare),
    ],
    far: [
      await relay(ours, rig.far.header),
      await relay(early, rig.far.header, withEarlyData),
      await relay(poolOff, rig.far.header, withoutPool),
      ...peers.map((peer) => contender(peer, peer.far)),
      bare(direct, rig.far.bare),
    ],
    async startRelay(count, settings = {}) {
      const urls = Array.from({ length: count }, (_, i) => `http://service-${i}.bench:8080`);
      return await startRelay(folder, binary, {
        url: await startCloud(ca, urls),
        ingressPort: rig.near.header,
        settings,
      });
    },
    apart: (what) => measuredApart(folder, binary, what, scale),
    async startChanging(count, settings) {
      const urls = (name: string): string[] => [
        "http://stays.bench:8080",
        ...Array.from({ length: count }, (_, i) => `http://${name}-${i}.bench:8080`),
      ];
      const cloud = await startChangingCloud(ca, [urls("old"), urls("new")]);
      const relay = await startRelay(folder, binary, {
        url: cloud.url,
        ingressPort: rig.near.header,
        settings: { bound_endpoints: { poll_interval: 3600 }, ...settings },
      });
      return { relay, show: cloud.show };
    },
    async startProfiles(count, endpoints, settings = {}) {
      const accounts = await Promise.all(
        Array.from({ length: count }, async (_, profile) => {
          const host = (i: number): string => `service-${i}.of-${profile}.bench`;
          const urls = Array.from({ length: endpoints }, (_, i) => `http://${host(i)}:8080`);
          return { url: await startCloud(ca, urls), ingressPort: rig.near.header };
        }),
      );
      const [first = { url, ingressPort: rig.near.header }, ...others] = accounts;
      return await startRelay(folder, binary, { ...first, others, settings });
    },
  };
}

/**
 * One round after the other, so that other work of the machine affects all
 * cases alike.
 */
async function run(bench: Bench): Promise<Result[]> {
  const figures = new Map(chosen.map((one) => [one, createFigures()]));
  for (let round = 0; round < rounds; round += 1) {
    for (const [one, found] of figures) {
      if (one.once === true && round > 0) continue;
      const start = performance.now();
      await one.measure(bench, found, round);
      console.log(
        `round ${round + 1} of ${rounds}: ${one.name} (${((performance.now() - start) / 1000).toFixed(1)} s)`,
      );
    }
  }
  return [...figures].map(([one, found]) => ({
    of: one,
    figures: found,
    verdicts: one.verdicts(found, bench.peers),
    standings: standings(one.rows ?? [], found, ours, bench.peers),
    early: standings(one.rows ?? [], found, early, bench.peers),
  }));
}

function report(results: readonly Result[], programs: ReadonlySet<Program>): void {
  for (const result of results) console.log(`\n${result.of.title}\n\n${figureTable(result)}`);
  console.log(`\n${verdictTable(results)}\n\n${standingTable(results)}\n`);
  console.log(verdictLines(judged(results)).join("\n"));
  if (!options.page) return;
  const whole =
    scale === 1 &&
    rounds >= 5 &&
    chosen.length === cases.length &&
    installable.every((peer) => programs.has(peer));
  const docs = whole ? join(root, "docs") : output;
  const file = join(docs, "benchmarks.md");
  const text = page({
    results,
    facts: facts(programs),
    peers: {
      installed: installable.filter((peer) => programs.has(peer)),
      loops: loops.map(({ name }) => name),
    },
    charts: writeCharts(results, docs),
  });
  writeFileSync(file, text);
  console.log(
    `\nWritten to ${file}${whole ? "" : ": not to docs/benchmarks.md, since this was no full run"}`,
  );
}

/** Returns the path of each chart, by the name of its case. */
function writeCharts(results: readonly Result[], docs: string): Map<string, string> {
  mkdirSync(join(docs, "images"), { recursive: true });
  return new Map(
    results.flatMap(({ of: { name, title, rows = [] }, figures }): [string, string][] => {
      const panels = panelsOf(rows, figures, kindOf);
      if (panels.length === 0) return [];
      const path = `images/bench-${name}.svg`;
      writeFileSync(join(docs, path), chart(title, panels));
      return [[name, path]];
    }),
  );
}

function facts(programs: ReadonlySet<Program>): [string, string][] {
  const minutes = Math.round((Date.now() - begun.at.getTime()) / 60_000);
  const distribution = /^PRETTY_NAME="(.*)"$/m.exec(
    existsSync("/etc/os-release") ? readFileSync("/etc/os-release", "utf8") : "",
  )?.[1];
  return [
    [
      "when",
      `${begun.at.toISOString().slice(0, 16).replace("T", " ")} UTC, ${counted(rounds, "round")} in ${counted(minutes, "minute")}${scale === 1 ? "" : `, at a scale of ${scale}`}`,
    ],
    [
      "CPU",
      `${availableParallelism()} cores, ${cpus()[0]?.model.trim()}; load average before it ${begun.load.toFixed(1)}`,
    ],
    ["memory", `${Math.round(totalmem() / 2 ** 30)} GiB`],
    [
      "system",
      `${distribution ?? process.platform}, Linux ${release()}, TCP ${congestionControl()}`,
    ],
    ["ngrokd", (outputOf([binary, "version"]) ?? "").trim().replaceAll(/\s+/g, " ")],
    ["peers", peerVersions(programs).join(", ")],
    [
      "ingress and load",
      `${(outputOf(["go", "version"]) ?? "").trim()}, TLS 1.3, P-256 certificates`,
    ],
  ];
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

function congestionControl(): string {
  return readFileSync("/proc/sys/net/ipv4/tcp_congestion_control", "utf8").trim();
}

function roundsOf(text: string): number {
  const count = Number(text);
  if (Number.isInteger(count) && count > 0) return count;
  throw new Error(`--rounds: "${text}" is not a number from 1`);
}

/** All of them for an empty text. */
function chosenCases(names: string): readonly Case[] {
  if (names === "") return cases;
  return names.split(",").map((name) => {
    const found = cases.find((one) => one.name === name.trim());
    if (found === undefined)
      throw new Error(
        `--only: there is no case "${name}"; there are ${cases.map((one) => one.name).join(", ")}`,
      );
    return found;
  });
}
