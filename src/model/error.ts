import { leftToRight } from "./parsed.ts";

/**
 * The only error class. Callers branch on `code`, and the CLI maps it to an
 * exit code. `message` has the action, the quoted value and the event. `hint`
 * has the next step for the user. Expected outcomes, such as a name that does
 * not parse or a refusal by the ingress, are values and not exceptions.
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
  "rate-limited", // ngrok asks to slow down; details.retryAfterMs if it named a time
  "api", // any other refusal or nonsense from ngrok's API
  "network", // refused, unreachable, name not found
  "timeout", // a deadline passed
  "aborted", // the peer reset the connection
  "cancelled", // the caller gave up through its AbortSignal
  "tls", // verification or handshake failed
  "protocol", // the other side broke the protocol
  "address-in-use",
  "address-unavailable", // no such address on this machine
  "state", // a file of the daemon cannot be read, written or understood
  "hosts", // the hosts file cannot be edited safely
  "output", // the result cannot be written to stdout
  "refused", // the daemon understood the request and refused it
] as const;
export type ErrorCode = (typeof errorCodes)[number];

/** True for a NgrokdError; if `code` is given, only for one of that code. */
export function isNgrokdError(error: unknown, code?: ErrorCode): error is NgrokdError {
  return error instanceof NgrokdError && (code === undefined || error.code === code);
}

/**
 * One line of text for any thrown value, for logs and reasons. The message of a
 * NgrokdError is complete. Other errors get the message of their `cause`
 * appended, unless it is in their own message.
 */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return oneLine(String(error));
  if (error instanceof NgrokdError) return oneLine(error.message);
  const cause = error.cause instanceof Error ? error.cause.message : "";
  const isComplete = cause === "" || error.message.includes(cause);
  return oneLine(withoutAdvice(isComplete ? error.message : `${error.message}: ${cause}`));
}

/**
 * A runtime's message without its advice, which is for programmers and leads
 * users astray.
 */
export function withoutAdvice(text: string): string {
  const short = advice.reduce((rest, pattern) => rest.replaceAll(pattern, ""), text).trim();
  return short === "" ? "it failed" : short.replace(/[.:\s]+$/, "");
}

/** Of Bun 1.4.5. */
const advice = [
  /[.:]?\s*For more information, pass `verbose: true`[^.:]*/g,
  /[.:]?\s*Is the computer able to access the url\?/g,
  /[.:]?\s*Was there a typo in the url or port\?/g,
  /[.:]?\s*(?:Internal error: [^.]*\. )?This is a bug in Bun\.?(?: Please report it\.?)?/g,
];

/** The hint of any thrown value; empty if there is none. */
export const hintOf = (error: unknown): string =>
  error instanceof NgrokdError ? (error.hint ?? "") : "";

/**
 * Line breaks and other control characters, with the white space around them,
 * become one space. What changes the direction of writing is escaped.
 */
export function oneLine(text: string): string {
  const parts = text.split(/[\p{Cc}\p{Zl}\p{Zp}]+/u).map((part) => part.trim());
  return leftToRight(parts.filter((part) => part !== "").join(" "));
}
