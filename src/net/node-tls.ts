/** The parts of node.ts that run node:tls on a connection of the seam. */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { Duplex } from "node:stream";
import type { ConnectionOptions, PeerCertificate } from "node:tls";
import { isNgrokdError } from "../model/error.ts";
import { StreamTail } from "../model/stream-tail.ts";
import { coded, tlsFailed } from "./errors.ts";
import { isIP } from "./is-ip.ts";
import { strongSuites } from "./strength.ts";
import type { Address, Conn, TlsClientOptions } from "./types.ts";

/** A connection as the stream that node:tls wants below itself. */
export interface StreamOver {
  /**
   * Emits "broken" with the NgrokdError before everything else when the
   * connection fails.
   */
  readonly below: Duplex;
  /** Takes nothing more from the connection, whatever node:tls asks for. */
  pause(): void;
  resume(): void;
  /** The end of what the connection has brought. */
  readonly tail: StreamTail;
}

export function streamOver(conn: Conn): StreamOver {
  let paused = false;
  let wanted = false;
  const tail = new StreamTail();
  const pull = async () => {
    try {
      const bytes = await conn.read();
      if (bytes !== null) tail.take(bytes);
      below.push(bytes);
    } catch (error) {
      // By our own close() or abort(), which is no failure of the way.
      if (isNgrokdError(error, "cancelled")) return void below.destroy();
      below.emit("broken", error);
      below.destroy(error as Error);
    }
  };
  const below = new Duplex({
    allowHalfOpen: true,
    read() {
      if (paused) wanted = true;
      else void pull();
    },
    async write(bytes, _encoding, done) {
      try {
        await conn.write(bytes);
        done();
      } catch (error) {
        done(error as Error);
      }
    },
    final(done) {
      conn.closeWrite();
      done();
    },
    destroy(error, done) {
      if (error === null) conn.close();
      else conn.abort();
      done(error);
    },
  });
  // "broken" has already reported it.
  below.on("error", () => undefined);
  return {
    below,
    tail,
    pause() {
      paused = true;
    },
    resume() {
      paused = false;
      if (!wanted) return;
      wanted = false;
      void pull();
    },
  };
}

/**
 * The trust of a handshake. `rejectUnauthorized` is explicit since
 * NODE_TLS_REJECT_UNAUTHORIZED would decide otherwise. `allowPartialTrustChain`
 * lets an intermediate CA be an anchor.
 */
export function verification({
  serverName,
  ca,
  insecureSkipVerify,
}: TlsClientOptions): ConnectionOptions {
  // An IP is no server name on the wire (RFC 6066, section 3), but the
  // certificate is checked against it as `host`.
  const name =
    isIP(serverName) === 0 ? { servername: serverName } : { servername: "", host: serverName };
  return {
    ca: [...ca],
    ...name,
    rejectUnauthorized: insecureSkipVerify !== true,
    minVersion: "TLSv1.2",
    ciphers: strongSuites,
    allowPartialTrustChain: true,
  };
}

/**
 * Our certificate and key. Checked here, since Deno 2.9.6 silently leaves out a
 * certificate that it cannot read.
 */
export function clientIdentity(
  target: Address,
  { cert, key }: TlsClientOptions,
): { cert?: string; key?: string } {
  if (cert === undefined || key === undefined) return {};
  let fits: boolean;
  try {
    fits = new X509Certificate(cert).checkPrivateKey(createPrivateKey(key));
  } catch (error) {
    throw tlsFailed(target, error);
  }
  if (!fits) throw tlsFailed(target, coded("ERR_OSSL_X509_KEY_VALUES_MISMATCH"));
  return { cert, key };
}

/**
 * Deno 2.9.6 has one reason for most bad certificates. The dates are checked
 * here.
 */
export function outOfDate(seen: PeerCertificate | undefined): Error | undefined {
  if (seen === undefined) return undefined;
  const now = Date.now();
  if (Date.parse(seen.valid_to) < now) return coded("CERT_HAS_EXPIRED");
  if (Date.parse(seen.valid_from) > now) return coded("CERT_NOT_YET_VALID");
  return undefined;
}
