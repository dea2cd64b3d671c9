import { config } from "zod/v4/core";
import { findSocketPath } from "../config/paths.ts";
import { askDaemon } from "../control/client.ts";
import type { Request } from "../control/protocol.ts";
import type { Io } from "./command.ts";

// A client parses one reply: compiling a parser for it would cost more than it saves.
config({ jitless: true });

/** Asks the daemon that `--socket` and `--config` mean; `timeoutMs` is for the whole exchange. */
export async function ask(
  args: { socket?: string | undefined; config?: string | undefined },
  io: Io,
  request: Request,
  timeoutMs = 30_000,
): Promise<unknown> {
  const path = await findSocketPath({
    env: io.env,
    ...(args.socket && { flag: args.socket }),
    ...(args.config && { config: args.config }),
  });
  return await askDaemon(io.net, path, request, { timeoutMs });
}
