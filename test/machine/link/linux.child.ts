/**
 * Runs one scene of linux.test.ts in a network namespace of its own, and prints
 * its facts as JSON.
 */
import { groundText, groundWish } from "../../../src/exposure/ground.ts";
import { createLink, type Link } from "../../../src/machine/link/link.ts";
import { linuxLinks } from "../../../src/machine/link/linux.ts";
import type { AnyIp, Prefix6 } from "../../../src/model/ip.ts";
import { parsePrefix6 } from "../../../src/model/ip.ts";
import { createBunNet } from "../../../src/net/bun.ts";
import { memoryLog } from "../../support/memory-log.ts";

const net = createBunNet();
const log = memoryLog();
const six = "fd11:2233:4455:6677";
const prefix = parsePrefix6(`${six}::/64`);

function link(more: { now?: () => number } = {}): Link {
  return createLink({
    system: async () => linuxLinks(await net.routing()),
    prefix: () => (prefix.ok ? prefix.value : ([] as unknown as Prefix6)),
    servers: () => [],
    saved: () => undefined,
    log,
    ...more,
  });
}

const wish = (subnet: string, subnet6 = "auto") =>
  groundWish({ subnet, subnet6, interface_name: "ngrokd0" });

function sh(command: string): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync(["sh", "-c", command]);
  if (exitCode !== 0) throw new Error(`${command}: ${stderr.toString()}`);
  return stdout.toString().trim();
}

/** Everything that could remain of an interface. */
const world = (): string =>
  sh("ip -o link; ip -o addr; ip route show table all; ip -6 route show table all");

const nothing = (): AnyIp[] => [];

async function answer(host: string, port: number): Promise<string> {
  try {
    const conn = await net.dial({ host, port }, { signal: AbortSignal.timeout(15_000) });
    const bytes = await conn.read();
    conn.close();
    return new TextDecoder().decode(bytes ?? new Uint8Array());
  } catch (error) {
    return String(error);
  }
}

async function serve(host: string): Promise<void> {
  const said = new TextEncoder().encode(host);
  await net.listen(
    { host, port: 80 },
    (conn) => {
      void conn.write(said);
      conn.closeWrite();
    },
    { routed: true },
  );
}

/** Puts each thing back that another program takes. */
async function repaired(): Promise<unknown> {
  let now = 0;
  const ours = link({ now: () => now });
  await ours.settle(wish("10.107.0.0/16"));
  await serve("10.107.3.4");
  await serve(`${six}::304`);
  const told: Record<string, unknown> = {};
  const harms = {
    none: "true",
    link: "ip link del ngrokd0",
    name: "ip link set ngrokd0 down && ip link set ngrokd0 name other0",
    state: "ip link set ngrokd0 down",
    address: "ip addr flush dev ngrokd0",
    route: "ip route del local 10.107.0.0/16 dev ngrokd0 table local",
    route6: `ip -6 route del local ${six}::/64 dev ngrokd0 table local`,
  };
  for (const [harm, command] of Object.entries(harms)) {
    now += 10 * 60_000;
    sh(command);
    const again = await ours.guard(nothing);
    told[harm] = {
      again,
      answers: [await answer("10.107.3.4", 80), await answer(`${six}::304`, 80)],
      addresses: sh("ip -o addr show dev ngrokd0 | awk '{print $4}' | grep -v ^fe80").split("\n"),
    };
  }
  const warnings = log.lines.filter((line) => line.startsWith("warn")).length;
  await ours.close();
  return { told, warnings, left: sh("ip -o link show | grep -c ngrokd || true") };
}

