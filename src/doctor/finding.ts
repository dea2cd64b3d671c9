import { hintOf, isNgrokdError, reasonOf } from "../model/error.ts";
import type { Attempt } from "./attempt.ts";

/** Everything that is looked at, with the title that people see. */
export const checks = {
  privileges: "Privileges",
  configuration: "Configuration",
  proxy: "Proxy",
  daemon: "Daemon",
  socket: "Socket",
  files: "Open files",
  state: "State files",
  certificate: "Certificate",
  api: "ngrok's API",
  clock: "Clock",
  key: "API key",
  operator: "Operator",
  ingress: "Ingress",
  "client-certificate": "Our certificate",
  hosts: "Hosts file",
  names: "Names",
  listeners: "Listeners",
  endpoints: "Endpoints",
  leftovers: "Leftovers",
  endpoint: "Endpoint",
  name: "Name",
  listener: "Listener",
  upgrade: "Connection",
} as const;
export type Check = keyof typeof checks;

export type Level = "ok" | "warning" | "failure";

/**
 * One thing that was looked at: how it is, in a sentence without a full stop,
 * and what to do about it (empty where nothing).
 */
export interface Finding {
  readonly check: Check;
  readonly level: Level;
  readonly text: string;
  readonly fix: string;
  /**
   * What it is about, where a check looks at many: a name, or the host:port of
   * an endpoint.
   */
  readonly about?: string;
  /** How long the other side took to answer, where one did; milliseconds. */
  readonly took_ms?: number;
}

export const ok = (check: Check, text: string): Finding => ({ check, level: "ok", text, fix: "" });
export const warning = (check: Check, text: string, fix = ""): Finding => ({
  check,
  level: "warning",
  text,
  fix,
});
export const failure = (check: Check, text: string, fix = ""): Finding => ({
  check,
  level: "failure",
  text,
  fix,
});

export const runWithSudo = "run this command with sudo";
/**
 * For what could not be looked at since another check has failed, or since
 * nobody can be asked.
 */
export const notChecked = (check: Check, why: string): Finding =>
  warning(check, `not checked, since ${why}`);

/**
 * What an exception means: missing rights of ours say nothing against the thing
 * itself.
 */
export function broken(check: Check, error: unknown): Finding {
  if (isNgrokdError(error, "permission"))
    return warning(check, `not checked: ${reasonOf(error)}`, runWithSudo);
  return failure(check, reasonOf(error), hintOf(error));
}

export const brokenBy = <T>(check: Check, attempt: Attempt<T>): Finding[] =>
  attempt.ok ? [] : [broken(check, attempt.error)];

export function worst(findings: readonly Finding[]): Level {
  const has = (level: Level): boolean => findings.some((finding) => finding.level === level);
  return has("failure") ? "failure" : has("warning") ? "warning" : "ok";
}
