import { NgrokdError } from "./error.ts";

/**
 * Pure: whether two reasons describe the same failure. The operation id is
 * ignored, since each response of ngrok has a new one.
 */
export function sameFailure(a: string, b: string): boolean {
  const plain = (reason: string): string => reason.replaceAll(/\boperation \w+/g, "");
  return plain(a) === plain(b);
}

/** The error of an action that needs an identity. */
export const notRegistered = (): NgrokdError =>
  new NgrokdError("state", "This machine is not registered with ngrok yet", {
    hint: "run `ngrokd set-api-key`",
  });
