import { spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { join, resolve } from "node:path";
import { bindingFor } from "../model/binding.ts";
import { givenEnvironment } from "../model/environment.ts";
import { hintOf, isNgrokdError, NgrokdError, reasonOf } from "../model/error.ts";
import { quote } from "../model/parsed.ts";
import { exitOf } from "../reach/child.ts";
import { type Closable, startEnclosed } from "../reach/enclosed.ts";
import { execPlan, proxyVariables } from "../reach/exec-plan.ts";
import { insideVariable, runInside } from "../reach/inside.ts";
import { doorText, endpointReceiver, openDoor } from "../reach/local-doors.ts";
import { type ProxyOptions, proxyReceiver } from "../reach/proxy.ts";
import { openSession, type Session } from "../reach/session.ts";
import { command, type Io, ownWayArgs, profileArg } from "./command.ts";
import { endText } from "./connect.ts";
import { exitCodes } from "./exit-codes.ts";
import { usageError } from "./flags.ts";
import { logTo } from "./log-to.ts";

export default command({
  name: "exec",
  description: "Run a command that reaches endpoints by their names and ports, without root",
  args: {
    ...profileArg,
    net: {
      type: "string",
      valueHint: "none|proxy",
      default: "proxy",
      description: "Other hosts: none, or by the proxy variables",
    },
    proxy: { type: "boolean", description: "Only set the proxy variables, and no own network" },
    ...ownWayArgs,
  },
  examples: [
    "ngrokd exec -- curl http://hello.demo/",
    "ngrokd exec --net none -- psql -h db.demo -p 5432",
    "ngrokd exec --proxy -- npm test",
  ],
  async run(args, io, rawArgs) {
    const given = givenEnvironment(io.env);
    const folder = io.env[insideVariable];
    if (folder !== undefined && folder !== "") {
      await runInside(io.net, folder, given);
      return exitCodes.failure;
    }
    const words = rawArgs.includes("--") ? rawArgs.slice(rawArgs.indexOf("--") + 1) : [];
    const [name] = words;
    if (name === undefined) throw usageError("Missing the command after --", ["exec"]);
    if (args.net !== "none" && args.net !== "proxy")
      throw usageError(`The flag --net takes none or proxy, not ${quote(args.net)}`, ["exec"]);
    const program = programOf(name, io.env.PATH ?? "");
    if (program === undefined) {
      io.say.error(new NgrokdError("not-found", `There is no command ${quote(name)}`));
      return noSuchCommand;
    }
    const { stop, hurry } = io;
    const session = await io.say.awaiting("Waiting for ngrok", () =>
      openSession({
        net: io.net,
        env: io.env,
        log: logTo(io.say.debug ? io.say : { ...io.say, note: () => undefined }),
        config: args.config,
        profile: args.profile,
        ca: args.ca,
        ephemeral: args.ephemeral === true,
        own: args.own === true,
        socket: args.socket,
        pooled: true,
        judged: true,
        stop,
        hurry,
      }),
    );
    let listeners: readonly Closable[] = [];
    try {
      const begun = await begin(session, io, {
        program,
        words,
        given,
        others: args.net === "proxy",
        variablesAlone: args.proxy === true,
      });
      listeners = begun.listeners;
      return await begun.exit;
    } finally {
      for (const listener of listeners) listener.close();
      await io.say.awaiting(endText(args.ephemeral), () => session.close(hurry));
    }
  },
});

/** As in shells. */
const noSuchCommand = 127;

interface Task {
  readonly program: string;
  readonly words: readonly string[];
  readonly given: Record<string, string>;
  /** Whether other hosts are reached by the proxies. */
  readonly others: boolean;
  readonly variablesAlone: boolean;
}

interface Begun {
  readonly exit: Promise<number>;
  readonly listeners: readonly Closable[];
}

async function begin(session: Session, io: Io, task: Task): Promise<Begun> {
  const { way } = session;
  const { program, words, others, variablesAlone } = task;
  // The names are those of now; an earlier list is better than none.
  await way.fresh().catch(() => undefined);
  const listed = way.served;
  if (variablesAlone) return await withVariables(session, io, task);
  const receivers = proxies(session, io, others);
  const begun = Promise.withResolvers<readonly [Promise<number>]>();
  try {
    const listeners = await startEnclosed({
      net: io.net,
      plan: execPlan(listed.bindings, listed.wildcards),
      program,
      command: words,
      receiver: ({ binding }) => endpointReceiver(binding, session),
      spareReceiver(name, port) {
        const binding = bindingFor(listed, name, port);
        return binding === undefined ? (conn) => conn.abort() : endpointReceiver(binding, session);
      },
      proxies: others ? receivers : undefined,
      env: io.env,
      stop: io.stop,
      // From now on signals are the command's.
      begins: (child) => begun.resolve([exitOf(child)]),
    });
    const [exit] = await begun.promise;
    return { exit, listeners };
  } catch (error) {
    if (!isNgrokdError(error) || io.stop.aborted) throw error;
    const hint = hintOf(error);
    io.say.warn(`${reasonOf(error)}${hint === "" ? "" : `; ${hint}`}`);
    io.say.warn(
      `${quote(words[0] ?? program)} gets proxy variables instead, as with --proxy: ` +
        "programs that ignore them do not reach the endpoints",
    );
    return await withVariables(session, io, task);
  }
}

function proxies(session: Session, { net, say }: Io, others: boolean) {
  const { way, carrier, loaded } = session;
  const direct = others ? loaded.proxy : undefined;
  const options: ProxyOptions = { net, way, carrier, log: logTo(say), direct, pac: undefined };
  return {
    http: proxyReceiver("http-connect", options),
    socks: proxyReceiver("socks5", options),
  };
}

/** The command runs in this machine's network, with the proxy variables. */
async function withVariables(session: Session, io: Io, task: Task): Promise<Begun> {
  const { http, socks } = proxies(session, io, task.others);
  const at = { host: "127.0.0.1", port: 0 };
  const listeners = [await openDoor(io.net, at, http), await openDoor(io.net, at, socks)];
  const [httpAt = "", socksAt = ""] = listeners.map(doorText);
  const variables = proxyVariables({ http: httpAt, socks: socksAt }, []);
  const [argv0 = "", ...rest] = task.words;
  const child = spawn(task.program, rest, {
    argv0,
    stdio: "inherit",
    env: { ...task.given, ...variables },
  });
  return { exit: exitOf(child), listeners };
}

/** The absolute path of a command, as a shell finds it. */
function programOf(name: string, path: string): string | undefined {
  const places = name.includes("/")
    ? [resolve(name)]
    : path.split(":").map((folder) => resolve(join(folder, name)));
  return places.find((place) => {
    try {
      accessSync(place, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
