import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import packet from "dns-packet";
import { listeningKey, listeningPlaces } from "../../src/net/proc-net.ts";
import type { Apart, Metrics } from "./apart.ts";
import { startCloud, writeCertificates } from "./cloud.ts";
import { cpuSeconds, stopAll, until } from "./processes.ts";
import { type Relay, type RelayOptions, startRelay } from "./relay.ts";
import { type Connects, type Rig, startRig } from "./rig.ts";

/** A process of the benchmark in namespaces of its own (apart.ts). */
const [, , parent = "", binary = "", what = "", scaleText = "1"] = process.argv;
const scale = Number(scaleText);
const folder = mkdtempSync(join(parent, `${what}-`));
const cache = join(import.meta.dirname, "..", "..", "dist", "bench");

/** The daemon's name server, for the names below one wildcard. */
const server = { hostname: "127.0.0.55", port: 5300 };
const zone = "team.bench";
const port = 7000;

const measurements: Record<Apart, () => Promise<Metrics>> = { anyip, fresh, questions };
try {
  console.log(JSON.stringify(await measurements[what as Apart]()));
} finally {
  await stopAll();
}
process.exit(0);

async function serving(
  urls: readonly string[],
  settings: RelayOptions["settings"],
  listed?: (pid: number) => void,
  quietUntil?: Promise<unknown>,
): Promise<{ relay: Relay; rig: Rig }> {
  const ca = await writeCertificates(folder);
  const rig = await startRig(folder, cache);
  let pid = 0;
  const url = await startCloud(ca, urls, () => listed?.(pid));
  const started = (of: number): void => {
    pid = of;
  };
  const ingressPort = rig.near.header;
  const options = { url, ingressPort, settings, started, quietUntil };
  const relay = await startRelay(folder, binary, options);
  return { relay, rig };
}

/**
 * The sockets are counted from outside, and the daemon is asked nothing until
 * all are there: neither disturbs it.
 */
async function anyip(): Promise<Metrics> {
  const count = Math.ceil(10_000 * scale);
  const urls = Array.from({ length: count }, (_, i) => `http://service-${i}.bench:8080`);
  const all = Promise.withResolvers<{ seconds: number; cpu: number }>();
  const listed = async (pid: number): Promise<void> => {
    const [start, cpu] = [performance.now(), cpuSeconds(pid)];
    await until("all listen", async () => {
      return socketsInUse() >= count && ((await listeningPlaces())?.size ?? 0) >= count;
    });
    all.resolve({ seconds: (performance.now() - start) / 1000, cpu: cpuSeconds(pid) - cpu });
  };
  const settings = {
    // With IPv6 they need twice as many descriptors, which few systems allow.
    net: { subnet: "10.107.0.0/16", subnet6: "off" },
    bound_endpoints: { poll_interval: 3600 },
  };
  const { relay } = await serving(
    urls,
    settings,
    (pid) => void listed(pid).catch(all.reject),
    all.promise,
  );
  const { seconds, cpu } = await all.promise;
  const metrics = {
    "listening after the list, s": seconds,
    "CPU of that, s": cpu,
    "after the start, s": relay.startSeconds,
    "CPU since the start, s": cpuSeconds(relay.pid),
  };
  await relay.stop();
  return metrics;
}

/**
 * TCP sockets of this network, which other programs have few of. It takes a
 * hundredth of the time of a list of them.
 */
function socketsInUse(): number {
  const text = readFileSync("/proc/self/net/sockstat", "latin1");
  return Number(/^TCP: inuse (\d+)/m.exec(text)?.[1]);
}

function servingNames(): ReturnType<typeof serving> {
  return serving([`http://*.${zone}:${port}`, `http://relay.${zone}:${port}`], {
    dns: { enabled: true, listen: `${server.hostname}:${server.port}` },
    bound_endpoints: { poll_interval: 3600 },
  });
}

async function fresh(): Promise<Metrics> {
  const { relay } = await servingNames();
  const ask = await asker();
  const times: number[] = [];
  let deaf = 0;
  const before = cpuSeconds(relay.pid);
  for (let i = 0; i < Math.ceil(1000 * scale); i += 1) {
    const start = performance.now();
    const ip = await ask(`name-${i}.${zone}`);
    times.push(performance.now() - start);
    if (i % 50 === 0 && !(await listeningPlaces())?.has(listeningKey(ip, port))) deaf += 1;
  }
  const cpu = cpuSeconds(relay.pid) - before;
  await relay.stop();
  // The first ones run before the code is compiled.
  const sorted = times.slice(times.length / 10).sort((a, b) => a - b);
  const at = (mark: number): number => sorted[Math.ceil(sorted.length * mark) - 1] ?? Number.NaN;
  return {
    "p50, ms": at(0.5),
    "p99, ms": at(0.99),
    "max, ms": at(1),
    "CPU, ms": (cpu / times.length) * 1000,
    "not listening": deaf,
  };
}

/** Asks the name server for an IPv4 address, one question at a time. */
async function asker(): Promise<(name: string) => Promise<string>> {
  let waiting = Promise.withResolvers<Uint8Array>();
  const socket = await Bun.udpSocket({
    connect: server,
    socket: { data: (_, bytes) => waiting.resolve(bytes) },
  });
  let id = 0;
  return async (name) => {
    id += 1;
    waiting = Promise.withResolvers();
    socket.send(packet.encode({ type: "query", id, questions: [{ type: "A", name }] }));
    const [record] = packet.decode(Buffer.from(await waiting.promise)).answers ?? [];
    return record?.type === "A" ? record.data : "";
  };
}

/** The same echoes as without questions, and the count of the answers. */
async function questions(): Promise<Metrics> {
  if (Bun.which("dnsperf") === null) return {};
  const { relay, rig } = await servingNames();
  const echoes = (): Promise<Connects> =>
    rig.load(`-to=${relay.target}`, "-do=echo", `-count=${Math.ceil(10_000 * scale)}`);
  const alone = await echoes();
  const file = join(folder, "questions");
  writeFileSync(file, `relay.${zone} A\nno-${zone} A\n`);
  const before = cpuSeconds(relay.pid);
  const seconds = Math.ceil(5 * scale);
  const dnsperf = Bun.spawn(
    [
      ...["dnsperf", "-s", server.hostname, "-p", String(server.port), "-d", file],
      ...["-Q", "20000", "-q", "1000", "-t", "1", "-l", String(seconds)],
    ],
    { stdout: "pipe", stderr: "ignore" },
  );
  await Bun.sleep(300);
  const beside = await echoes();
  const report = await new Response(dnsperf.stdout).text();
  const cpu = cpuSeconds(relay.pid) - before;
  await relay.stop();
  const number = (pattern: RegExp): number => Number(pattern.exec(report)?.[1]);
  const completed = number(/Queries completed:\s+(\d+)/);
  return {
    "answered, 1/s": number(/Queries per second:\s+([\d.]+)/),
    "answered, %": number(/Queries completed:\s+\d+ \(([\d.]+)%/),
    "CPU, us each": (cpu / completed) * 1e6,
    "echo alone p99, ms": alone.p99,
    "echo beside p99, ms": beside.p99,
    "longest echo beside, ms": beside.max,
  };
}
