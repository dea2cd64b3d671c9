/** The worker process: a relay that carries out the daemon's orders. */
import { createGuard, type Guard } from "../access/guard.ts";
import { createOwnAddresses } from "../access/own-addresses.ts";
import { type DoorId, doorId } from "../exposure/exposure.ts";
import { groundHas } from "../exposure/ground.ts";
import { createOwnIdentity } from "../ingress/own-identity.ts";
import { createInspector, type Inspector } from "../inspect/inspect.ts";
import { memoryLimit } from "../net/memory.ts";
import { listeningKey } from "../net/proc-net.ts";
import { addressText, type Net } from "../net/types.ts";
import { createRelay, type Relay } from "../relay/relay.ts";
import type { Order, Report, WorkerSettings } from "./messages.ts";
import { createReporter, type Reporter } from "./reports.ts";

/** The channel to the daemon. */
export interface Line {
  send(report: Report): void;
  /** Calls `take` for every order, in turn. */
  listen(take: (order: Order) => Promise<void>): void;
  /** Settles when the daemon is gone. */
  readonly gone: Promise<void>;
  /** The next descriptors; they have been sent before their order. */
  descriptors(): readonly number[];
}

/**
 * Carries connections until the daemon has no work any more, or is gone. Then
 * the process has to end at once.
 */
export async function work(net: Net, line: Line): Promise<void> {
  const over = Promise.withResolvers<void>();
  const worker = createWorker(net, line, over.resolve);
  line.listen((order) => obey(worker, order));
  line.send({ kind: "ready", now: performance.now() });
  await Promise.race([over.promise, line.gone]);
}

interface Worker {
  readonly line: Line;
  readonly net: Net;
  readonly reporter: Reporter;
  readonly inspector: Inspector;
  /** Made by the first settings. */
  relay: Relay | undefined;
  settings: WorkerSettings | undefined;
  accounts: readonly string[];
  elsewhere: { open: number; at(key: string): number };
  readonly hurry: AbortController;
  readonly over: () => void;
  /** Listeners that no door has taken yet. */
  readonly passed: Map<DoorId, number>;
}

function createWorker(net: Net, line: Line, over: () => void): Worker {
  const settings = (): WorkerSettings => {
    if (worker.settings === undefined) throw new Error("The worker has no settings yet");
    return worker.settings;
  };
  const worker: Worker = {
    line,
    net,
    reporter: createReporter({
      relay: () => relayOf(worker),
      accounts: () => worker.accounts,
      turnedAway: () => net.descriptors.turnedAway,
      verbose: () => settings().verbose,
      send: line.send,
    }),
    inspector: createInspector(
      () => settings().inspect,
      undefined,
      (exchange) => line.send({ kind: "exchange", exchange }),
    ),
    relay: undefined,
    settings: undefined,
    accounts: [],
    elsewhere: { open: 0, at: () => 0 },
    hurry: new AbortController(),
    over,
    passed: new Map(),
  };
  return worker;
}

function relayOf({ relay }: Pick<Worker, "relay">): Relay {
  if (relay === undefined) throw new Error("The worker has no relay yet");
  return relay;
}

async function obey(worker: Worker, order: Order): Promise<void> {
  const { line, reporter } = worker;
  if (order.kind === "settings") return settle(worker, order);
  const relay = relayOf(worker);
  const done = (failures: readonly string[] = []): void =>
    "number" in order ? line.send({ kind: "done", number: order.number, failures }) : undefined;
  switch (order.kind) {
    case "accounts":
      worker.accounts = order.names;
      return relay.accounts(order.names);
    case "credentials":
      return relay.credentials(order.account, order.settings);
    case "steps":
      return done(await apply(worker, order));
    case "mend":
      return done(await mend(worker, order));
    case "elsewhere":
      worker.elsewhere = { open: order.open, at: (key) => order.endpoints.get(key) ?? 0 };
      return;
    case "discard":
      return relay.discardReady();
    case "prepare":
      relay.prepare();
      return reporter.flush();
    case "ping":
      return done();
    case "leave":
      // Without await: the next orders are handled meanwhile.
      void relay.leave().then(() => done());
      return;
    case "drain":
      void relay.drain(worker.hurry.signal).then(() => {
        reporter.flush();
        worker.over();
      });
      return;
    case "hurry":
      return worker.hurry.abort();
  }
}

