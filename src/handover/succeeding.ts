import { replySchema } from "../control/protocol.ts";
import { NgrokdError, reasonOf } from "../model/error.ts";
import { dialWithRoom } from "../net/full-queue.ts";
import type { Conn, Net } from "../net/types.ts";
import type { Held } from "./handover.ts";
import { linesOf, writeLine } from "./json-lines.ts";
import {
  descriptorsCommand,
  type EstateFacts,
  estateSchema,
  type FromPredecessor,
  type FromSuccessor,
  fromPredecessorSchema,
  type Invitation,
  protocolVersion,
  requireSameProtocol,
  takeOverCommand,
} from "./protocol.ts";

/** The new side of a handover. The old daemon serves until {@link ready}. */
export interface Heritage {
  readonly invitation: Invitation;
  readonly facts: EstateFacts;
  /** Takes the descriptors over. Rejects with NgrokdError. */
  descriptors(): Promise<readonly Held[]>;
  /**
   * The old daemon leaves now. `onTraffic` gets its later reports, and one
   * without connections at its end.
   */
  ready(version: string, onTraffic: (report: FromPredecessor) => void): Promise<void>;
  /** The old daemon stays in charge, and tells this reason. Never rejects. */
  fail(error: unknown): Promise<void>;
  /** Settles when the old daemon has ended; never rejects. */
  readonly ended: Promise<void>;
  /**
   * From now on the old daemon's connections have only the time of a stop.
   */
  close(): void;
}

const patienceMs = 20_000;

/**
 * Asks the daemon that has invited this process for its estate. Rejects with
 * NgrokdError: that daemon then stays in charge.
 */
export async function succeed(net: Net, invitation: Invitation): Promise<Heritage> {
  requireSameProtocol(invitation.protocol, "The running daemon");
  const { socket, token } = invitation;
  const signal = AbortSignal.timeout(patienceMs);
  const conn = await dialWithRoom(() => net.dial({ path: socket }, { signal }));
  const args = [String(protocolVersion), token];
  await writeLine(conn, { command: takeOverCommand, args });
  const lines = linesOf(conn);
  const facts = await firstLine(conn, lines);
  const ended = Promise.withResolvers<void>();
  void conn.closed.then(() => ended.resolve());
  return {
    invitation,
    facts,
    async descriptors() {
      const request = `${JSON.stringify({ command: descriptorsCommand, args })}\n`;
      const signal = AbortSignal.timeout(patienceMs);
      const fds = await net.receiveDescriptors(socket, request, signal);
      if (fds.length === facts.keys.length)
        return facts.keys.map((key, i) => ({ key, fd: fds[i] ?? -1 }));
      for (const fd of fds) net.closeDescriptor(fd);
      throw new NgrokdError(
        "protocol",
        `The running daemon has passed ${fds.length} descriptors, and named ${facts.keys.length}`,
      );
    },
    async ready(version, onTraffic) {
      await writeLine(conn, { kind: "ready", version } satisfies FromSuccessor);
      void follow(lines, onTraffic).finally(() => conn.close());
    },
    async fail(error) {
      const line: FromSuccessor = { kind: "failed", reason: reasonOf(error) };
      try {
        await writeLine(conn, line);
        conn.closeWrite();
      } catch {
        // It has learnt from the end of this process, or will.
      }
    },
    ended: ended.promise,
    close: () => conn.closeWrite(),
  };
}

async function firstLine(conn: Conn, lines: AsyncGenerator<string>): Promise<EstateFacts> {
  const timer = setTimeout(() => conn.abort(), patienceMs);
  try {
    const { value } = await lines.next();
    const reply = replySchema.safeParse(JSON.parse(value || "null")).data;
    if (reply?.success === false) throw new NgrokdError("refused", reply.error);
    const facts = estateSchema.safeParse(reply?.data);
    if (!facts.success) throw new NgrokdError("protocol", "Cannot understand the running daemon");
    return facts.data;
  } finally {
    clearTimeout(timer);
  }
}

/** The traffic of the old daemon, until its end in any way. */
async function follow(
  lines: AsyncGenerator<string>,
  onTraffic: (report: FromPredecessor) => void,
): Promise<void> {
  try {
    for await (const line of lines) {
      const report = fromPredecessorSchema.safeParse(JSON.parse(line)).data;
      if (report !== undefined) onTraffic(report);
    }
  } catch {
    // The successor goes on, however the predecessor ends.
  }
  onTraffic({ kind: "traffic", open: 0, meters: {} });
}
