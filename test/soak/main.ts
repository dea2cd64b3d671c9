import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { askDaemon } from "../../src/control/client.ts";
import { type ListItem, listSchema, statusSchema } from "../../src/desk/reply-schemas.ts";
import { startLocalCloud } from "../../src/local-cloud/cloud.ts";
import { parseFault } from "../../src/local-cloud/faults.ts";
import { createBunNet } from "../../src/net/bun.ts";
import { denoRights, underDeno } from "../support/deno.ts";
import { startFaultProxy } from "./fault-proxy.ts";
import { randomFrom } from "./pattern.ts";
import { choosePlan, play, type Result, startService } from "./traffic.ts";
import { startYardstick } from "./yardstick.ts";

const bunNet = createBunNet();

/**
 * `make soak`: mixed traffic through the daemon for SOAK_MINUTES (0.5), with
 * random faults on the way to the ingress and in the API. It fails on a byte
 * that is lost, doubled, reordered or crossed, on a connection that breaks
 * without a fault, on a stall that neither a fault nor a busy machine explains,
 * and on descriptors, connections or memory that do not come back. SOAK_SEED
 * repeats a run's choices, SOAK_RUNTIME=deno runs the daemon from source under
 * Deno, NGROKD_BINARY names another binary than dist/ngrokd.
 */
const minutes = Number(process.env.SOAK_MINUTES ?? 0.5);
const seed = Number(process.env.SOAK_SEED ?? Date.now() % 1_000_000);
const isUnderDeno = process.env.SOAK_RUNTIME === "deno";
const binary = process.env.NGROKD_BINARY ?? "dist/ngrokd";
const parallel = 24;
/**
 * The longest wait in milliseconds without a fault. Deno parses the whole list
 * of CAs again for every dial (30 ms with the system's roots), and the first
 * burst finds no ready connection. So under Deno the figure is only reported,
 * and the bound is for hangs.
 */
const longestWaitMs = isUnderDeno ? 10_000 : 1000;
/**
 * A longer wait is no stall if it is at most this many times an exchange on the
 * same way without the daemon, at the same time. A new connection waits for the
 * dials of a whole burst, and the exchange has only one.
 */
const timesTheYardstick = 4;
const root = join(import.meta.dirname, "../..");

const random = randomFrom(seed);
const folder = mkdtempSync(join(tmpdir(), "ngrokd-soak-"));
const wrong: string[] = [];
console.log(
  `Soak: ${minutes} minutes, seed ${seed}, daemon ${isUnderDeno ? "from source under Deno" : binary}`,
);

const service = await startService((reason) => wrong.push(`the service: ${reason}`));
const cloud = await startLocalCloud({
  net: bunNet,
  api: { host: "127.0.0.1", port: 0 },
  ingress: { host: "127.0.0.1", port: 0 },
  endpoints: ["one", "two", "three"].map((name) => ({
    url: `tcp://${name}.soak:7000`,
    upstream: `127.0.0.1:${service.port}`,
  })),
});
const ingressPort = Number(cloud.ingressAddress.split(":")[1]);
const proxy = await startFaultProxy({ target: ingressPort, random, rate: 0.12 });
const calmProxy = await startFaultProxy({ target: ingressPort, random: () => 1, rate: 0 });
const daemon = startDaemon();
let stopped: number | null | undefined;
daemon.on("exit", (code) => {
  stopped = code;
});
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => end(130));

const ask = (command: string): Promise<unknown> =>
  askDaemon(bunNet, join(folder, "socket"), { command });
const list = async (): Promise<ListItem[]> => listSchema.parse(await ask("list"));
const targets = await until("the daemon serves all endpoints", 30_000, async () => {
  const items = await list();
  return items.length === 3 && items.every(({ state }) => state === "listening")
    ? items
    : undefined;
}).catch((error: Error): never => {
  console.log(
    `PROBLEM: ${error.message}\n${readFileSync(join(folder, "log"), "utf8").slice(-2000)}`,
  );
  end(1);
});

const yardstick = startYardstick({
  net: bunNet,
  port: calmProxy.port,
  tls: {
    serverName: "127.0.0.1",
    ca: [cloud.caPem],
    cert: readFileSync(join(folder, "tls.crt"), "utf8"),
    key: readFileSync(join(folder, "tls.key"), "utf8"),
  },
  target: { host: "one.soak", port: 7000 },
  onFailure: (reason) => wrong.push(`the exchange without the daemon: ${reason}`),
});

