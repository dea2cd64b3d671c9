import { existsSync, readFileSync } from "node:fs";
import { type NetworkInterfaceInfo, networkInterfaces } from "node:os";

/** The reactions to a jump of time or a change of the network. */
export interface WatchDeps {
  /**
   * The machine slept, its clock was set, or its network changed: open
   * connections may be dead, and timers may be due.
   */
  readonly moved: (what: Moved) => void;
  /**
   * Called at every look, for all other checks. The next look waits for it.
   * Must not reject.
   */
  readonly look: () => Promise<void>;
  /** Interfaces of our own: their changes are no changes of the network. */
  readonly ownDevices?: () => readonly string[];
  readonly intervalMs?: number;
  /** Stand-ins for tests. */
  readonly clocks?: () => Clocks;
  readonly network?: () => string | undefined;
}

export type Moved = "time" | "network";

/** Milliseconds of the wall clock and of a monotonic clock. */
export interface Clocks {
  readonly wall: number;
  readonly steady: number;
}

/**
 * A hosts section that another program removed must be back within five
 * seconds. Every look costs a wake-up of the whole process.
 */
const defaultIntervalMs = 3500;

/**
 * The one timer for all changes that arrive without an event. A look costs some
 * file stats and two small files of /proc.
 */
export function startWatch(deps: WatchDeps): { stop(): Promise<void> } {
  const { intervalMs = defaultIntervalMs, clocks = readClocks } = deps;
  const network = deps.network ?? (() => networkText(deps.ownDevices?.() ?? []));
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
    // The duration of the look is not sleep, unless it is longer than a look
    // can take.
    before = clocks();
    if (timeJumped(now, before, 0)) deps.moved("time");
  }
}

/**
 * More than the delay of a busy event loop or a slow disk, and less than the
 * time in which connections die.
 */
const jumpMs = 5000;

/**
 * Pure: whether the machine slept or its clock was set between two checks,
 * which a timer set `intervalMs` apart. A timer that is late by seconds means
 * sleep, or a frozen process, which is the same for its peers. On systems whose
 * monotonic clock stops during sleep, the wall clock is ahead of it afterwards.
 */
export function timeJumped(before: Clocks, now: Clocks, intervalMs: number): boolean {
  const steady = now.steady - before.steady;
  const wall = now.wall - before.wall;
  return steady > intervalMs + jumpMs || Math.abs(wall - steady) > jumpMs;
}

const readClocks = (): Clocks => ({ wall: Date.now(), steady: performance.now() });

/**
 * The facts of the network on which connections depend: equal texts mean no
 * change. Undefined if they cannot be read.
 */
function networkText(ownDevices: readonly string[]): string | undefined {
  try {
    // Synchronous: a thread would cost more than reading from memory.
    const routes = existsSync(routesPath) ? readFileSync(routesPath, "latin1") : "";
    const others = Object.entries(networkInterfaces()).filter(
      ([name]) => !ownDevices.includes(name),
    );
    return networkKey(Object.fromEntries(others), routes);
  } catch {
    return undefined; // All file descriptors may be in use.
  }
}

/**
 * Linux only. Other systems have only the addresses. The path is of this
 * process, since a service may not see the rest of /proc (`ProcSubset=pid`).
 */
const routesPath = "/proc/self/net/route";

/**
 * Pure: the addresses of this machine, and its default routes
 * (/proc/net/route). A VPN may set a default route in two halves. Loopback and
 * link-local addresses are left out, since containers often add and remove
 * interfaces with such addresses.
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
