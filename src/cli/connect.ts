import { NgrokdError } from "../model/error.ts";
import type { HostPort } from "../model/host-port.ts";
import { isLoopback } from "../model/proxy.ts";
import type { Listener } from "../net/types.ts";
import {
  doorText,
  endpointReceiver,
  openDoor,
  openEndpointDoor,
  parseListen,
} from "../reach/local-doors.ts";
import { pacText } from "../reach/pac.ts";
import { type ProxyOptions, proxyReceiver } from "../reach/proxy.ts";
import { findBinding, type Named, namedEndpoint } from "../reach/reach.ts";
import { openSession, type Session } from "../reach/session.ts";
import { carryStdio } from "../reach/stdio.ts";
import { facts, type Say } from "../terminal/say.ts";
import { aborted, command, type Io, ownWayArgs, profileArg } from "./command.ts";
import { repeated, usageError } from "./flags.ts";
import { logTo } from "./log-to.ts";

const description = "Reach endpoints without root: by a local port, a proxy, or stdin and stdout";

export default command({
  name: "connect",
  description,
  args: {
    ...profileArg,
    endpoint: {
      type: "positional",
      required: false,
      valueHint: "endpoint…",
      description: "host or host:port; the port may be left out if there is one alone",
    },
    listen: {
      type: "string",
      valueHint: "address",
      description: "Where the first endpoint listens; repeat it for the next ones",
    },
    stdio: { type: "boolean", description: "Carry stdin and stdout, as for ssh's ProxyCommand" },
    socks: {
      type: "string",
      valueHint: "address",
      description: "A SOCKS5 proxy for all endpoints",
    },
    "http-proxy": {
      type: "string",
      valueHint: "address",
      description: "An HTTP proxy for all endpoints",
    },
    pac: { type: "boolean", description: "The HTTP proxy serves /proxy.pac for browsers" },
    direct: { type: "boolean", description: "The proxies reach other hosts, too" },
    ...ownWayArgs,
  },
  examples: [
    "ngrokd connect hello.demo --listen 127.0.0.1:8080",
    "ssh -o 'ProxyCommand ngrokd connect %h:%p --stdio' me@build.internal",
    "ngrokd connect --socks 127.0.0.1:1080 --http-proxy 127.0.0.1:3128 --pac",
  ],
  async run(args, io, rawArgs) {
    const wishes = wishesOf(args, repeated(rawArgs, "listen"));
    // Read before the work begins: an ephemeral operator must not be left.
    const { stop, hurry } = io;
    const opening = () =>
      openSession({
        net: io.net,
        env: io.env,
        log: logTo(wishes.stdio && !io.say.debug ? quiet(io.say) : io.say),
        config: args.config,
        profile: args.profile,
        ca: args.ca,
        ephemeral: args.ephemeral === true,
        own: args.own === true,
        socket: args.socket,
        pooled: !wishes.stdio,
        judged: wishes.direct || wishes.pac,
        stop,
        hurry,
      });
    // Between programs, the line would only disturb.
    const session = await (wishes.stdio
      ? opening()
      : io.say.awaiting("Waiting for ngrok", opening));
    try {
      if (wishes.stdio) await Promise.race([overStdio(session, wishes, io), aborted(stop)]);
      else {
        const doors = await openDoors(session, wishes, io);
        for (const text of openToOthers(doors)) io.say.warn(text);
        io.say.ready(reportOf(doors, session), () => textOf(doors, session, io.say));
        await aborted(stop);
        for (const { listener } of doors) listener.close();
      }
    } finally {
      await (wishes.stdio
        ? session.close(hurry)
        : io.say.awaiting(endText(args.ephemeral), () => session.close(hurry)));
    }
    return undefined;
  },
});

/** Pure: the text that a terminal shows while a run ends. */
export const endText = (ephemeral = false): string =>
  ephemeral ? "Deleting this run's operator at ngrok" : "Waiting for open connections";

interface Wishes {
  readonly endpoints: readonly Named[];
  readonly listen: readonly HostPort[];
  readonly stdio: boolean;
  readonly socks: HostPort | undefined;
  readonly http: HostPort | undefined;
  readonly pac: boolean;
  readonly direct: boolean;
}

