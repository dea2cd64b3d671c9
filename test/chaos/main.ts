import { lookup } from "node:dns/promises";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startLocalCloud } from "../../src/local-cloud/cloud.ts";
import { parseFault } from "../../src/local-cloud/faults.ts";
import { createBunNet } from "../../src/net/bun.ts";
import { startFaultProxy } from "../soak/fault-proxy.ts";
import { randomFrom } from "../soak/pattern.ts";
import { onOwnMachine, whyNot } from "../support/machine.ts";
import { writeConfig } from "../support/ngrokd.ts";
import { freshMachine, until } from "../support/story.ts";
import { createAdmin } from "./admin.ts";
import { createAlibis } from "./alibis.ts";
import { startClients } from "./clients.ts";
import { createDaemons, refresh, report } from "./daemons.ts";
import { createDashboard, lasting } from "./dashboard.ts";
import { startObserver } from "./observer.ts";
import { createOtherPrograms } from "./other-programs.ts";
import { hostsPath, leftovers, stateFolder, surroundings, whatIsNotRight } from "./remains.ts";

const bunNet = createBunNet();

/**
 * `make chaos`: for CHAOS_MINUTES (1) everything happens at once to the
 * compiled binary, on a machine of its own: kill -9, starts of two at a time,
 * reloads, API faults, cut connections, certificates that live for 20 s,
 * deleted operators, endpoints that come, go and move, and other programs at
 * the hosts file. Clients' traffic runs all the time, and every byte of it is
 * checked. After each round of chaos comes a calm in which everything must be
 * right again. CHAOS_SEED repeats a run's choices, as far as the machine's
 * timing permits. NGROKD_BINARY names another binary than dist/ngrokd.
 */
const minutes = Number(process.env.CHAOS_MINUTES ?? 1);
const seed = Number(process.env.CHAOS_SEED ?? Date.now() % 1_000_000);
if (!onOwnMachine) {
  console.log(`Chaos is skipped: ${whyNot()}`);
  process.exit(process.env.CI ? 1 : 0);
}

/** Milliseconds. */
const roundMs = 12_000;
const certificateLifeMs = 20_000;
/**
 * The deadlines for everything to be right again: in a round's calm, with a
 * refresh, and at the end, without help.
 */
const bounds = { round: 45_000, end: 60_000 };
/**
 * The daemon leaves a hosts section alone after three damages in a minute, as
 * it should. Here a daemon sees two at most. It counts from repair to repair,
 * and each comes some seconds after its damage.
 */
const [damagesInTime, damageTimeMs] = [2, 75_000];

const randomOf = (actor: number): (() => number) => randomFrom(seed * 100 + actor);
const random = {
  proxy: randomOf(1),
  admin: randomOf(2),
  api: randomOf(3),
  dashboard: randomOf(4),
  programs: randomOf(5),
};
console.log(`Chaos: ${minutes} minutes, seed ${seed}`);
freshMachine();
const original =
  "127.0.0.1\tlocalhost\n::1  localhost ip6-localhost\n\n# mine, do not touch\n192.0.2.7   db.internal db  # office\n";
writeFileSync(hostsPath, original);

const problems: string[] = [];
const wrong = (text: string): void => {
  if (problems.includes(text)) return;
  console.log(`PROBLEM: ${text}`);
  problems.push(text);
};
const clients = await startClients(seed * 100 + 10, wrong);
const cloud = await startLocalCloud({
  net: bunNet,
  api: { host: "127.0.0.1", port: 0 },
  ingress: { host: "127.0.0.1", port: 0 },
  endpoints: lasting.map((url) => ({ url, upstream: clients.upstream })),
  certificateLifetimeMs: certificateLifeMs,
  // Lists have several pages, so that one can fail in the middle.
  pageSize: 5,
});
const proxy = await startFaultProxy({
  target: Number(cloud.ingressAddress.split(":")[1]),
  random: random.proxy,
  rate: 0.06,
});
const cas = {
  "/run/story/ca-1.crt": cloud.intermediatePem,
  "/run/story/ca-2.crt": cloud.caPem + cloud.intermediatePem,
};
mkdirSync("/run/story");
for (const [path, pem] of Object.entries(cas)) writeFileSync(path, pem);

