import type { Recorder } from "../history/history.ts";
import type { Ending, Trace } from "../history/trace.ts";
import { refusalAdvice } from "../ingress/advice.ts";
import type { PodIdentity } from "../ingress/frame.ts";
import type { Ingress } from "../ingress/ingress.ts";
import { inShort, noticesText } from "../ingress/notices.ts";
import { describeTlsFailure } from "../ingress/tls-failure.ts";
import type { Opened } from "../ingress/upgrade.ts";
import { Cancellation, throwIfAborted } from "../model/abort.ts";
import type { Binding } from "../model/binding.ts";
import { type ErrorCode, isNgrokdError, NgrokdError, reasonOf } from "../model/error.ts";
import type { Log } from "../model/log.ts";
import { countError, countRefusal, type ErrorKind, type Meter, time } from "../model/meter.ts";
import { isCut } from "../net/errors.ts";
import { addressText, type Conn, type Watcher } from "../net/types.ts";
import { createEarlyBytes, type EarlyBytes } from "./early.ts";
import { refusalOf } from "./greet/guarded-conn.ts";
import type { QuietWatch } from "./quiet.ts";
import { type Direction, type SpliceEnd, type SpliceUser, startSplice } from "./splice.ts";

export interface ForwardDeps {
  readonly account: string;
  readonly ingress: Pick<Ingress, "open">;
  readonly log: Log;
  /** One deadline for dial, TLS and header, in milliseconds. */
  readonly openTimeoutMs: number;
  /** Whether the client's first bytes leave with the request. */
  readonly earlyData?: boolean;
  /** Ends silent connections; without it they may be silent for ever. */
  readonly quiet?: QuietWatch;
  /**
   * The size of the socket buffers of the next connection; undefined if the
   * system may choose it.
   */
  readonly bufferSize?: () => number | undefined;
  /** Without it, a client learns of a failure by a reset. */
  readonly courtesy?: Courtesy;
  /** Is told about each connection. */
  readonly recorder?: Recorder | undefined;
  /** Returns who is told the bytes of a connection, if somebody is. */
  readonly tap?: (client: Conn, binding: Binding) => Tap | undefined;
  /**
   * Returns who asks the ingress, for a client of this user; undefined if
   * nothing is said about it.
   */
  readonly identity?: (uid: number | undefined) => PodIdentity | undefined;
}

/**
 * Is told the bytes of one connection, each after it was handed on, and the
 * end: `whole` if both sides have finished. The methods must be cheap and must
 * not throw, and the bytes must not change.
 */
export interface Tap {
  up(bytes: Uint8Array): void;
  down(bytes: Uint8Array): void;
  end(whole: boolean): void;
}

/** Tells a client how the opening of its connection has ended. */
export interface Courtesy {
  /** Comes before the first byte of the endpoint. */
  accepted(client: Conn): Promise<void> | void;
  /** Must end the connection. */
  failed(client: Conn, failure: OpeningFailure): void;
}

/** `refused` by the ingress, with its code. */
export type OpeningFailure =
  | { readonly kind: "refused"; readonly code: string; readonly text: string }
  | { readonly kind: "failed"; readonly error: unknown };

/**
 * One local connection from accept to close (design.md, "One connection"). A
 * failure ends this connection with a reset, is counted in `meter`, and is
 * logged once. `ended` is called when the client's descriptor is free. `uid` is
 * the client's user, if that is known.
 */
export function forward(
  client: Conn,
  binding: Binding,
  meter: Meter,
  deps: ForwardDeps,
  ended: (client: Conn) => void,
  uid?: number,
): void {
  void new Forwarding(client, binding, meter, deps, ended, uid).run();
}

/**
 * A class for the same reason as PullConn: thousands wait at a time, and
 * nothing of the opening may stay, nor a promise.
 */
class Forwarding implements SpliceUser, Watcher {
  private readonly client: Conn;
  private readonly binding: Binding;
  private readonly meter: Meter;
  private readonly deps: ForwardDeps;
  private readonly whenGone: (client: Conn) => void;
  /**
   * The start of the current turn, by performance.now(): first the ingress's,
   * then the endpoint's. Undefined after the endpoint's first byte.
   */
  private turn: number | undefined = performance.now();
  private asked = false;
  private tap: Tap | undefined;
  private readonly trace: Trace | undefined;
  private readonly uid: number | undefined;

  constructor(
    client: Conn,
    binding: Binding,
    meter: Meter,
    deps: ForwardDeps,
    whenGone: (client: Conn) => void,
    uid: number | undefined,
  ) {
    this.client = client;
    this.binding = binding;
    this.meter = meter;
    this.deps = deps;
    this.whenGone = whenGone;
    this.uid = uid;
    const { account, recorder } = deps;
    this.trace = recorder?.begin({ account, endpoint: binding.key, client: client.remote, uid });
    meter.active += 1;
    meter.total += 1;
    meter.lastActivity = Date.now();
  }