/** Throws NgrokdError `usage` if the flags do not fit together. */
function wishesOf(
  args: {
    readonly _: readonly string[];
    readonly stdio?: boolean | undefined;
    readonly socks?: string | undefined;
    readonly "http-proxy"?: string | undefined;
    readonly pac?: boolean | undefined;
    readonly direct?: boolean | undefined;
  },
  listen: readonly string[],
): Wishes {
  const place = (flag: string, text: string | undefined): HostPort | undefined =>
    text === undefined ? undefined : placeOf(flag, text);
  const wishes = {
    endpoints: args._.map(namedEndpoint),
    listen: listen.map((text) => placeOf("--listen", text)),
    stdio: args.stdio === true,
    socks: place("--socks", args.socks),
    http: place("--http-proxy", args["http-proxy"]),
    pac: args.pac === true,
    direct: args.direct === true,
  };
  const { endpoints, stdio, socks, http, pac, direct } = wishes;
  const wrong = (message: string): NgrokdError => usageError(message, ["connect"]);
  const proxies = socks !== undefined || http !== undefined;
  if (endpoints.length === 0 && !proxies)
    throw wrong("Name an endpoint, or --socks or --http-proxy");
  if (stdio && (endpoints.length !== 1 || proxies || listen.length > 0))
    throw wrong("The flag --stdio is for one endpoint, and for nothing else");
  if (listen.length > endpoints.length) throw wrong("There are more --listen than endpoints");
  if (pac && http === undefined) throw wrong("The flag --pac needs --http-proxy, which serves it");
  if (direct && !proxies) throw wrong("The flag --direct is for --socks and --http-proxy");
  return wishes;
}

function placeOf(flag: string, text: string): HostPort {
  const place = parseListen(text);
  if (place.ok) return place.value;
  throw new NgrokdError("usage", `The flag ${flag} is wrong: ${place.reason}`, {
    hint: "it takes an address and a port, such as 127.0.0.1:8080, or a port alone",
  });
}

/** With --stdio, a notice would only disturb the two programs. */
const quiet = (say: Say): Say => ({ ...say, note: () => undefined });

async function overStdio({ way }: Session, { endpoints }: Wishes, { stop }: Io): Promise<void> {
  const [named] = endpoints;
  if (named === undefined) return;
  const binding = await findBinding(way, named);
  const opened = await way.open(binding, stop);
  if (opened.kind === "refused")
    throw new NgrokdError("refused", `The ingress refused ${binding.key}: ${opened.message}`);
  await carryStdio(opened.conn, { input: process.stdin, output: process.stdout });
}

/** A door of this run. */
interface OpenDoor {
  readonly kind: "endpoint" | "socks" | "http-proxy";
  /** The endpoint's key; empty for a proxy. */
  readonly endpoint: string;
  readonly listener: Listener;
}

/** If one cannot be opened, the others are closed. */
async function openDoors(session: Session, wishes: Wishes, io: Io): Promise<OpenDoor[]> {
  const { net } = io;
  const { way } = session;
  const doors: OpenDoor[] = [];
  try {
    for (const [i, named] of wishes.endpoints.entries()) {
      const binding = await findBinding(way, named);
      const receive = endpointReceiver(binding, session);
      const listener = await openEndpointDoor(net, binding, wishes.listen[i], receive);
      doors.push({ kind: "endpoint", endpoint: binding.key, listener });
    }
    const options = proxyOptions(session, wishes, io, () => doors);
    for (const [kind, at] of [
      ["socks", wishes.socks],
      ["http-proxy", wishes.http],
    ] as const) {
      if (at === undefined) continue;
      const receive = proxyReceiver(kind === "socks" ? "socks5" : "http-connect", options);
      doors.push({ kind, endpoint: "", listener: await openDoor(net, at, receive) });
    }
    return doors;
  } catch (error) {
    for (const { listener } of doors) listener.close();
    throw error;
  }
}

/** Pure: a sentence for each door that other machines reach. */
const openToOthers = (doors: readonly OpenDoor[]): string[] =>
  doors
    .filter(({ listener: { address } }) => "host" in address && !isLoopback(address.host))
    .map(({ listener }) => `${doorText(listener)} is open to other users and machines`);

function proxyOptions(
  { way, carrier, loaded }: Session,
  { direct, pac }: Wishes,
  { net, say }: Io,
  doors: () => readonly OpenDoor[],
): ProxyOptions {
  const at = (kind: OpenDoor["kind"]): string | undefined => {
    const door = doors().find((one) => one.kind === kind);
    return door && doorText(door.listener);
  };
  return {
    net,
    way,
    carrier,
    log: logTo(say),
    direct: direct ? loaded.proxy : undefined,
    pac: pac
      ? () => pacText(way.served, { http: at("http-proxy"), socks: at("socks") })
      : undefined,
  };
}

const reportOf = (doors: readonly OpenDoor[], { way }: Session) => ({
  identity: way.identity,
  listeners: doors.map(({ kind, endpoint, listener }) => ({
    kind,
    ...(kind === "endpoint" && { endpoint }),
    address: doorText(listener),
  })),
});

function textOf(doors: readonly OpenDoor[], { way }: Session, { paint }: Say): string {
  const rows = doors.map(({ kind, endpoint, listener }): [string, string] => [
    kind === "endpoint" ? endpoint : kind === "socks" ? "SOCKS5 proxy" : "HTTP proxy",
    doorText(listener),
  ]);
  return [facts(rows, paint), paint.dim(`Ctrl-C ends it. In use: ${way.identity}.`)].join("\n");
}
