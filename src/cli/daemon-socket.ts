import type * as z from "zod/mini";
import { config } from "zod/mini";
import { findSocketPath } from "../config/paths.ts";
import { askDaemon } from "../control/client.ts";
import type { Request } from "../control/protocol.ts";
import { NgrokdError } from "../model/error.ts";
import type { Io } from "./command.ts";

// A client parses one reply: compiling a parser for it would cost more than it
// saves.
config({ jitless: true });

/**
 * Asks the daemon that `--socket` and `--config` mean; `timeoutMs` is for the
 * whole exchange.
 */
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

/**
 * {@link ask}, with the answer proven. Rejects with `protocol` for one of
 * another shape, as an older daemon or the Go program has it.
 */
export async function askFor<T>(
  schema: z.ZodMiniType<T>,
  ...[args, io, request, timeoutMs]: Parameters<typeof ask>
): Promise<T> {
  const answer = schema.safeParse(await ask(args, io, request, timeoutMs));
  if (answer.success) return answer.data;
  throw new NgrokdError(
    "protocol",
    `Cannot understand the daemon's answer to "${request.command}"`,
    {
      cause: answer.error,
      hint: "it seems to be of another version than this client; `ngrokd version` shows this one's",
    },
  );
}
