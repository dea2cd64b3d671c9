import { NgrokdError } from "./error.ts";

/**
 * Pure: whether two reasons tell of one failure; each answer of ngrok's has an
 * operation id of its own.
 */
export function sameFailure(a: string, b: string): boolean {
  const plain = (reason: string): string => reason.replaceAll(/\boperation \w+/g, "");
  return plain(a) === plain(b);
}

/** What cannot be done without an identity. */
export const notRegistered = (): NgrokdError =>
  new NgrokdError("state", "This machine is not registered with ngrok yet", {
    hint: "run `ngrokd set-api-key`",
  });
