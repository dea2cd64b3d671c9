import { isDeepStrictEqual } from "node:util";
import type { Loaded } from "../config/load.ts";
import type { Problem } from "../config/problem.ts";
import { lookOf } from "../files/look.ts";
import { loadTrust, type Trust } from "../ingress/trust.ts";
import { keepTrustFile } from "../ingress/trust-file.ts";
import { reasonOf } from "../model/error.ts";
import type { Log } from "../model/log.ts";
import { createSerial } from "../model/serial.ts";

/**
 * The CAs that the ingress is verified against: system roots, ngrok's folder,
 * and the configured CA. They are read again with every pass.
 */
export interface TrustKeeper {
  readonly ca: Trust["ca"];
  /** The same as a file; see {@link keepTrustFile}. */
  readonly caFile: string | undefined;
  /** The faults of the files at the last read, each a sentence. */
  readonly warnings: readonly string[];
  /**
   * Reads the files again; if that fails the CAs stay, with a warning. Never
   * rejects.
   */
  refresh(): Promise<void>;
  /**
   * The faults of the CA in other settings. With one, a daemon would not start.
   */
  check(next: Loaded): Promise<readonly Problem[]>;
}

export interface TrustDeps {
  readonly loaded: () => Loaded;
  readonly stateFolder: string;
  /**
   * Called when the CAs change: connections that were verified against the old
   * ones must not be used any more.
   */
  readonly changed: () => void;
  readonly log: Log;
}

/** Rejects with NgrokdError if the configured CA cannot be read. */
export async function createTrustKeeper({
  loaded,
  stateFolder,
  changed,
  log,
}: TrustDeps): Promise<TrustKeeper> {
  let trust = await read(loaded());
  let file: { readonly path: string; readonly stamp: string } | undefined;
  let logged: readonly string[] = [];
  const inTurn = createSerial();
  tell();

  return {
    get ca() {
      return trust.ca;
    },
    get caFile() {
      return file?.path;
    },
    get warnings() {
      return trust.warnings;
    },
    // One at a time: a read that began before a reload must not have the last
    // word.
    refresh: () => inTurn(readAgain),
    async check(next) {
      const key = "server.ingress_ca";
      if (next.config.server.ingress_ca === loaded().config.server.ingress_ca) return [];
      return await read(next).then(
        () => [],
        (error: unknown) => [
          {
            kind: "wrong-value" as const,
            source: next.path,
            key,
            message: `${key} cannot be used: ${reasonOf(error)}`,
          },
        ],
      );
    },
  };

  async function readAgain(): Promise<void> {
    const next = await read(loaded()).catch((error: unknown) => ({
      ...trust,
      warnings: [`Keeping the trusted CAs as they were: ${reasonOf(error)}`],
    }));
    const same = isDeepStrictEqual(next.ca, trust.ca);
    // The list and its file change together.
    if (!same) file = undefined;
    trust = next;
    tell();
    if (!same) changed();
    // A stat is cheaper than reading and hashing the file.
    if (file === undefined || (await lookOf(file.path)) !== file.stamp) await saveFile();
  }

  async function saveFile(): Promise<void> {
    const path = await keepTrustFile(stateFolder, trust.ca);
    file = path === undefined ? undefined : { path, stamp: await lookOf(path) };
  }

  /** Every pass reads the files; a fault is logged once. */
  function tell(): void {
    for (const warning of trust.warnings) if (!logged.includes(warning)) log.warn(warning);
    logged = trust.warnings;
  }
}

async function read({ config }: Loaded): Promise<Trust> {
  const { ingress_ca: extra } = config.server;
  const found = await loadTrust(extra === "" ? {} : { extra });
  return {
    ...found,
    warnings: found.warnings.map((warning) => `A CA file is left out: ${warning}`),
  };
}
