import { timingSafeEqual } from "node:crypto";
import type { Reply } from "../control/protocol.ts";
import { NgrokdError, reasonOf } from "../model/error.ts";
import type { Log } from "../model/log.ts";
import { randomHex } from "../model/random.ts";
import type { Conn, Net } from "../net/types.ts";
import type { Held } from "./handover.ts";
import { linesOf, writeLine } from "./json-lines.ts";
import {
  descriptorsCommand,
  type EstateFacts,
  type FromPredecessor,
  type FromSuccessor,
  fromSuccessorSchema,
  invitationText,
  protocolVersion,
  requireSameProtocol,
  successorVariable,
  takeOverCommand,
  type Way,
} from "./protocol.ts";

/** The old side of a handover. */
export interface Leaving {
  /**
   * Starts `program`, and lets it take over. Rejects with NgrokdError if it
   * fails: then this daemon stays in charge.
   */
  upgrade(program: string): Promise<Successor>;
  /** Answers of the control socket to a successor. */
  readonly takers: Readonly<Record<string, Taker>>;
  /** Settles when a successor has taken over. */
  readonly left: Promise<Successor>;
}

/** Takes a connection of the control socket over, until its end. */
export type Taker = (conn: Conn, args: readonly string[]) => Promise<void>;

export interface Successor {
  readonly way: Way;
  readonly program: string;
  readonly pid: number;
  readonly version: string;
  /** Reports this daemon's traffic. Rejects when the successor is gone. */
  report(traffic: Omit<FromPredecessor, "kind">): Promise<void>;
  /** Settles when the successor stops, or is gone. */
  readonly stopped: Promise<void>;
  /** This daemon has ended. */
  close(): void;
}

export interface LeavingDeps {
  readonly net: Net;
  readonly way: Way;
  readonly socketPath: () => string;
  /** Runs the program with the daemon's own arguments. */
  readonly start: (program: string, env: Readonly<Record<string, string>>) => Child;
  /**
   * Prevents changes of doors and names, and settles when none is under way.
   */
  readonly hold: () => Promise<{ release(): void; leave(): void }>;
  readonly estate: () => { readonly facts: EstateFacts; readonly held: readonly Held[] };
  readonly log: Log;
  /** Milliseconds for the successor's start. */
  readonly patienceMs?: number;
}

/** A started program. */
export interface Child {
  readonly pid: number;
  /** How it has ended: a sentence's part, such as "with exit code 2". */
  readonly ended: Promise<string>;
  kill(): void;
}

type State =
  | { readonly kind: "here" }
  /** Waits until nothing changes any more. */
  | { readonly kind: "holding" }
  | {
      readonly kind: "inviting";
      readonly token: string;
      readonly child: Child;
      readonly program: string;
      readonly held: readonly Held[];
      readonly facts: EstateFacts;
      readonly taken: PromiseWithResolvers<Successor>;
    }
  | { readonly kind: "left" };

const defaultPatienceMs = 60_000;

export function createLeaving(deps: LeavingDeps): Leaving {
  const { log, way, patienceMs = defaultPatienceMs } = deps;
  let state: State = { kind: "here" };
  const left = Promise.withResolvers<Successor>();

  const invite = async (program: string): Promise<Successor> => {
    const token = randomHex(32);
    const invitation = { protocol: protocolVersion, way, token, socket: deps.socketPath() };
    const taken = Promise.withResolvers<Successor>();
    const estate = deps.estate();
    const child = deps.start(program, { [successorVariable]: invitationText(invitation) });
    state = { kind: "inviting", token, child, program, taken, ...estate };
    void child.ended.then((how) => taken.reject(unready(`it ended ${how}; its log says why`)));
    const timer = setTimeout(
      () => taken.reject(unready(`it was not ready within ${patienceMs / 1000} s`)),
      patienceMs,
    );
    try {
      return await taken.promise;
    } catch (error) {
      child.kill();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  };

  return {
    left: left.promise,
    async upgrade(program) {
      if (state.kind !== "here")
        throw new NgrokdError("refused", "Cannot hand over: a handover is under way already");
      state = { kind: "holding" };
      const held = await deps.hold();
      try {
        const successor = await invite(program);
        state = { kind: "left" };
        held.leave();
        left.resolve(successor);
        return successor;
      } catch (error) {
        state = { kind: "here" };
        held.release();
        log.warn(`Cannot hand over to "${program}": ${reasonOf(error)}; this daemon goes on`);
        throw new NgrokdError(
          "refused",
          `Cannot hand over to "${program}": ${reasonOf(error)}; the running daemon goes on`,
          { cause: error, hint: "nothing was changed" },
        );
      }
    },
    takers: {
      [takeOverCommand]: async (conn, [protocol, token]) => {
        try {
          requireSameProtocol(Number(protocol), "The new program");
          await takeOver(deps, conn, invited(state, token));
        } catch (error) {
          await refuse(conn, error);
        }
      },
      [descriptorsCommand]: async (conn, [, token]) => {
        try {
          const { held } = invited(state, token);
          await deps.net.sendDescriptors(
            conn,
            held.map(({ fd }) => fd),
          );
          conn.close();
        } catch (error) {
          log.warn(reasonOf(error));
          conn.abort();
        }
      },
    },
  };
}

const unready = (reason: string): NgrokdError => new NgrokdError("refused", reason);

type Inviting = Extract<State, { kind: "inviting" }>;

/** Throws `permission` for everybody but the invited successor. */
function invited(state: State, token: string | undefined): Inviting {
  const given = Buffer.from(token ?? "");
  const wanted = state.kind === "inviting" ? Buffer.from(state.token) : undefined;
  if (
    state.kind === "inviting" &&
    wanted?.length === given.length &&
    timingSafeEqual(given, wanted)
  )
    return state;
  throw new NgrokdError("permission", "This daemon hands over to a program that it has started", {
    hint: "`sudo ngrokd upgrade` starts one",
  });
}

async function takeOver(
  { way }: LeavingDeps,
  conn: Conn,
  { facts, child, program, taken }: Inviting,
): Promise<void> {
  await writeLine(conn, { success: true, data: facts } satisfies Reply);
  const lines = linesOf(conn);
  const said = await verdictIn(lines);
  if (said === undefined || said.kind === "failed") {
    taken.reject(unready(said?.reason ?? "it broke the handover off"));
    conn.close();
    return;
  }
  const stopped = Promise.withResolvers<void>();
  taken.resolve({
    way,
    program,
    pid: child.pid,
    version: said.version,
    report: (traffic) => writeLine(conn, { kind: "traffic", ...traffic } satisfies FromPredecessor),
    stopped: stopped.promise,
    close: () => conn.close(),
  });
  try {
    for await (const _ of lines);
  } catch {
    // It is gone.
  }
  stopped.resolve();
  await conn.closed;
}

/** Undefined if the connection is lost, or the line is not understood. */
async function verdictIn(lines: ReturnType<typeof linesOf>): Promise<FromSuccessor | undefined> {
  try {
    const { value } = await lines.next();
    return fromSuccessorSchema.safeParse(JSON.parse(value || "null")).data;
  } catch {
    return undefined;
  }
}

async function refuse(conn: Conn, error: unknown): Promise<void> {
  const code = error instanceof NgrokdError ? error.code : "internal";
  try {
    await writeLine(conn, { success: false, error: reasonOf(error), code } satisfies Reply);
    conn.close();
  } catch {
    conn.abort();
  }
}
