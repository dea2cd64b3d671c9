import { config } from "zod/mini";
import { findSocketPath } from "../config/paths.ts";
import { askDaemon } from "../control/client.ts";
import { type Input, type OperationName, operations, type ReplyTo } from "../desk/operations.ts";
import { wordsOf } from "../desk/words.ts";
import { NgrokdError } from "../model/error.ts";
import type { Io } from "./command.ts";

// A client parses one reply, so compiling the parser would cost more than it
// saves.
config({ jitless: true });

/** The flags that select the daemon. */
export interface DaemonArgs {
  readonly socket?: string | undefined;
  readonly config?: string | undefined;
}

export interface ProfileArgs extends DaemonArgs {
  readonly profile?: string | undefined;
}

/** Milliseconds for the whole exchange; default: those of the operation. */
interface CallOptions {
  readonly patienceMs?: number;
}

export type Call = <N extends OperationName>(
  name: N,
  ...rest: Record<never, never> extends Input<N>
    ? [input?: Input<N>, options?: CallOptions]
    : [input: Input<N>, options?: CallOptions]
) => Promise<ReplyTo<N>>;

/**
 * Returns a function that runs an operation of a daemon, selected by `--socket`
 * and `--config`, and validates its reply. It rejects with the errors of {@link
 * askDaemon}. It rejects with `protocol` if the reply has another shape, as
 * from an older daemon or the Go program.
 */
export function daemonAt(args: DaemonArgs, io: Io): Call {
  return async (name, ...[input = {}, options = {}]) => {
    const path = await findSocketPath({
      env: io.env,
      ...(args.socket && { flag: args.socket }),
      ...(args.config && { config: args.config }),
    });
    const { reply, patienceMs: timeoutMs } = { ...operations[name], ...options };
    const words = wordsOf(operations[name], input);
    const request = { command: name, ...(words.length > 0 && { args: words }) };
    const answer = reply.safeParse(
      await io.say.awaiting(`Waiting for the daemon's answer to "${name}"`, () =>
        askDaemon(io.net, path, request, { timeoutMs }),
      ),
    );
    if (answer.success) return answer.data as ReplyTo<typeof name>;
    throw new NgrokdError("protocol", `Cannot understand the daemon's answer to "${name}"`, {
      cause: answer.error,
      hint: "it seems to be of another version than this client; `ngrokd version` shows the client's version",
    });
  };
}
