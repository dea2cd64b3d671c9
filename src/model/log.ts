/**
 * The log of a room. It reports changes to people and is silent about polls
 * without a change. Fields are for machines and never contain a secret.
 */
export interface Log {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {} };
