/** Findings: the results of checks, with their levels and titles. */
import { hintOf, isNgrokdError, reasonOf } from "../model/error.ts";
import type { Attempt } from "./attempt.ts";

/** All checks, with their titles in the output. */
export const checks = {
  privileges: "Privileges",
  environment: "Environment",
  configuration: "Configuration",
  proxy: "Proxy",
  daemon: "Daemon",
  network: "Network",
  socket: "Socket",
  files: "Open files",
  writers: "Who may write",
  state: "State files",
  certificate: "Certificate",
  api: "ngrok's API",
  clock: "Clock",
  key: "API key",
  operator: "Operator",
  ingress: "Ingress",
  "client-certificate": "Our certificate",
  dns: "DNS server",
  hosts: "Hosts file",
  names: "Names",
  listeners: "Listeners",
  endpoints: "Endpoints",
  access: "Access",
  leftovers: "Leftovers",
  endpoint: "Endpoint",
  name: "Name",
  listener: "Listener",
  upgrade: "Connection",
  "early-data": "Early data",
} as const;
export type Check = keyof typeof checks;

export type Level = "ok" | "warning" | "failure";

/** The result of one check. */
export interface Finding {
  readonly check: Check;
  readonly level: Level;
  /** A sentence without a full stop. */
  readonly text: string;
  /** What to do; may be empty. */
  readonly fix: string;
  /** If there are several profiles, and it is of one of them. */
  readonly profile?: string;
  /** A host name or `host:port`, if the check has many subjects. */
  readonly about?: string;
  /** The response time of the other side in milliseconds. */
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
/** For a check that needs the result of a failed or missing check. */
export const notChecked = (check: Check, why: string): Finding =>
  warning(check, `not checked, since ${why}`);

/**
 * The finding for an exception. A lack of rights is a warning, since it says
 * nothing about the subject itself.
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
