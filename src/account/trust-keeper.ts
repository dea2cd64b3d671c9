import { isDeepStrictEqual } from "node:util";
import type { Loaded } from "../config/load.ts";
import type { Problem } from "../config/problem.ts";
import { writeFileAtomic } from "../files/atomic.ts";
import { stampOf } from "../files/stamp.ts";
import type { Introduction } from "../ingress/introduction.ts";
import { loadTrust, type ShownCa, type Trust, trustOptions } from "../ingress/trust.ts";
import { keepTrustFile } from "../ingress/trust-file.ts";
import { isNgrokdError, reasonOf } from "../model/error.ts";
import type { Log } from "../model/log.ts";
import { createSerial } from "../model/serial.ts";

/**
 * The CAs that the ingress is verified against: the system's, those in ngrok's
 * folder, one that the ingress has shown, and the configured one. They are read
 * again at every pass.
 */
export interface TrustKeeper {
  readonly ca: Trust["ca"];
  /** The same CAs in a file; see {@link keepTrustFile}. */
  readonly caFile: string | undefined;
  /** Keeps an accepted CA that the ingress shows. */
  readonly introduction: Introduction;
  /** Why files among them cannot be used, a sentence each. */
  readonly warnings: readonly string[];
  /**
   * Reads the CAs again. If that fails, they stay unchanged, with a warning. If
   * a configured CA is missing twice in a row, it is no longer trusted. Never
   * rejects.
   */
  reread(): Promise<void>;
}

export interface TrustDeps {
  readonly loaded: () => Loaded;
  readonly stateFolder: string;
  readonly log: Log;
  /** Called when a CA that the ingress has shown is trusted. */
  readonly changed?: () => void;
}

/** Rejects with NgrokdError if the configured CA cannot be read. */
export async function createTrustKeeper({
  loaded,
  stateFolder,
  log,
  changed,
}: TrustDeps): Promise<TrustKeeper> {
  let trust = await read(loaded());
  let file: { readonly path: string; readonly stamp: string } | undefined;
  let logged: readonly string[] = [];
  let wasGone = false;
  const inTurn = createSerial();
  const shown = (): ShownCa => trustOptions(loaded().config.server).shown;
  const introduction = createIntroduction({
    shown,
    log,
    isTrusted: (pem) => trust.ca.includes(pem),
    kept: () => rereadNow().then(changed),
    inTurn,
  });
  tell();

  return {
    get ca() {
      return trust.ca;
    },
    get caFile() {
      return file?.path;
    },
    introduction,
    get warnings() {
      return trust.warnings;
    },
    // One after the other: a read from before a reload must not end after it.
    reread: () => inTurn(rereadNow),
  };

  async function rereadNow(): Promise<void> {
    const next = await read(loaded()).then(found, withoutThem);
    const same = isDeepStrictEqual(next.ca, trust.ca);
    // The list and its file change together.
    if (!same) file = undefined;
    trust = next;
    tell();
    // A stat is cheaper than reading and hashing the file.
    if (file === undefined || (await stampOf(file.path)) !== file.stamp) await saveFile();
  }

  function found(next: Trust): Trust {
    wasGone = false;
    return next;
  }

  /**
   * A deleted CA stays trusted for one pass only. That is enough time to put
   * another one in its place.
   */
  async function withoutThem(error: unknown): Promise<Trust> {
    const isGone = isNgrokdError(error) && error.details.isGone === true;
    const isDeleted = isGone && wasGone;
    wasGone = isGone;
    if (isDeleted) {
      const { ca, sources, warnings } = await loadTrust({ shown: shown() });
      const warning = `The configured CA is no longer trusted, since it is gone: ${reasonOf(error)}`;
      return { ca, sources, warnings: [warning, ...leftOut(warnings)] };
    }
    return { ...trust, warnings: [`Keeping the trusted CAs as they were: ${reasonOf(error)}`] };
  }

  async function saveFile(): Promise<void> {
    const path = await keepTrustFile(stateFolder, trust.ca);
    file = path === undefined ? undefined : { path, stamp: await stampOf(path) };
  }

  /** Logs each fault of the CAs once, although every pass reads them. */
  function tell(): void {
    for (const warning of trust.warnings) if (!logged.includes(warning)) log.warn(warning);
    logged = trust.warnings;
  }
}

/**
 * Why other settings cannot be used: their CA cannot be read. A daemon would
 * not start with them.
 */
export async function checkTrust(next: Loaded, current: Loaded): Promise<readonly Problem[]> {
  const key = "server.ingress_ca";
  if (next.config.server.ingress_ca === current.config.server.ingress_ca) return [];
  try {
    await read(next);
    return [];
  } catch (error) {
    const message = `${key} cannot be used: ${reasonOf(error)}`;
    return [{ kind: "wrong-value", source: next.path, key, message }];
  }
}

interface IntroductionDeps {
  readonly shown: () => ShownCa;
  readonly log: Log;
  readonly isTrusted: (pem: string) => boolean;
  readonly kept: () => Promise<void>;
  readonly inTurn: (work: () => Promise<void>) => Promise<void>;
}

function createIntroduction({
  shown,
  log,
  isTrusted,
  kept,
  inTurn,
}: IntroductionDeps): Introduction {
  let warned = false;

  return {
    accepts: (fingerprint256) => shown().fingerprints.includes(fingerprint256),
    keep: (pem) => inTurn(() => keep(pem)),
  };

  /** Many dials may meet the same CA at once. */
  async function keep(pem: string): Promise<void> {
    if (isTrusted(pem)) return;
    const { file } = shown();
    try {
      await writeFileAtomic(file, pem, { mode: 0o644 });
    } catch (error) {
      if (!warned) log.warn(`Cannot keep the CA that the ingress has shown: ${reasonOf(error)}`);
      warned = true;
      return;
    }
    log.info(
      `The ingress has shown a CA with a published fingerprint; it is kept in "${file}", and trusted from now on`,
    );
    await kept();
  }
}

async function read({ config }: Loaded): Promise<Trust> {
  const found = await loadTrust(trustOptions(config.server));
  return { ...found, warnings: leftOut(found.warnings) };
}

const leftOut = (warnings: readonly string[]): string[] =>
  warnings.map((warning) => `A CA file is left out: ${warning}`);
