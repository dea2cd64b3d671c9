import { config } from "zod/mini";
import { findSocketPath } from "../config/paths.ts";
import { askDaemon } from "../control/client.ts";
import { type Input, type OperationName, operations, type ReplyTo } from "../desk/operations.ts";
import { wordsOf } from "../desk/words.ts";
import { NgrokdError } from "../model/error.ts";
import type { Io } from "./command.ts";

// A client parses one reply, so a compiled parser would cost more than it
// saves.
config({ jitless: true });

/** The flags that say where the daemon is. */
export interface DaemonArgs {
  readonly socket?: string | undefined;
  readonly config?: string | undefined;
}

/** Milliseconds for the whole exchange; the operation's own if not given. */
interface CallOptions {
  readonly patienceMs?: number;
}

type Call = <N extends OperationName>(
  name: N,
  ...rest: Record<never, never> extends Input<N>
    ? [input?: Input<N>, options?: CallOptions]
    : [input: Input<N>, options?: CallOptions]
) => Promise<ReplyTo<N>>;

/**
 * Returns a function that runs an operation of the daemon that `--socket` and
 * `--config` name, and validates its reply. It rejects with what {@link
 * askDaemon} does, or with `protocol` for a reply of another shape, as an older
 * daemon or the Go program sends it.
 */
export function daemonAt(args: DaemonArgs, io: Io): Call {
  return async (name, ...[input = {}, options = {}]) => {
    const path = await findSocketPath({
      env: io.env,
      ...(args.socket && { flag: args.socket }),
      ...(args.config && { config: args.config }),
    });
    const { reply, patienceMs: timeoutMs } = { ...operations[name], ...options };
    const words = wordsOf(input);
    const request = { command: name, ...(words.length > 0 && { args: words }) };
    const answer = reply.safeParse(await askDaemon(io.net, path, request, { timeoutMs }));
    if (answer.success) return answer.data as ReplyTo<typeof name>;
    throw new NgrokdError("protocol", `Cannot understand the daemon's answer to "${name}"`, {
      cause: answer.error,
      hint: "it seems to be of another version than this client; `ngrokd version` shows the client's version",
    });
  };
}
