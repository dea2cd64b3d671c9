import { loadConfig } from "../config/load.ts";
import { problemText } from "../config/problem.ts";
import { notYetInEffect } from "../config/schema.ts";
import { startDaemon } from "../daemon/daemon.ts";
import { createLog } from "../observe/log.ts";
import { aborted, command } from "./command.ts";
import { exitCodes } from "./exit-codes.ts";

export default command({
  name: "serve",
  description: "Run the daemon in the foreground",
  examples: ["sudo ngrokd serve", "ngrokd serve --config ./config.yml --socket ./ngrokd.sock"],
  async run(args, io) {
    const { stop, hurry } = io;
    const loaded = await loadConfig({ file: args.config, env: io.env, flags: { "server.socket_path": args.socket } });
    const { config } = loaded;
    const secrets = new Set<string>([config.api.key]);
    const log = createLog({
      level: args.debug === true ? "debug" : config.server.log_level,
      format: args.json === true ? "json" : config.server.log_format,
      isTerminal: process.stderr.isTTY === true,
      write: (line) => void process.stderr.write(line),
      secrets: () => [...secrets],
    });
    for (const problem of loaded.warnings) log.warn(problemText(problem));
    // What becomes of net.subnet the daemon says itself.
    for (const key of notYetInEffect(config).filter((name) => name !== "net.subnet"))
      log.warn(`${key} is set, and has no effect in this version`);
    const daemon = await startDaemon({ net: io.net, loaded, log, keepSecret: (secret) => secrets.add(secret) });
    await aborted(stop);
    const { cut } = await daemon.stop(hurry);
    log.flush();
    return cut === 0 ? exitCodes.ok : exitCodes.cut;
  },
});