  async run(): Promise<void> {
    const { client, binding, meter, deps } = this;
    const { key } = binding;
    let failure: OpeningFailure | undefined;
    try {
      const { courtesy } = deps;
      // A courteous proxy has its own exchange with the client first.
      const isEarly = deps.earlyData === true && courtesy === undefined;
      const early = isEarly ? createEarlyBytes(client) : undefined;
      const identity = deps.identity?.(this.uid);
      const opened = await open(client, binding, deps, { early, way: this.trace, identity });
      if (opened.kind === "accepted") {
        if (courtesy === undefined) this.carry(opened, early?.taken);
        else await this.welcome(opened, courtesy);
        return;
      }
      if (opened.kind === "left") {
        countError(meter, "reset");
        this.record("left", "the client left before the connection was open");
        deps.log.debug(`${key}: connection from ${addressText(client.remote)} reset by the client`);
      } else {
        countRefusal(meter, opened.code);
        meter.lastError = refusalText(opened);
        this.notice(noticesText(opened.notices));
        failure = { kind: "refused", code: opened.code, text: meter.lastError };
        this.record("refused", meter.lastError);
        deps.log.warn(`${key}: the ingress refused: ${meter.lastError}`, {
          endpoint: key,
          code: opened.code,
        });
      }
    } catch (error) {
      countError(meter, kindOf(error));
      meter.lastError = reasonOf(error);
      failure = { kind: "failed", error };
      this.record(kindOf(error), meter.lastError);
      deps.log.warn(`${key}: cannot reach the endpoint: ${meter.lastError}`, {
        endpoint: key,
        ...hintOf(error),
      });
    }
    if (failure === undefined || deps.courtesy === undefined) client.abort();
    else deps.courtesy.failed(client, failure);
    client.watch(this);
  }

  private async welcome(opened: Accepted, { accepted }: Pick<Courtesy, "accepted">): Promise<void> {
    try {
      await accepted(this.client);
    } catch {
      countError(this.meter, "reset");
      this.record("left", "the client left before the connection was open");
      opened.conn.abort();
      this.client.abort();
      this.client.watch(this);
      return;
    }
    this.carry(opened, undefined);
  }

  /** Only a notice that is new for the endpoint is an event. */
  private notice(said: string): void {
    const { meter, trace, deps } = this;
    if (said === meter.lastNotice) return;
    meter.lastNotice = said;
    if (said !== "" && trace !== undefined) deps.recorder?.noticed(trace, said);
  }

  private carry({ conn, notices }: Accepted, early: Uint8Array | undefined): void {
    const { meter, deps, turn = 0 } = this;
    const { key } = this.binding;
    const now = performance.now();
    time(meter, "upgrade", (now - turn) / 1000);
    this.turn = now;
    if (this.trace !== undefined) deps.recorder?.opened(this.trace);
    meter.lastError = "";
    this.tap = deps.tap?.(this.client, this.binding);
    if (early !== undefined) this.carried("a->b", early);
    // Every connection may bring the same notice: at this log level repeats are
    // counted and not logged.
    const said = noticesText(notices);
    this.notice(said);
    if (said !== "") deps.log.warn(`${key}: ngrok says: ${said}`, { endpoint: key });
    const size = deps.bufferSize?.();
    if (size !== undefined) for (const end of [this.client, conn]) end.limitBuffers(size);
    startSplice(this.client, conn, this, deps.quiet);
  }

  carried(direction: Direction, bytes: Uint8Array): void {
    const { meter, turn, trace, tap } = this;
    const { length } = bytes;
    if (direction === "a->b") {
      meter.bytesUp += length;
      if (trace !== undefined) this.deps.recorder?.carriedUp(trace, length);
      tap?.up(bytes);
      if (this.asked) return;
      this.asked = true;
      if (turn !== undefined) this.turn = performance.now();
    } else {
      meter.bytesDown += length;
      if (trace !== undefined) this.deps.recorder?.carriedDown(trace, length);
      tap?.down(bytes);
      if (turn === undefined) return;
      time(meter, "firstByte", (performance.now() - turn) / 1000);
      this.turn = undefined;
    }
  }