const alibis = createAlibis();
const daemons = createDaemons(wrong);
const { apiUrl, apiKey } = cloud;
const admin = createAdmin(
  { apiUrl, apiKey, ingress: `127.0.0.1:${proxy.port}`, cas: Object.keys(cas) },
  daemons,
  wrong,
);
const dashboard = createDashboard(cloud, clients.upstream, alibis);
const programs = createOtherPrograms(hostsPath, (line) =>
  /^127\.\d+\.\d+\.\d+\t[a-z0-9-]+\.chaos$/.test(line),
);
writeConfig(admin.config);
const before = surroundings();
let apiFaults = 0;
/** The times at which the current daemon's section was damaged. */
let damages: number[] = [];
let turn: Promise<unknown> = Promise.resolve();

daemons.start();
const observer = startObserver({
  cloud,
  daemons,
  dashboard,
  alibis,
  loss: programs.loss,
  aim: clients.aim,
  wrong,
});
const started = performance.now();
let round = 0;
await calm("round", refresh);
while (performance.now() - started < minutes * 60_000 && problems.length === 0) {
  round += 1;
  const end = performance.now() + roundMs;
  await Promise.all([
    again(end, 800, 2500, random.admin, administer),
    again(end, 1000, 3500, random.api, breakApi),
    again(end, 300, 2000, random.dashboard, async () => dashboard.change(random.dashboard)),
    again(end, 300, 2500, random.programs, editHosts),
    oncePerRound(end).catch(wrongly),
  ]);
  cloud.faults.clear();
  await calm("round", refresh);
  tell();
}
proxy.calm();
await calm("end", async () => undefined);
await carriesOn();
await Promise.all([clients.stop(), observer.stop()]);
if (problems.length === 0) await takeBack();
verdict();

/** Acts again and again until `end`, `least` to `most` milliseconds apart. */
async function again(
  end: number,
  least: number,
  most: number,
  random: () => number,
  act: () => Promise<void>,
): Promise<void> {
  for (;;) {
    await Bun.sleep(least + random() * (most - least));
    if (performance.now() >= end || problems.length > 0) return;
    await act().catch(wrongly);
  }
}

function wrongly(error: unknown): void {
  wrong(error instanceof Error ? error.message : String(error));
}

/**
 * Begins with a kill, so that every run has one. Every third round has none, so
 * that connections and certificates grow old.
 */
async function administer(): Promise<void> {
  const what = random.admin();
  if (daemons.kills === 0 || (what < 0.35 && round % 3 !== 0)) await killAndStart();
  else if (what < 0.45) await inTurn(() => onceUp(daemons.startSecond));
  else await inTurn(() => onceUp(() => admin.reconfigure(random.admin)));
}

/**
 * For acts that need a serving daemon. One that has just started takes no
 * reload yet, and may lose to a second one.
 */
async function onceUp(work: () => Promise<void>): Promise<void> {
  await until(
    "the daemon answers",
    async () => (await report()).status.pid === daemons.current.pid,
  );
  await work();
}

/** Acts on a daemon that must survive them, and its death. */
function inTurn(work: () => Promise<void>): Promise<void> {
  const result = turn.then(work);
  turn = result.catch(() => undefined);
  return result;
}

function killAndStart(): Promise<void> {
  return inTurn(() => observer.during(killAndStartNow));
}

async function killAndStartNow(): Promise<void> {
  await daemons.kill();
  // Sometimes a life ends before it has begun to serve.
  for (; random.admin() < 0.3; await daemons.kill()) {
    daemons.start();
    await Bun.sleep(random.admin() * 400);
  }
  damages = [];
  if (random.admin() < 0.3) await daemons.startTwo();
  else daemons.start();
}

