/**
 * Pure: the meaning of failed connections to the ingress, in words for users.
 */
import { isNgrokdError, NgrokdError } from "../model/error.ts";
import { type HostPort, hostPortText } from "../model/host-port.ts";
import { type ProxyServer, proxyText } from "../model/proxy.ts";
import { refusedCertificate } from "./tls-failure.ts";

/**
 * A dial that ran into a limit. The words are the same for every limit, so that
 * the same trouble is logged once.
 */
export function noAnswer(
  ingress: HostPort,
  via: ProxyServer | undefined,
  cause: NgrokdError,
): NgrokdError {
  const way = via === undefined ? "" : ` through the proxy "${proxyText(via)}"`;
  return new NgrokdError(
    "timeout",
    `Cannot connect to "${hostPortText(ingress)}"${way}: no answer in time`,
    {
      hint: "does a firewall block this host and port?",
      cause,
    },
  );
}

/** The ingress closes ready connections at once. */
export function hangsUp(cause: NgrokdError | undefined): NgrokdError {
  return new NgrokdError("aborted", "The ingress closes every new connection at once", {
    hint: "it may not know this client certificate, or be restarting; see `ngrokd doctor`",
    cause,
  });
}

/**
 * The ingress closes before the length bytes if it does not know the
 * certificate. Source: docs/protocol.md, "The ingress".
 */
export function unknownCertificate(): NgrokdError {
  return new NgrokdError(
    "tls",
    "The ingress closed the connection without an answer; it usually means that it does not know this client certificate",
    {
      hint: "was the operator deleted in ngrok's dashboard, or does the certificate belong to another account? see `ngrokd status`",
    },
  );
}

/**
 * The likely reason of a connection that broke before the response. With TLS
 * 1.3 a refused client certificate shows only then, as an alert.
 */
export function explained(error: unknown): unknown {
  if (isNgrokdError(error, "tls") && error.hint === undefined) return refusedUs(error);
  if (isNgrokdError(error, "aborted")) {
    return new NgrokdError("aborted", "The ingress reset the connection before it had answered", {
      hint: "if this continues, it may not know this client certificate; see `ngrokd status`",
      cause: error,
      details: { ...error.details },
    });
  }
  return error;
}

/** A TLS alert after the handshake: our certificate is refused. */
export function refusedUs(error: NgrokdError): NgrokdError {
  return new NgrokdError("tls", `The ingress refused our client certificate: ${error.message}`, {
    hint: refusedCertificate,
    cause: error,
    details: { ...error.details },
  });
}