  /**
   * Counts the end of a connection that worked. It is no fault of the endpoint,
   * so it is no last error.
   */
  ended(end: SpliceEnd): void {
    const { meter, tap } = this;
    tap?.end(end.kind === "finished");
    if (end.kind === "silent") countError(meter, "timeout");
    else if (end.kind === "aborted") countError(meter, endKindOf(end.error));
    tellEnd(end, this.client, this.binding.key, this.deps.log);
    const misdirected = refusalOf(this.client);
    if (misdirected === undefined) this.record(endingOf(end), detailOf(end));
    else this.record("misdirected", misdirected);
    this.gone();
  }

  private record(ending: Ending, detail: string): void {
    if (this.trace !== undefined) this.deps.recorder?.ended(this.trace, ending, detail);
  }

  gone(): void {
    this.meter.active -= 1;
    this.meter.lastActivity = Date.now();
    this.whenGone(this.client);
  }
}

interface Opening {
  readonly early: EarlyBytes | undefined;
  readonly way: Trace | undefined;
  readonly identity: PodIdentity | undefined;
}

type Accepted = Extract<Opened, { kind: "accepted" }>;
type Refused = Extract<Opened, { kind: "refused" }>;

/** `left`: the client was gone before a response. */
async function open(
  client: Conn,
  binding: Binding,
  { ingress, openTimeoutMs }: ForwardDeps,
  { early, way, identity }: Opening,
): Promise<Opened | { kind: "left" }> {
  const attempt = new Cancellation();
  const timer = setTimeout(() => {
    attempt.abort(
      new NgrokdError("timeout", `No answer from the ingress within ${openTimeoutMs / 1000} s`),
    );
  }, openTimeoutMs);
  client.watch({
    gone: () => attempt.abort(new NgrokdError("cancelled", "The client left")),
    came: () => early?.came(),
  });
  try {
    await early?.wait();
    throwIfAborted(attempt);
    return await ingress.open(binding, attempt, { early: early?.take, way, identity });
  } catch (error) {
    if (error === attempt.reason && isNgrokdError(error, "cancelled")) return { kind: "left" };
    throw isNgrokdError(error, "tls") ? describeTlsFailure(error) : error;
  } finally {
    clearTimeout(timer);
    client.watch(undefined);
  }
}

function tellEnd(end: SpliceEnd, client: Conn, key: string, log: Log): void {
  switch (end.kind) {
    case "finished":
      return;
    case "aborted": {
      if (isCut(end.error)) {
        log.warn(`${key}: ${end.error.message}`, { endpoint: key });
        return;
      }
      // A reset by one of the two ends is passed on, and no cause for alarm.
      const by = `reset by ${end.side === "a" ? "the client" : "the ingress"}`;
      const how = isNgrokdError(end.error, "cancelled") ? "cut at the end of the drain time" : by;
      log.debug(`${key}: connection from ${addressText(client.remote)} ${how}`);
      return;
    }
    case "silent": {
      const what = end.halfClosed ? "a half-closed connection" : "a connection";
      log.warn(`${key}: ${what} without traffic for ${end.limitMs / 1000} s was reset`, {
        endpoint: key,
      });
    }
  }
}

const kinds: Readonly<Partial<Record<ErrorCode, ErrorKind>>> = {
  tls: "tls",
  timeout: "timeout",
  protocol: "header",
  aborted: "header",
};

/**
 * The kind of a failed opening. Failures before TLS, on this machine or on the
 * way, are the dial's.
 */
const kindOf = (error: unknown): ErrorKind =>
  (isNgrokdError(error) ? kinds[error.code] : undefined) ?? "dial";

/** The kind of an end of a connection that worked. */
function endKindOf(error: NgrokdError): ErrorKind {
  if (error.code === "cancelled") return "timeout";
  if (error.code === "tls") return "tls";
  return isCut(error) ? "cut" : "reset";
}

function endingOf(end: SpliceEnd): Ending {
  if (end.kind !== "aborted") return end.kind;
  return end.error.code === "cancelled" ? "drained" : endKindOf(end.error);
}

function detailOf(end: SpliceEnd): string {
  if (end.kind === "finished") return "";
  if (end.kind === "silent") return `nothing moved for ${end.limitMs / 1000} s`;
  if (end.error.code === "cancelled") return "it was still open at the end of the drain time";
  if (isCut(end.error) || end.error.code === "tls") return reasonOf(end.error);
  return `reset by ${end.side === "a" ? "the client" : "the ingress"}`;
}

function refusalText({ code, message, notices }: Refused): string {
  const advice = refusalAdvice(code);
  const text = inShort(code === "" ? message : `${code}: ${message}`);
  const said = noticesText(notices);
  return `${text}${advice === undefined ? "" : ` (${advice})`}${said === "" ? "" : `; ngrok says: ${said}`}`;
}

const hintOf = (error: unknown): { hint?: string } =>
  error instanceof NgrokdError && error.hint !== undefined ? { hint: error.hint } : {};