// This process runs clients, proxy, ingress and service. A delay of its own
// shows in all that it measures.
const heldUp: { from: number; to: number }[] = [];
let lastTick = performance.now();
const ticker = setInterval(() => {
  const now = performance.now();
  if (now - lastTick > 250) heldUp.push({ from: lastTick, to: now });
  lastTick = now;
}, 25);

const results = { complete: 0, broken: 0, longest: 0 };
const unexplained: string[] = [];
let bytes = 0;
const finish = performance.now() + minutes * 60_000;
let number = 0;
let settled: { fds: number; rss: number } | undefined;
const workers = Array.from({ length: parallel }, async () => {
  while (performance.now() < finish && wrong.length === 0 && stopped === undefined) {
    const plan = choosePlan(number++, random);
    const target = targets[Math.floor(random() * targets.length)];
    if (target === undefined) break;
    judge(await play({ host: target.ip, port: target.port }, plan));
  }
});
const nuisances = bother();
const started = performance.now();
const reporter = setInterval(() => {
  const passed = Math.round((performance.now() - started) / 1000);
  console.log(
    `${passed} s: ${results.complete} complete, ${results.broken} broken by ${proxy.broken} faults, ${Math.round(bytes / 1e6)} MB, RSS ${Math.round(rss() / 1024)} MiB, ${fds()} descriptors`,
  );
  // The daemon has a fifth of the time to reach its working size.
  if (settled === undefined && passed > minutes * 12) settled = { fds: fds(), rss: rss() };
}, 10_000);

await Promise.all(workers);
await nuisances;
await yardstick.stop();
clearInterval(reporter);
clearInterval(ticker);
proxy.calm();
cloud.faults.clear();
await verdict();

function judge({ plan, ending, silence }: Result): void {
  if (ending.kind === "wrong") wrong.push(`connection ${plan.n} (${plan.kind}): ${ending.reason}`);
  else if (ending.kind === "broken") results.broken += 1;
  else {
    results.complete += 1;
    bytes += plan.up + plan.down;
  }
  results.longest = Math.max(results.longest, silence.ms);
  const own = heldUp.reduce(
    (sum, { from, to }) =>
      sum + Math.max(0, Math.min(to, silence.to) - Math.max(from, silence.from)),
    0,
  );
  if (ending.kind !== "complete" || silence.ms - own <= longestWaitMs) return;
  // No connection meets more than one delay.
  const waited = silence.ms - own - proxy.longestDelayDuring(silence.from, silence.to);
  const without = yardstick.longestDuring(silence.from, silence.to);
  if (waited > Math.max(longestWaitMs, timesTheYardstick * without))
    unexplained.push(
      `connection ${plan.n} (${plan.kind}, ${plan.up} up, ${plan.down} down) waited ${Math.round(silence.ms)} ms, and ${Math.round(without)} ms without the daemon`,
    );
}

/**
 * The other events in a daemon's life: API faults, endpoints that come and go.
 */
async function bother(): Promise<void> {
  const faults = ["500*2", "429=1*1", "latency=300*3", "html*1", "drop*1", "empty*1"];
  while (performance.now() < finish && wrong.length === 0 && stopped === undefined) {
    await Bun.sleep(1500 + random() * 3000);
    const fault = parseFault(faults[Math.floor(random() * faults.length)] ?? "");
    if (fault.ok) cloud.faults.set(fault.value.fault, fault.value.times);
    const guest = cloud.addEndpoint({
      url: `tcp://guest-${Math.floor(random() * 5)}.soak:7000`,
      upstream: `127.0.0.1:${service.port}`,
    });
    await Bun.sleep(1000 + random() * 2000);
    cloud.removeEndpoint(guest.id);
  }
}

