/** The side of the daemon that its clients see. */

import type { Taker } from "../control/answering.ts";
import { streamCommand } from "../control/protocol.ts";
import type { ControlOptions } from "../control/server.ts";
import { createDispatch, runOperation } from "../desk/dispatch.ts";
import { createFeed } from "../desk/feed.ts";
import type { Desk, DeskProfile } from "../desk/handlers.ts";
import type { Health } from "../desk/health-life.ts";
import type { Memory } from "../desk/remembering.ts";
import { type HostPort, parseHostPort } from "../model/host-port.ts";
import type { ApiDeps } from "../web/http-api.ts";
import { createSocketWeb, createWeb, type Web } from "../web/web.ts";
import type { Member } from "./accounts.ts";
import { reloadUnlessStopping } from "./apply.ts";
import { examinationOf } from "./examination.ts";
import type { Handover } from "./handover.ts";
import { inspectionOf } from "./inspection.ts";
import { type AccountStates, createOpening } from "./opening.ts";
import type { Parts } from "./parts.ts";
import { currentState, factsOf, liveness, memberFacts, memberState } from "./telling.ts";

export interface Front {
  readonly desk: Desk;
  readonly web: Web;
  /** For the clients of the control socket. */
  readonly clients: Pick<ControlOptions, "handle" | "web" | "takers">;
}

export function createFront(core: Parts, health: Health, handover: Handover): Front {
  const desk = deskOf(core, { health, handover, web: () => web });
  const api: ApiDeps = {
    run: (name, input) => runOperation(desk, name, input),
    feed: desk.memory.feed,
  };
  const { net, log } = core.options;
  const web: Web = createWeb({ net, address: () => webAddress(core), api, log });
  return {
    desk,
    web,
    clients: {
      handle: createDispatch(desk),
      web: createSocketWeb(api).accept,
      takers: { [streamCommand]: streamsOf(core) },
    },
  };
}

/** The parts that the operations use. */
function deskOf(
  parts: Parts,
  { health, handover, web }: { health: Health; handover: Handover; web: () => Web },
): Desk {
  return {
    state: () => currentState({ ...parts, health, web: web() }),
    facts: () => factsOf(parts),
    live: () => liveness(parts.accounts),
    healthUrl: () => health.url,
    settings: parts.settings,
    profiles: () => profilesOf(parts),
    reload: () => reloadUnlessStopping(parts),
    upgrade: handover.upgrade,
    names: parts.names,
    memory: memoryOf(parts),
    inspection: inspectionOf(parts),
    examine: examinationOf(parts),
    dashboardLink: (how) => web().link(how),
    log: parts.options.log,
  };
}

/** Undefined if no dashboard is served. */
function webAddress({ settings }: Parts): HostPort | undefined {
  const address = parseHostPort(settings.current.config.server.dashboard_address);
  return address.ok ? address.value : undefined;
}

/** What the operations about the past use. */
function memoryOf({ history, guard }: Parts): Memory {
  const { nameOf } = guard;
  return { history, nameOf, feed: createFeed(history, nameOf) };
}

/** Connections to endpoints over the control socket. */
function streamsOf({ options: { net, log }, relay, guard, accounts }: Parts): Taker {
  const states = (): AccountStates[] =>
    accounts.all.map(({ name, board }) => ({ account: name, endpoints: board.state.endpoints }));
  return { who: "anybody", take: createOpening({ net, relay, guard, accounts: states, log }) };
}

/** The profiles, as the operations use them. */
function profilesOf(parts: Parts): [DeskProfile, ...DeskProfile[]] {
  const [first, ...others] = parts.accounts.all;
  const made = (member: Member): DeskProfile => ({
    name: member.name,
    loaded: member.loaded,
    state: () => memberState(parts, member),
    facts: () => memberFacts(parts, member),
    live: member.account.live,
    identity: member.account.identity,
    pass: member.account.pass,
  });
  return [made(first), ...others.map(made)];
}