function settle(worker: Worker, { settings, limits }: Extract<Order, { kind: "settings" }>): void {
  worker.settings = settings;
  if (worker.relay === undefined) worker.relay = openRelay(worker, limits);
  else worker.relay.limits(limits);
  worker.inspector.settle();
}

function openRelay(worker: Worker, limits: Extract<Order, { kind: "settings" }>["limits"]): Relay {
  const { net, reporter, inspector, passed } = worker;
  const settings = (): WorkerSettings => worker.settings as WorkerSettings;
  const guard = guardOf(net, settings);
  const own = createOwnIdentity(() => settings().identity);
  return createRelay({
    net: adopting(net, passed),
    log: reporter.log,
    accounts: [],
    limits,
    room: net.descriptors.room,
    memory: memoryLimit(),
    guard,
    recorder: reporter.recorder,
    tap: ({ remote }, { proto, key, host }) =>
      proto === "http"
        ? inspector.reader({ endpoint: key, host, client: addressText(remote) })
        : undefined,
    identity: (uid) => own(uid === undefined ? undefined : (guard.nameOf(uid) ?? String(uid))),
    elsewhere: {
      get open() {
        return worker.elsewhere.open;
      },
      at: (key) => worker.elsewhere.at(key),
    },
  });
}

function guardOf(net: Net, settings: () => WorkerSettings): Guard {
  const hasAddress = createOwnAddresses();
  return createGuard({
    net,
    written: () => settings().rules,
    placeOf: ({ number }) => settings().places[number - 1] ?? "",
    isOwn: (address) => hasAddress(address) || groundHas(settings().ground, address),
    wantsUsers() {
      const { send, user } = settings().identity;
      return send && user;
    },
  });
}

/** Doors go on with the listeners of the daemon, and open none. */
const adopting = (net: Net, passed: Map<DoorId, number>): Net => ({
  ...net,
  async listen(address, onConn) {
    const id = "path" in address ? address.path : addressText(address);
    const fd = passed.get(id);
    if (fd === undefined) throw new Error(`The worker has no listener for ${id}`);
    passed.delete(id);
    return await net.adopt(fd, onConn);
  },
});

async function apply(worker: Worker, order: Extract<Order, { kind: "steps" }>): Promise<string[]> {
  const relay = relayOf(worker);
  takePassed(worker, order.open);
  // After a start, a door can come twice.
  const isOpen = ({ door: { id } }: (typeof order.open)[number]): boolean => relay.present.has(id);
  const again = order.open.filter(isOpen);
  const failures = await relay.apply({
    open: order.open.filter((one) => !isOpen(one)),
    reroute: [...again, ...order.reroute],
    close: order.close,
  });
  discard(worker);
  return [...failures.values()];
}

/** The doors of `open` go on with other listeners. */
async function mend(worker: Worker, order: Extract<Order, { kind: "mend" }>): Promise<string[]> {
  const relay = relayOf(worker);
  takePassed(worker, order.open);
  const replaced = new Set(order.open.map(({ door }) => door.id));
  const alive = new Set(
    [...relay.present.values()].flatMap(({ door: { id, at } }) =>
      replaced.has(id) ? [] : listeningKey(at.ip, at.port),
    ),
  );
  // The relay believes no list that is empty.
  alive.add(listeningKey(nowhere.ip, nowhere.port));
  const mended = await relay.mend(() => Promise.resolve(alive));
  discard(worker);
  return mended.flatMap(({ reason }) => reason ?? []);
}

const nowhere = { ip: "0.0.0.0", port: 0 } as const;

function takePassed(
  { line, passed }: Worker,
  open: Extract<Order, { kind: "mend" }>["open"],
): void {
  const descriptors = open.length === 0 ? [] : line.descriptors();
  for (const [i, { door }] of open.entries()) {
    const fd = descriptors[i];
    if (fd !== undefined) passed.set(doorId(door.at.ip, door.at.port), fd);
  }
}

/** Closes the listeners that no door has taken. */
function discard({ net, passed }: Worker): void {
  for (const fd of passed.values()) net.closeDescriptor(fd);
  passed.clear();
}
