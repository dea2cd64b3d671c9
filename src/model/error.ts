/**
 * The one error class. `code` is what callers branch on and what the CLI turns
 * into an exit code; `message` says the action, the quoted value and what
 * happened; `hint` says what to do next. Expected outcomes (a name that does
 * not parse, an ingress that refuses) are values, not exceptions.
 */
export class NgrokdError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  /**
   * Facts for machines, such as `operationId` or `retryAfterMs`; never secrets.
   */
  readonly details: Readonly<Record<string, unknown>>;

  constructor(
    code: ErrorCode,
    message: string,
    options: ErrorOptions & { hint?: string; details?: Record<string, unknown> } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "NgrokdError";
    this.code = code;
    this.hint = options.hint;
    this.details = options.details ?? {};
  }
}

export const errorCodes = [
  "usage", // the command line is wrong
  "config", // the configuration file or an environment variable is wrong
  "not-running", // no daemon answers on the socket
  "already-running", // another daemon holds the socket
  "permission", // the operating system refused for lack of rights
  "unauthorized", // ngrok refused the API key
  "not-found", // ngrok does not know the thing asked for
  "rate-limited", // ngrok asks to slow down; details.retryAfterMs where it said for how long
  "api", // any other refusal or nonsense from ngrok's API
  "network", // refused, unreachable, name not found
  "timeout", // a deadline passed
  "aborted", // the peer reset the connection
  "cancelled", // the caller gave up through its AbortSignal
  "tls", // verification or handshake failed
  "protocol", // the other side said something that the protocol does not allow
  "address-in-use",
  "address-unavailable", // no such address on this machine
  "state", // a file of ours cannot be read, written or understood
  "hosts", // the hosts file cannot be edited safely
  "refused", // the daemon understood and said no
] as const;
export type ErrorCode = (typeof errorCodes)[number];

/** True for a NgrokdError, of this code where one is given. */
export function isNgrokdError(error: unknown, code?: ErrorCode): error is NgrokdError {
  return error instanceof NgrokdError && (code === undefined || error.code === code);
}

/**
 * One line of text for any thrown value, for logs and reasons. A NgrokdError's
 * message says it all; of other errors it follows `cause` one level where it
 * adds something.
 */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return oneLine(String(error));
  const cause =
    error.cause instanceof Error && !(error instanceof NgrokdError) ? error.cause.message : "";
  return oneLine(
    cause === "" || error.message.includes(cause) ? error.message : `${error.message}: ${cause}`,
  );
}

/** What to do next about any thrown value; empty where nobody said. */
export const hintOf = (error: unknown): string =>
  error instanceof NgrokdError ? (error.hint ?? "") : "";

/**
 * Line breaks and other control characters, with the white space around them,
 * become one space.
 */
export function oneLine(text: string): string {
  const parts = text.split(/[\p{Cc}\p{Zl}\p{Zp}]+/u).map((part) => part.trim());
  return parts.filter((part) => part !== "").join(" ");
}
