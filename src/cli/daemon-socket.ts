import { loadConfig } from "../config/load.ts";
import { askDaemon } from "../control/client.ts";
import type { Request } from "../control/protocol.ts";
import { isNgrokdError } from "../model/error.ts";
import type { Io } from "./command.ts";

interface SocketArgs {
  readonly socket?: string | undefined;
  readonly config?: string | undefined;
}

/** Asks the daemon that these arguments mean. */
export async function ask(args: SocketArgs, io: Io, request: Request, timeoutMs = 30_000): Promise<unknown> {
  return await askDaemon(io.net, await socketPath(args, io), request, { timeoutMs });
}

/** --socket, then NGROKD_SOCKET, then the configuration file, then the default. */
export async function socketPath(args: SocketArgs, io: Io): Promise<string> {
  if (args.socket !== undefined) return args.socket;
  const fromEnvironment = io.env.NGROKD_SOCKET;
  if (fromEnvironment !== undefined && fromEnvironment !== "") return fromEnvironment;
  try {
    const { config } = await loadConfig({ file: args.config, env: io.env });
    return config.server.socket_path;
  } catch (error) {
    // The file may well be root's alone; its socket is then most likely where it always is.
    if (args.config === undefined && isNgrokdError(error, "permission")) return defaultSocketPath;
    throw error;
  }
}

const defaultSocketPath = "/var/run/ngrokd.sock";
