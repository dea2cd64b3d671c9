import { existsSync, readFileSync } from "node:fs";
import { type NetworkInterfaceInfo, networkInterfaces } from "node:os";

/** What the watch does about what it sees. */
export interface WatchDeps {
  /**
   * The machine slept, its clock was set, or its network is another one: what
   * was open may be dead, what was timed may be due.
   */
  readonly moved: (what: Moved) => void;
  /**
   * At every look, for what has to be seen to by itself; the next look waits
   * for it. Must not reject.
   */
  readonly look: () => Promise<void>;
  readonly intervalMs?: number;
  /** Stand-ins for tests. */
  readonly clocks?: () => Clocks;
  readonly network?: () => string | undefined;
}

export type Moved = "time" | "network";

/** Milliseconds of the wall's clock and of one that only goes forward. */
export interface Clocks {
  readonly wall: number;
  readonly steady: number;
}

/**
 * A hosts section that another program removed has to be back within five
 * seconds; every look costs a wake-up of the whole process.
 */
const defaultIntervalMs = 3500;

/**
 * The one timer for everything that nobody tells a daemon of. It costs some
 * file stats and two small files of /proc a look.
 */
export function startWatch(deps: WatchDeps): { stop(): Promise<void> } {
  const { intervalMs = defaultIntervalMs, clocks = readClocks, network = networkText } = deps;
  let before = clocks();
  let known: string | undefined;
  let stopped = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let turn = Promise.resolve();
  schedule();
  return {
    async stop() {
      stopped = true;
      clearTimeout(timer);
      await turn;
    },
  };

  function schedule(): void {
    if (stopped) return;
    timer = setTimeout(() => {
      turn = once().then(schedule);
    }, intervalMs);
  }

  async function once(): Promise<void> {
    const now = clocks();
    const jumped = timeJumped(before, now, intervalMs);
    const here = network() ?? known;
    const elsewhere = known !== undefined && here !== known;
    known = here;
    if (jumped) deps.moved("time");
    else if (elsewhere) deps.moved("network");
    await deps.look();
    // What the look itself took is no sleep, unless it took longer than any
    // look does.
    before = clocks();
    if (timeJumped(now, before, 0)) deps.moved("time");
  }
}

/**
 * More than a busy event loop or a slow disk explains, and less than what
 * connections outlive.
 */
const jumpMs = 5000;

/**
 * Pure: whether between two looks, `intervalMs` apart by a timer, the machine
 * slept or its clock was set. A timer that is late by seconds means sleep (or a
 * process that was frozen, which is the same to its peers); where the steady
 * clock stands still in sleep, the wall's has gone ahead of it.
 */
export function timeJumped(before: Clocks, now: Clocks, intervalMs: number): boolean {
  const steady = now.steady - before.steady;
  const wall = now.wall - before.wall;
  return steady > intervalMs + jumpMs || Math.abs(wall - steady) > jumpMs;
}

const readClocks = (): Clocks => ({ wall: Date.now(), steady: performance.now() });

/**
 * The network as far as connections depend on it: equal texts mean that nothing
 * has changed. Undefined where it cannot be told.
 */
function networkText(): string | undefined {
  try {
    // At once: waking a thread would cost more than reading what is in memory.
    const routes = existsSync(routesPath) ? readFileSync(routesPath, "latin1") : "";
    return networkKey(networkInterfaces(), routes);
  } catch {
    return undefined; // The question itself needs a descriptor, and all may be in use.
  }
}

/**
 * Linux only; elsewhere the addresses have to do. Of this process, since a
 * service may see nothing else of /proc (`ProcSubset=pid`).
 */
const routesPath = "/proc/self/net/route";

/**
 * Pure: the addresses of this machine, and of the routes (/proc/net/route)
 * those that lead everywhere: a default, or its two halves, as VPNs set them.
 * Loopback and link-local addresses are left out: containers make and remove
 * interfaces with such all day long.
 */
export function networkKey(
  interfaces: NodeJS.Dict<readonly NetworkInterfaceInfo[]>,
  routes: string,
): string {
  const addresses = Object.entries(interfaces).flatMap(([name, list = []]) =>
    list
      .filter(({ address }) => !/^127\.|^169\.254\.|^::1$|^fe[89ab]/i.test(address))
      .map(({ address }) => `${name} ${address}`),
  );
  const wide = routes.split("\n").flatMap((line) => {
    const [name = "", destination = "", gateway = "", , , , metric = "", mask = ""] =
      line.split("\t");
    return /^(?:0{8}|0{6}80)$/.test(mask)
      ? [`${name} ${destination}/${mask} ${gateway} ${metric}`]
      : [];
  });
  return [...addresses.sort(), ...wide.sort()].join("\n");
}
