/**
 * The facts behind a service file. All paths are absolute. Those of `program`
 * and `hostsPath` have no links.
 */
export interface ServiceFacts {
  readonly program: string;
  /** Arguments of `ngrokd serve`, for paths other than the defaults. */
  readonly serveArgs: readonly string[];
  /** The daemon's environment variables, such as NGROKD_HOSTS_PATH. */
  readonly environment: Readonly<Record<string, string>>;
  readonly hostsPath: string;
  readonly socketPath: string;
  /** The folders of state, key and configuration, which the daemon writes. */
  readonly folders: readonly string[];
  /** Other files that the daemon reads, such as a CA. They may be in a home. */
  readonly reads: readonly string[];
  /** The daemon tells the machine's resolver about its DNS server by D-Bus. */
  readonly usesDbus?: boolean;
  /** Whether the daemon makes a virtual interface (`net.subnet`). */
  readonly makesInterface: boolean;
  /** The drain timeout of a stop, in seconds. */
  readonly drainSeconds: number;
}

/** The time of a stop in addition to draining. */
export const stopReserveMs = 30_000;

/**
 * Stands in the first two lines of every file that `ngrokd service install`
 * writes. Only files with this text are replaced or removed.
 */
export const marker = "Made by `ngrokd service install`";

/** The same of the unit that comes with a package, which only that replaces. */
export const packageMarker = "Part of the package ngrokd";
