import { availableParallelism } from "node:os";
import type { Guard } from "../access/guard.ts";
import { type Loaded, rulePlace } from "../config/load.ts";
import type { Ground } from "../exposure/ground.ts";
import type { History } from "../history/history.ts";
import { createOwnIdentity } from "../ingress/own-identity.ts";
import type { Inspector } from "../inspect/inspect.ts";
import { memoryLimit } from "../net/memory.ts";
import { addressText } from "../net/types.ts";
import { createRelay, type Relay, type RelayOptions } from "../relay/relay.ts";
import type { WorkerSettings } from "../workers/messages.ts";
import { ownWorker, type Program } from "../workers/process.ts";
import { type Crew, openCrew, workerCount } from "../workers/workers.ts";
import { inspectSettings, relayLimits } from "./relay-settings.ts";

interface Base extends Pick<RelayOptions, "net" | "log"> {
  /** The program of a worker; by default this one. */
  readonly worker?: Program | undefined;
}

export interface RelayParts {
  readonly loaded: () => Loaded;
  readonly guard: Guard;
  readonly history: History;
  readonly inspector: Inspector;
  readonly ground: () => Ground;
}

/** A relay. It has `workers` only if `forward.workers` asks for some. */
export type SpreadRelay = Relay & Partial<Pick<Crew, "workers">>;

/** A relay in this process, or one with workers if `forward.workers` asks. */
export async function relayOf(
  { net, log, worker }: Base,
  { loaded, guard, history, inspector, ground }: RelayParts,
): Promise<SpreadRelay> {
  const options: RelayOptions = {
    net,
    log,
    accounts: [],
    limits: relayLimits(loaded().config),
    room: net.descriptors.room,
    memory: memoryLimit(),
    guard,
    recorder: history,
    tap: tapOf(inspector),
    identity: identityOf(guard, loaded),
  };
  const isAble = net.runtime === "bun" && process.platform === "linux";
  const setting = loaded().config.forward.workers;
  const count = workerCount(setting, availableParallelism(), isAble);
  if (count === 1) return createRelay(options);
  return await openCrew({
    ...options,
    count,
    history,
    exchange: inspector.take,
    program: worker ?? ownWorker(),
    settings: () => workerSettings(loaded(), ground()),
  });
}

function workerSettings(loaded: Loaded, ground: Ground): WorkerSettings {
  const { access, identity, server } = loaded.config;
  return {
    rules: access.rules,
    places: access.rules.map((_, i) => rulePlace(loaded, i + 1)),
    ground,
    identity,
    inspect: inspectSettings(loaded.config),
    verbose: server.log_level === "debug",
  };
}

function identityOf(guard: Guard, loaded: () => Loaded): NonNullable<RelayOptions["identity"]> {
  const own = createOwnIdentity(() => loaded().config.identity);
  return (uid) => own(uid === undefined ? undefined : (guard.nameOf(uid) ?? String(uid)));
}

/** TLS is never opened, so only plain HTTP can be read. */
const tapOf =
  (inspector: Inspector): NonNullable<RelayOptions["tap"]> =>
  ({ remote }, { proto, key, host }) =>
    proto === "http"
      ? inspector.reader({ endpoint: key, host, client: addressText(remote) })
      : undefined;
