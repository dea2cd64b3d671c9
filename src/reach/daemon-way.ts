import { askDaemon, openStream } from "../control/client.ts";
import { streamCommand, streamSchema } from "../control/protocol.ts";
import { listSchema } from "../desk/reply-schemas.ts";
import { abortSignalOf } from "../model/abort.ts";
import { type Bindings, bindingsOf } from "../model/binding.ts";
import { isNgrokdError, reasonOf } from "../model/error.ts";
import type { Log } from "../model/log.ts";
import { FramedConn } from "../net/framed.ts";
import type { Net } from "../net/types.ts";
import type { Way } from "./reach.ts";

export interface DaemonWayOptions {
  readonly net: Net;
  /** The path of the daemon's socket. */
  readonly socket: string;
  readonly profile: string | undefined;
  readonly log: Log;
}

/** How often the daemon is asked for its endpoints. */
const listMs = 5000;

/**
 * A way by a running daemon: its identity and its ready connections. Undefined
 * if there is none, or if this user may not use it.
 */
export async function openDaemonWay(options: DaemonWayOptions): Promise<Way | undefined> {
  const { net, socket, profile, log } = options;
  const args = profile === undefined ? [] : [`--profile=${profile}`];
  const list = async (): Promise<Bindings> => {
    const items = listSchema.parse(await askDaemon(net, socket, { command: "list", args }));
    const usable = items.filter(({ state }) => state !== "draining" && state !== "paused");
    listed = bindingsOf(usable);
    // The daemon has judged the names.
    served = bindingsOf(usable.filter(({ state }) => state !== "refused"));
    return listed;
  };
  let listed: Bindings = bindingsOf([]);
  let served: Bindings = listed;
  try {
    // A daemon of an earlier version does not know this.
    await askDaemon(net, socket, { command: streamCommand }, { timeoutMs: askMs });
    await list();
  } catch (error) {
    log.debug(`No daemon is used: ${reasonOf(error)}`);
    return undefined;
  }
  const timer = setInterval(() => {
    void list().catch((error: unknown) =>
      log.debug(`The daemon lists no endpoints: ${reasonOf(error)}`),
    );
  }, listMs);
  return {
    get listed() {
      return listed;
    },
    get served() {
      return served;
    },
    fresh: list,
    async open({ host, port }, signal) {
      const request = { command: streamCommand, args: [`${host}:${port}`, ...args] };
      try {
        const { data, conn } = await openStream(net, socket, request, abortSignalOf(signal));
        const { endpoint_id: endpointId, proto, notices } = streamSchema.parse(data);
        const framed = new FramedConn(conn);
        framed.begin();
        return { kind: "accepted", conn: framed, endpointId, proto, notices };
      } catch (error) {
        if (!isNgrokdError(error, "refused")) throw error;
        return { kind: "refused", code: "", message: error.message, notices: [] };
      }
    },
    identity: `the daemon at ${socket}`,
    async close() {
      clearInterval(timer);
    },
  };
}

const askMs = 5000;
