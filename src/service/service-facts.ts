/**
 * What a service file has to know; all paths absolute, links followed for
 * `program` and `hostsPath`.
 */
export interface ServiceFacts {
  readonly program: string;
  /** Words behind `ngrokd serve`, for what is not at its default place. */
  readonly serveArgs: readonly string[];
  /** Environment variables of the daemon's own, such as NGROKD_HOSTS_PATH. */
  readonly environment: Readonly<Record<string, string>>;
  readonly hostsPath: string;
  readonly socketPath: string;
  /** Folders in which the daemon writes: state, key, configuration. */
  readonly folders: readonly string[];
  /**
   * What it reads besides, and may lie in somebody's home: a CA, for example.
   */
  readonly reads: readonly string[];
  /** Seconds that open connections may take at a stop. */
  readonly drainSeconds: number;
}

/** What a stop may take beside the draining. */
export const stopReserveMs = 30_000;

/**
 * In the first line of every file that `ngrokd service install` writes, and in
 * no other: what has it may be replaced and removed.
 */
export const marker = "Made by `ngrokd service install`";
