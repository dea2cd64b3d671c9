import type { Signal } from "../model/abort.ts";
import { isNgrokdError, type NgrokdError } from "../model/error.ts";
import type { ProxyServer } from "../model/proxy.ts";
import type { Conn, Net, TlsClientOptions } from "../net/types.ts";
import { noAnswer } from "./ingress-errors.ts";
import { type Introduction, introduced } from "./introduction.ts";
import { createDialer } from "./last-address.ts";
import { createLimiter } from "./limiter.ts";
import { createSessions } from "./sessions.ts";
import { describeTlsFailure } from "./tls-failure.ts";

/**
 * The way to ngrok's ingress as it is now. It is read again for every dial, so
 * a renewed certificate or CA counts at once.
 */
export interface IngressSettings {
  readonly host: string;
  readonly port: number;
  /** PEM. */
  readonly cert: string;
  readonly key: string;
  readonly ca: readonly string[];
  readonly caFile?: TlsClientOptions["caFile"];
  readonly insecureSkipVerify: boolean;
  /** What to do with a CA that the ingress shows; undefined: nothing. */
  readonly introduction?: Introduction | undefined;
  /** Whether handshakes may resume an earlier session. */
  readonly resume: boolean;
  /** The proxy on the way; undefined for a direct connection. */
  readonly via?: ProxyServer | undefined;
}

/** Dials the ingress, a few times at once, and remembers why a dial failed. */
export interface IngressDialer {
  /**
   * A handshaken connection. Rejects as {@link Net.dial} does, or with the
   * signal's reason while it waits for its turn. Notes in `way` when TCP is up.
   */
  dial(signal: Signal, way?: { connected: number | undefined }): Promise<Conn>;
  /** Later handshakes resume no session from before. */
  discardSessions(): void;
  /** How many dials have begun. */
  readonly dials: number;
  /** Why the latest dial failed; undefined once one has succeeded. */
  readonly trouble: NgrokdError | undefined;
}

/**
 * All dials at once; the others wait in order. Bun serves the latest handshake
 * first, so the earliest of many would wait for ever.
 */
const dialsAtOnce = 16;
/**
 * In milliseconds. A dial that had less time, since it waited for its turn,
 * says nothing about the ingress when its time is over.
 */
const leastDialMs = 500;

export function createIngressDialer(net: Net, settings: () => IngressSettings): IngressDialer {
  const limiter = createLimiter(dialsAtOnce);
  const dialHost = createDialer(net);
  let sessions = createSessions();
  let dials = 0;
  let trouble: NgrokdError | undefined;
  /** When the last successful dial began. */
  let succeeded = Number.NEGATIVE_INFINITY;

  const dialNow = async (
    signal: Signal,
    way: { connected: number | undefined } | undefined,
  ): Promise<Conn> => {
    dials += 1;
    const { host, port, resume, via, introduction, ...tls } = settings();
    const began = performance.now();
    try {
      const connected = (): void => {
        if (way !== undefined) way.connected ??= performance.now();
      };
      const own = { serverName: host, ...tls, sessions: resume ? sessions : undefined };
      const conn = await introduced(own, introduction, (tls) =>
        dialHost({ host, port }, { tls, via, signal, connected }),
      );
      trouble = undefined;
      succeeded = Math.max(succeeded, began);
      return conn;
    } catch (error) {
      const failure = troubleIn(error, { host, port, via }, performance.now() - began);
      // A late failure says nothing if a later dial has succeeded.
      if (failure !== undefined && began > succeeded) trouble = failure;
      throw error;
    }
  };
  return {
    dial: (signal, way) => limiter.run(() => dialNow(signal, way), signal),
    discardSessions() {
      sessions = createSessions();
    },
    get dials() {
      return dials;
    },
    get trouble() {
      return trouble;
    },
  };
}

/**
 * Pure: the ingress trouble shown by a failed dial of `tookMs`. Undefined for a
 * dial that was cancelled, or that had too little time.
 */
function troubleIn(
  error: unknown,
  { host, port, via }: Pick<IngressSettings, "host" | "port" | "via">,
  tookMs: number,
): NgrokdError | undefined {
  if (!isNgrokdError(error) || error.code === "cancelled") return undefined;
  if (error.code === "tls") return describeTlsFailure(error);
  if (error.code !== "timeout") return error;
  return tookMs >= leastDialMs ? noAnswer({ host, port }, via, error) : undefined;
}
