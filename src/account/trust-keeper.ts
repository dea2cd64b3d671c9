import { isDeepStrictEqual } from "node:util";
import type { Loaded } from "../config/load.ts";
import type { Problem } from "../config/problem.ts";
import { stampOf } from "../files/stamp.ts";
import { loadTrust, type Trust } from "../ingress/trust.ts";
import { keepTrustFile } from "../ingress/trust-file.ts";
import { reasonOf } from "../model/error.ts";
import type { Log } from "../model/log.ts";
import { createSerial } from "../model/serial.ts";

/**
 * Whom the ingress is believed: system roots, ngrok's folder, and the
 * configured CA, read again with every pass.
 */
export interface TrustKeeper {
  readonly ca: Trust["ca"];
  /** The same in a file; see {@link keepTrustFile}. */
  readonly caFile: string | undefined;
  /** What is wrong with the files now. */
  readonly warnings: readonly string[];
  /**
   * Reads them again; where that fails they stay as they were, with a warning.
   * Never rejects.
   */
  renew(): Promise<void>;
  /**
   * What is wrong with the CA that other settings name: without it, a daemon
   * would not start.
   */
  check(next: Loaded): Promise<readonly Problem[]>;
}

export interface TrustDeps {
  readonly loaded: () => Loaded;
  readonly stateFolder: string;
  /** What was verified against other CAs is not to be believed any more. */
  readonly changed: () => void;
  readonly log: Log;
}

/** Rejects with NgrokdError where the configured CA cannot be read. */
export async function createTrustKeeper({
  loaded,
  stateFolder,
  changed,
  log,
}: TrustDeps): Promise<TrustKeeper> {
  let trust = await read(loaded());
  let kept: { readonly path: string; readonly stamp: string } | undefined;
  let told: readonly string[] = [];
  const inTurn = createSerial();
  tell();

  return {
    get ca() {
      return trust.ca;
    },
    get caFile() {
      return kept?.path;
    },
    get warnings() {
      return trust.warnings;
    },
    // One at a time: a read that began before a reload must not have the last
    // word.
    renew: () => inTurn(renewNow),
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

  async function renewNow(): Promise<void> {
    const next = await read(loaded()).catch((error: unknown) => ({
      ...trust,
      warnings: [`Keeping the trusted CAs as they were: ${reasonOf(error)}`],
    }));
    const same = isDeepStrictEqual(next.ca, trust.ca);
    // The list and its file change together.
    if (!same) kept = undefined;
    trust = next;
    tell();
    if (!same) changed();
    // A stat tells what reading and hashing the file would.
    if (kept === undefined || (await stampOf(kept.path)) !== kept.stamp) await keep();
  }

  async function keep(): Promise<void> {
    const path = await keepTrustFile(stateFolder, trust.ca);
    kept = path === undefined ? undefined : { path, stamp: await stampOf(path) };
  }

  /** Every pass reads them; what is wrong with them is told once. */
  function tell(): void {
    for (const warning of trust.warnings) if (!told.includes(warning)) log.warn(warning);
    told = trust.warnings;
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