async function verdict(): Promise<void> {
  const problems = [...wrong];
  if (stopped !== undefined)
    problems.push(
      `the daemon ended by itself with code ${stopped}: ${readFileSync(join(folder, "log"), "utf8").slice(-2000)}`,
    );
  // Each broken connection of ours used up a broken one of the proxy's. Broken
  // ready connections harm no client.
  if (results.broken > proxy.broken)
    problems.push(
      `${results.broken} connections broke, and only ${proxy.broken} were broken on purpose`,
    );
  if (results.complete < 20) problems.push(`only ${results.complete} connections were completed`);
  if (unexplained.length > 0)
    problems.push(
      `stalls that neither a fault nor a busy machine explains: ${unexplained.slice(0, 10).join("; ")}`,
    );
  if (stopped === undefined) {
    await until("all connections have ended", 30_000, async () => {
      const items = await list();
      return service.open === 0 && items.every(({ connections }) => connections.active === 0)
        ? true
        : undefined;
    }).catch((error: Error) => problems.push(error.message));
    // Ready connections (32 at most), the listeners and the control socket may
    // remain.
    const now = { fds: fds(), rss: rss() };
    const { connections } = statusSchema.parse(await ask("status"));
    console.log(
      `At the end: ${now.fds} descriptors, RSS ${Math.round(now.rss / 1024)} MiB (${Math.round((settled?.rss ?? 0) / 1024)} at work), ${connections.total} connections in all`,
    );
    if (now.fds > 100) problems.push(`${now.fds} descriptors are open at the end`);
    const bound = (settled?.rss ?? now.rss) * 1.3 + 32 * 1024;
    if (!isUnderDeno && now.rss > bound)
      problems.push(`RSS is ${now.rss} KiB at the end, and was ${settled?.rss} at work`);
    daemon.kill("SIGTERM");
    const code = await until("the daemon stops", 40_000, async () => stopped ?? undefined).catch(
      (error: Error) => error.message,
    );
    if (code !== 0) problems.push(`the daemon ended with ${code} when it was asked to`);
  }
  console.log(
    `${results.complete} connections complete, ${results.broken} broken (${proxy.broken} faults broke, ${proxy.delayed} delayed), ${(bytes / 1e9).toFixed(2)} GB checked, longest wait ${Math.round(results.longest)} ms, this process held up ${heldUp.length} times`,
  );
  for (const problem of problems) console.log(`PROBLEM: ${problem}`);
  console.log(
    problems.length === 0
      ? "Soak: green"
      : `Soak: ${problems.length} problems; repeat with SOAK_SEED=${seed}`,
  );
  end(problems.length === 0 ? 0 : 1);
}

function end(code: number): never {
  daemon.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
  process.exit(code);
}

function startDaemon() {
  const config = {
    api: { url: cloud.apiUrl, key: cloud.apiKey },
    ingressEndpoint: `127.0.0.1:${proxy.port}`,
    server: {
      socket_path: join(folder, "socket"),
      client_cert: join(folder, "tls.crt"),
      client_key: join(folder, "tls.key"),
      ingress_ca: join(folder, "ca.crt"),
      health_port: "any",
    },
    bound_endpoints: { poll_interval: 1 },
    net: { subnet: "127.77.0.0/16" },
  };
  writeFileSync(join(folder, "ca.crt"), cloud.caPem);
  writeFileSync(join(folder, "hosts"), "127.0.0.1 localhost\n");
  // YAML reads JSON.
  writeFileSync(join(folder, "config.yml"), JSON.stringify(config), { mode: 0o600 });
  const args = ["serve", "--config", join(folder, "config.yml")];
  const command = isUnderDeno ? [...underDeno(denoRights([folder])), ...args] : [binary, ...args];
  const [program = "", ...rest] = command;
  const log = Bun.file(join(folder, "log")).writer();
  const child = spawn(program, rest, {
    cwd: root,
    env: { ...process.env, NGROKD_HOSTS_PATH: join(folder, "hosts") },
    stdio: ["ignore", "ignore", "pipe"],
  });
  child.stderr.on("data", (text: Buffer) => {
    log.write(text);
    void log.flush();
  });
  return child;
}

function fds(): number {
  return readdirSync(`/proc/${daemon.pid}/fd`).length;
}

/** KiB */
function rss(): number {
  return Number(
    /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${daemon.pid}/status`, "utf8"))?.[1] ?? 0,
  );
}

async function until<T>(
  what: string,
  withinMs: number,
  probe: () => Promise<T | undefined>,
): Promise<T> {
  const deadline = performance.now() + withinMs;
  let last = "";
  while (performance.now() < deadline) {
    try {
      const found = await probe();
      if (found !== undefined) return found;
    } catch (error) {
      last = error instanceof Error ? `: ${error.message}` : "";
    }
    await Bun.sleep(50);
  }
  throw new Error(`waited ${withinMs / 1000} s in vain until ${what}${last}`);
}
