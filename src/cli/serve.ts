import { setTimeout as sleep } from "node:timers/promises";
import type { Loaded } from "../config/load.ts";
import { inspectConfig, type LoadOptions, loadConfig } from "../config/load.ts";
import { problemText } from "../config/problem.ts";
import { keysOf } from "../config/profiles.ts";
import { trustedFiles } from "../config/trusted-files.ts";
import { type Daemon, startDaemon } from "../daemon/daemon.ts";
import { stateLine } from "../desk/state-line.ts";
import { exposed, exposedText, self } from "../files/writers.ts";
import { trustFolder } from "../ingress/ngrok-ca.ts";
import { isUnconfined, leftOutIn } from "../model/environment.ts";
import { createLog, type DaemonLog } from "../observe/daemon-log.ts";
import { createLogQueue, lostText } from "../observe/log-queue.ts";
import { isJournal } from "../service/journal-stream.ts";
import { createNotifier, type Notifier } from "../service/notify.ts";
import { stopReserveMs } from "../service/service-facts.ts";
import { aborted, command, type ExitCode, type Io } from "./command.ts";
import { exitCodes } from "./exit-codes.ts";
import {
  copiesOf,
  type Inherited,
  inheritEverything,
  inPlaceEnvironment,
  rehearsed,
  reportFailure,
  starterFor,
} from "./inheriting.ts";

/** How long the readiness of the service waits for the first names. */
const namesPatienceMs = 5000;

export default command({
  name: "serve",
  description: "Run the daemon in the foreground",
  examples: ["sudo ngrokd serve", "ngrokd serve --config ./config.yml --socket ./ngrokd.sock"],
  async run(args, io) {
    const inherited = await inheritEverything(io);
    const source: LoadOptions = {
      file: args.config,
      env: io.env,
      flags: {
        "server.socket_path": args.socket,
        "server.log_level": args.debug === true ? "debug" : undefined,
        "server.log_format": args.json === true ? "json" : undefined,
      },
    };
    return await reportFailure(inherited, async () => await serve(io, source, inherited));
  },
});

async function serve(io: Io, source: LoadOptions, inherited: Inherited): Promise<ExitCode> {
  const loaded = await loadConfig(source);
  if (await rehearsed(inherited)) return exitCodes.ok;
  const secrets = new Set(keysOf(loaded));
  const log = logOf(io, loaded, secrets);
  await warn(io, loaded, log);
  for (const problem of inherited.problems) log.warn(problem);
  let daemon: Daemon | undefined;
  io.onHangUp(() => void daemon?.reload());
  const notifier = createNotifier({ net: io.net, env: io.env });
  daemon = await startDaemon({
    net: inherited.estate.net,
    loaded,
    read: () => inspectConfig(source),
    log,
    keepSecret: (secret) => secrets.add(secret),
    inheritance: inherited.inheritance,
    starter: starterFor(io),
    onReload(end) {
      notifier.reloading();
      void end.then(notifier.ready);
    },
    onState: (state) => notifier.status(stateLine(state)),
  });
  const stored = inherited.keep();
  if (inherited.inheritance.heritage !== undefined) notifier.succeeded();
  else await tellReady(daemon, notifier, io);
  notifier.watch(() => daemon.live().ok);
  const left = await Promise.race([aborted(io.stop).then(() => undefined), daemon.left]);
  if (left !== undefined) {
    // The successor speaks with systemd from now on.
    await notifier.close();
    await stored();
    const copies = left.way === "rehearsal" ? await copiesOf(inherited.estate, io.net) : [];
    const { cut } = await daemon.leave(io);
    log.flush();
    if (left.way === "rehearsal" && !io.stop.aborted)
      io.next = { path: left.program, env: inPlaceEnvironment(io, copies) };
    return cut === 0 ? exitCodes.ok : exitCodes.cut;
  }
  notifier.stopping(daemon.drainMs() + stopReserveMs);
  await stored();
  const { cut } = await daemon.stop(io.hurry);
  notifier.status(cut === 0 ? "Stopped" : "Stopped; open connections were cut");
  await notifier.close();
  log.flush();
  return cut === 0 ? exitCodes.ok : exitCodes.cut;
}

/**
 * A unit that starts after this one can use the names. But ngrok may be
 * unreachable for hours, and a restart would not help. So the service becomes
 * ready then too.
 */
async function tellReady(daemon: Daemon, notifier: Notifier, { stop }: Io): Promise<void> {
  await Promise.race([
    daemon.firstNames,
    sleep(namesPatienceMs, undefined, { ref: false }),
    aborted(stop),
  ]);
  notifier.ready();
}

function logOf({ env }: Io, { config }: Loaded, secrets: ReadonlySet<string>): DaemonLog {
  // If the terminal is closed, or the reader of a pipe ends, the log is lost.
  // The connections must not end with it.
  process.stderr.on("error", () => undefined);
  const log: DaemonLog = createLog({
    level: config.server.log_level,
    format: config.server.log_format,
    isTerminal: process.stderr.isTTY === true,
    write: createLogQueue(process.stderr, (lines) => log.warn(lostText(lines))),
    toJournal: isJournal(env.JOURNAL_STREAM, 2),
    secrets: () => [...secrets],
  });
  return log;
}

async function warn({ env }: Io, loaded: Loaded, log: DaemonLog): Promise<void> {
  const leftOut = leftOutIn(env);
  if (leftOut.length > 0)
    log.warn(`These variables of the environment do not count: ${leftOut.join(", ")}`, {
      hint: "they are for the runtime that ngrokd is built with; remove them",
    });
  if (isUnconfined(env))
    log.warn("This kernel cannot keep the daemon from making files (Landlock, Linux 5.19)", {
      hint: 'docs/operations.md, "What it may do"',
    });
  for (const problem of loaded.warnings) log.warn(problemText(problem));
  for (const one of await exposed(trustedFiles(loaded, trustFolder), self()))
    log.warn(exposedText(one), { hint: `run \`sudo ${one.fix}\`` });
}
