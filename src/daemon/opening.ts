import type { Guard } from "../access/guard.ts";
import { errorReply } from "../control/answering.ts";
import type { Reply } from "../control/protocol.ts";
import type { Rights } from "../control/rights.ts";
import type { Target } from "../exposure/exposure.ts";
import { type Bindings, bindingFor, bindingsOf } from "../model/binding.ts";
import { NgrokdError, reasonOf } from "../model/error.ts";
import { parseHostPort } from "../model/host-port.ts";
import type { Log } from "../model/log.ts";
import { quote } from "../model/parsed.ts";
import type { EndpointState } from "../model/state.ts";
import { FramedConn } from "../net/framed.ts";
import type { Conn, Net } from "../net/types.ts";
import type { Relay } from "../relay/relay.ts";

/** Connections to endpoints that come over the control socket. */
export interface OpeningDeps {
  readonly net: Pick<Net, "userOf">;
  readonly relay: Pick<Relay, "carry">;
  readonly guard: Pick<Guard, "judgeUser">;
  /** In the order that settles conflicts. */
  readonly accounts: () => readonly AccountStates[];
  readonly log: Log;
}

/** The endpoints of an account, as published. */
export interface AccountStates {
  readonly account: string;
  readonly endpoints: readonly EndpointState[];
}

/**
 * Takes a request for a stream. The rules of `access.rules` count as at a door.
 * An endpoint needs no door: its port may be another program's here.
 */
export function createOpening(
  deps: OpeningDeps,
): (conn: Conn, args: readonly string[], rights: Rights) => void {
  return (conn, args, rights) =>
    void open(conn, args, rights, deps).catch((error: unknown) => refuse(conn, error));
}

async function open(
  conn: Conn,
  [text, ...flags]: readonly string[],
  rights: Rights,
  { net, relay, guard, accounts, log }: OpeningDeps,
): Promise<void> {
  if (rights !== "all")
    throw new NgrokdError("permission", "This user may ask the daemon, and not use its identity");
  if (text === undefined) return await reply(conn, { success: true, data: {} }, "end");
  const target = targetOf(text, ofProfile(flags, accounts()));
  const { binding } = target;
  const framed = new FramedConn(conn);
  const refusal = guard.judgeUser(framed, (await net.userOf(conn))?.uid, binding);
  if (refusal !== undefined) {
    log.warn(`${binding.key}: reset at once: ${refusal.reason}`, { hint: refusal.hint });
    throw new NgrokdError("permission", `${binding.key}: ${refusal.detail}`, {
      hint: refusal.hint,
    });
  }
  relay.carry(target, framed, {
    async accepted() {
      await reply(conn, { success: true, data: accepted }, "stream");
      framed.begin();
    },
    failed(_, failure) {
      const error =
        failure.kind === "refused"
          ? new NgrokdError("refused", `The ingress refused ${binding.key}: ${failure.text}`)
          : failure.error;
      refuse(conn, error);
    },
  });
}

/** What the ingress has said is the daemon's to log. */
const accepted = { endpoint_id: "", proto: "", notices: [] };

/** Those of `--profile=NAME`, or all. */
function ofProfile(flags: readonly string[], accounts: readonly AccountStates[]) {
  const names = flags.flatMap((flag) => /^--profile=(.*)$/.exec(flag)?.[1] ?? []);
  return names.length === 0 ? accounts : accounts.filter(({ account }) => names.includes(account));
}

/** The first account with such an endpoint, as for names. */
function targetOf(text: string, accounts: readonly AccountStates[]): Target {
  const place = parseHostPort(text);
  if (!place.ok) throw new NgrokdError("usage", `Cannot open ${quote(text)}: it is not host:port`);
  const { host, port } = place.value;
  for (const { account, endpoints } of accounts) {
    const binding = bindingFor(usableOf(endpoints), host, port);
    if (binding !== undefined) return { account, binding };
  }
  throw new NgrokdError("not-found", `The daemon has no endpoint ${quote(text)}`, {
    hint: "`ngrokd list` shows the endpoints",
  });
}

/** There may be thousands, and a published list never changes. */
const known = new WeakMap<readonly EndpointState[], Bindings>();

/**
 * What ngrok lists. A paused name is not wanted now. A name that has another
 * meaning here, or no door, can be reached without one.
 */
function usableOf(endpoints: readonly EndpointState[]): Bindings {
  const before = known.get(endpoints);
  if (before !== undefined) return before;
  const listed = endpoints
    .filter(({ state }) => state !== "paused" && state !== "draining")
    .flatMap(({ ids, url, proto }) => ids.map((id) => ({ id, url, proto })));
  const usable = bindingsOf(listed);
  known.set(endpoints, usable);
  return usable;
}

async function reply(conn: Conn, data: Reply, then: "stream" | "end"): Promise<void> {
  await conn.write(new TextEncoder().encode(`${JSON.stringify(data)}\n`));
  if (then === "end") conn.close();
}

function refuse(conn: Conn, error: unknown): void {
  const data = errorReply(error instanceof NgrokdError ? error : new Error(reasonOf(error)));
  void reply(conn, data, "end").catch(() => conn.abort());
}