async function breakApi(): Promise<void> {
  const refusals = [
    "429=1*2",
    "429=2*1",
    "503=1*1",
    "500*2",
    "html=404*3",
    "html=502*2",
    "empty*1",
  ];
  const faults = [...refusals, "drop*2", "latency=400*6", "latency=6000*1", "latency=15000*1"];
  setFault(faults[Math.floor(random.api() * faults.length)] ?? "");
}

function setFault(text: string): void {
  const fault = parseFault(text);
  if (!fault.ok) throw new Error(fault.reason);
  cloud.faults.set(fault.value.fault, fault.value.times);
  apiFaults += 1;
}

async function editHosts(): Promise<void> {
  const now = performance.now();
  const mayHurt = damages.filter((at) => at > now - damageTimeMs).length < damagesInTime;
  if (await programs.edit(random.programs, mayHurt && random.programs() < 0.3)) damages.push(now);
}

/**
 * One empty list, since a second one soon after would be believed. In most
 * rounds an operator is deleted. Then the next one is registered, and at that
 * moment its daemon dies or the answer is lost.
 */
async function oncePerRound(end: number): Promise<void> {
  await Bun.sleep(random.api() * (end - performance.now()) * 0.7);
  setFault("empty-list*1");
  if (random.dashboard() < 0.3) return;
  await Bun.sleep(random.dashboard() * 0.5 * (end - performance.now()));
  const what = random.dashboard();
  if (what < 0.4) for (const fault of ["only=POST", "drop*1"]) setFault(fault);
  await dashboard.deleteOperator();
  if (what < 0.6) return;
  while (cloud.operators().length === 0 && performance.now() < end) await Bun.sleep(1);
  if (cloud.operators().length > 0) await killAndStart();
}

/** Nothing happens: soon everything is right. */
async function calm(which: keyof typeof bounds, help: () => Promise<void>): Promise<void> {
  if (problems.length > 0) return;
  const since = Date.now();
  let last = "no answer";
  const isRight = async (): Promise<boolean> => {
    await help();
    const now = await report();
    const operators = cloud.operators().map(({ id }) => id);
    last = whatIsNotRight(now, {
      pid: daemons.current.pid,
      places: dashboard.places(),
      operators,
      since,
    });
    if (last === "" && which === "end") last = now.status.warnings.join("; ");
    if (last === "" && !observer.isContent) last = "connections do not work yet";
    return last === "";
  };
  await patiently(() => `everything is right: ${last}`, bounds[which], isRight);
}

async function patiently(
  what: () => string,
  within: number,
  probe: () => Promise<boolean> | boolean,
): Promise<void> {
  await until("", probe, { within, every: 200 }).catch(() =>
    wrong(`waited ${within / 1000} s in vain until ${what()}`),
  );
}

async function carriesOn(): Promise<void> {
  const then = clients.complete;
  await patiently(
    () =>
      `20 connections were completed when everything was right, and not ${clients.complete - then}`,
    15_000,
    () => clients.complete - then >= 20,
  );
}