/** A VPN appears in the subnet: named, left, and kept while it is used. */
async function overlapped(): Promise<unknown> {
  const ours = link();
  await ours.settle(wish("auto"));
  const first = groundText(ours.ground);
  sh("ip link add v0 type veth peer name v1 && ip link set v0 up && ip link set v1 up");
  sh("ip addr add 10.107.5.1/24 dev v0");
  const used: AnyIp[] = ["10.107.0.2" as AnyIp];
  const moved = await ours.guard(() => used);
  const kept = sh("ip route show table local | grep -c ^local.10.107.0.0/16 || true");
  used.length = 0;
  await ours.guard(() => used);
  const dropped = sh("ip route show table local | grep -c ^local.10.107.0.0/16 || true");
  const next = groundText(ours.ground);
  await ours.settle(wish("10.107.0.0/16"));
  const explicit = { ground: groundText(ours.ground), remarks: ours.remarks };
  await ours.settle(wish("127.0.0.0/8"));
  await ours.guard(nothing);
  return {
    first,
    moved,
    next,
    kept,
    dropped,
    explicit,
    devices: ours.devices,
    left: sh("ip -o link show | grep -c ngrokd || true"),
  };
}

/** Kills a process that has the interface, again and again. */
async function killed(): Promise<unknown> {
  const before = world();
  const changed: string[] = [];
  for (let n = 0; n < 20; n += 1) {
    const child = Bun.spawn([process.execPath, import.meta.path, "hold"], { stdout: "pipe" });
    const { value } = await child.stdout.getReader().read();
    const during = world();
    if (during === before || value === undefined) changed.push(`${n}: it was not there`);
    child.kill("SIGKILL");
    await child.exited;
    if (world() !== before) changed.push(`${n}: ${world()}`);
  }
  return { changed };
}

async function hold(): Promise<never> {
  const ours = link();
  await ours.settle(wish("10.107.0.0/16"));
  await serve("10.107.3.4");
  // A child must not keep the interface.
  Bun.spawn(["sleep", "20"]).unref();
  console.log(groundText(ours.ground));
  return await new Promise(() => setInterval(() => undefined, 1000));
}

async function refused(): Promise<unknown> {
  const ours = link();
  await ours.settle(wish("10.107.0.0/16"));
  return { ground: groundText(ours.ground), remarks: ours.remarks, devices: ours.devices };
}

/** Another program has an interface of this name. */
async function named(): Promise<unknown> {
  sh("ip link add ngrokd0 type veth peer name v1");
  return await refused();
}

/** The system has no IPv6. */
async function without6(): Promise<unknown> {
  for (const which of ["all", "default"])
    sh(`echo 1 >/proc/sys/net/ipv6/conf/${which}/disable_ipv6`);
  const ours = link();
  await ours.settle(wish("10.107.0.0/16", `${six}::/64`));
  await serve("10.107.3.4");
  return {
    ground: groundText(ours.ground),
    remarks: ours.remarks,
    answer: await answer("10.107.3.4", 80),
  };
}

/** Another name of the interface, and IPv6 off and on, with the same subnet. */
async function renamed(): Promise<unknown> {
  const ours = link();
  const told: unknown[] = [];
  const used: AnyIp[] = ["10.107.3.4" as AnyIp];
  const look = async (): Promise<void> => {
    const devices = sh("ip -o link show | grep -o 'ngrokd[0-9]' | sort | tr '\\n' ' '");
    told.push([groundText(ours.ground), devices, await answer("10.107.3.4", 80)].join("; "));
  };
  const as = (device: string, subnet6 = "auto") =>
    groundWish({ subnet: "10.107.0.0/16", subnet6, interface_name: device });
  await ours.settle(as("ngrokd0"));
  await serve("10.107.3.4");
  await look();
  await ours.settle(as("ngrokd1"));
  await look();
  await ours.guard(() => used);
  await look();
  await ours.settle(as("ngrokd1", "off"));
  await ours.guard(() => used);
  await look();
  const routes = sh("ip -6 route show table local | grep -c ^local.fd || true");
  return { told, routes };
}

const scenes = { repaired, overlapped, killed, hold, refused, named, renamed, without6 };
const scene = scenes[process.argv[2] as keyof typeof scenes];
console.log(JSON.stringify(await scene()));
process.exit();