/** The last check of the daemon, and of its remains after a stop. */
async function takeBack(): Promise<void> {
  await patiently(
    () => "all connections have ended",
    30_000,
    async () =>
      clients.open === 0 &&
      (await report()).list.every(({ connections }) => connections.active === 0),
  );
  for (const { hostname, ip } of (await report()).list) {
    const found = await lookup(hostname, { family: 4 }).catch((error: Error) => ({
      address: error.message,
    }));
    if (found.address !== ip)
      wrong(`the name ${hostname} leads to ${found.address} and not to ${ip}`);
  }
  await patiently(
    () => "nothing temporary is left",
    20_000,
    () => leftovers().length === 0,
  );
  // A short run may have registered again each time before a renewal was due.
  await patiently(
    () => "a certificate has been renewed",
    certificateLifeMs,
    () => renewals() > 0,
  );
  const code = await daemons.stop();
  if (code !== 0) wrong(`the daemon ended with ${code} when it was asked to`);
  const hosts = readFileSync(hostsPath, "latin1");
  if (hosts !== programs.text) wrong(`the hosts file is not what others made it:\n${hosts}`);
  if (readFileSync(`${stateFolder}/hosts.original`, "latin1") !== original)
    wrong("hosts.original is not what the hosts file was at first");
  const { changes } = JSON.parse(readFileSync(`${stateFolder}/journal.json`, "utf8"));
  if (changes.length > 0) wrong(`the journal still has ${JSON.stringify(changes)}`);
  const after = surroundings();
  const differ = [
    ...before.filter((line) => !after.includes(line)),
    ...after.filter((line) => !before.includes(line)),
  ];
  if (differ.length > 0) wrong(`left, missing or changed: ${differ.join(", ")}`);
  if (cloud.operators().length !== 1)
    wrong(`the account has ${cloud.operators().length} operators at the end`);
  if (minutes >= 1 && daemons.kills === 0) wrong("no daemon was killed, and that is no chaos");
}

function renewals(): number {
  return daemons.logged("Renewed the client certificate");
}

function tell(): string {
  const { explained, unexplained } = clients.judge(alibis.spans, proxy.cuts);
  const { killed, cut, removed, unknown } = explained;
  const causes = `${killed} by kills, ${cut} by cuts, ${removed} by removals, ${unknown} while ngrok did not know the certificate, ${unexplained.length} unexplained`;
  const seconds = Math.round((performance.now() - started) / 1000);
  console.log(
    `${seconds} s: ${clients.complete} connections complete, ${Math.round(clients.bytes / 1e6)} MB; ended early: ${causes}`,
  );
  return causes;
}

function verdict(): never {
  const causes = tell();
  // Only now: an explanation may come a moment after the failure.
  for (const one of clients.judge(alibis.spans, proxy.cuts).unexplained.slice(0, 20)) wrong(one);
  const downs = alibis.spans
    .filter(({ kind }) => kind === "killed")
    .map(({ from, to }) => to - from);
  const registered = daemons.logged("Registered with ngrok as");
  const certifiedAgain = daemons.logged("certified the operator");
  const rows: [string, string | number][] = [
    ["rounds", round],
    [
      "connections complete",
      `${clients.complete}, ${(clients.bytes / 1e9).toFixed(2)} GB, every byte checked`,
    ],
    ["connections ended early", `${clients.endedEarly}: ${causes}`],
    [
      "kills",
      `${daemons.kills}; ${daemons.starts} starts, ${daemons.refused} second daemons refused`,
    ],
    [
      "longest until all served again",
      `${(Math.max(0, ...downs) / 1000).toFixed(1)} s, with the API in trouble`,
    ],
    ["reloads", admin.reloads],
    ["renewals", renewals()],
    [
      "operators deleted",
      `${dashboard.deleted}; ${registered} registrations, ${certifiedAgain} certified again`,
    ],
    ["faults of the API", apiFaults],
    ["faults on the way to the ingress", `${proxy.broken} cuts, ${proxy.delayed} delays`],
    ["changes of endpoints", dashboard.changes],
    [
      "edits of the hosts file",
      `${programs.edits}, of them ${programs.damages} of ngrokd's section`,
    ],
  ];
  console.log(rows.map(([what, value]) => `  ${what.padEnd(34)}${value}`).join("\n"));
  if (problems.length > 0) {
    const logs = join(tmpdir(), `ngrokd-chaos-${seed}.log`);
    writeFileSync(
      logs,
      `${daemons.logs()}\n--- what was done, by the clock of this process\n${JSON.stringify(alibis.spans, null, 1)}\n`,
    );
    console.log(`The daemons' logs, and what was done when: ${logs}`);
  }
  console.log(
    problems.length === 0
      ? "Chaos: green"
      : `Chaos: ${problems.length} problems; repeat with CHAOS_SEED=${seed}`,
  );
  process.exit(problems.length === 0 ? 0 : 1);
}
