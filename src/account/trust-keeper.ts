import { X509Certificate } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import type { Loaded } from "../config/load.ts";
import type { Problem } from "../config/problem.ts";
import { stampOf } from "../files/stamp.ts";
import { fingerprintsOf, keepCa, keptCa, type Published } from "../ingress/published-ca.ts";
import { loadTrust, type Trust } from "../ingress/trust.ts";
import { keepTrustFile } from "../ingress/trust-file.ts";
import { distinguishedName } from "../model/distinguished-name.ts";
import { isNgrokdError, reasonOf } from "../model/error.ts";
import type { Log } from "../model/log.ts";
import { quote } from "../model/parsed.ts";
import { createSerial } from "../model/serial.ts";

/**
 * The CAs that the ingress is verified against: the system's, those in ngrok's
 * folder, and the configured one. They are read again at every pass.
 */
export interface TrustKeeper {
  readonly ca: Trust["ca"];
  /** The same CAs in a file; see {@link keepTrustFile}. */
  readonly caFile: string | undefined;
  /** What is trusted as soon as the ingress shows it. */
  readonly published: Published;
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
  /** Called when a CA is trusted that the ingress has shown. */
  readonly adopted: () => void;
}

/** Rejects with NgrokdError if the configured CA cannot be read. */
export async function createTrustKeeper({
  loaded,
  stateFolder,
  log,
  adopted,
}: TrustDeps): Promise<TrustKeeper> {
  let trust = await read(loaded());
  let file: { readonly path: string; readonly stamp: string } | undefined;
  const tell = createTeller(log);
  let wasGone = false;
  const inTurn = createSerial();
  const adoption = createAdoption({ loaded, log, inTurn, take });
  tell(trust);

  return {
    get ca() {
      return trust.ca;
    },
    get caFile() {
      return file?.path;
    },
    get published() {
      return adoption.published;
    },
    get warnings() {
      return trust.warnings;
    },
    // One after the other: a read from before a reload must not end after it.
    reread: () => inTurn(rereadNow),
  };

  function take(pem: string): void {
    trust = { ...trust, ca: [...new Set([...trust.ca, pem])] };
    file = undefined;
    adopted();
  }

  async function rereadNow(): Promise<void> {
    const next = adoption.with(await read(loaded()).then(found, withoutThem));
    const same = isDeepStrictEqual(next.ca, trust.ca);
    // The list and its file change together.
    if (!same) file = undefined;
    trust = next;
    tell(trust);
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
      const kept = keptCa(loaded().config.server);
      const { ca, sources, warnings } = await loadTrust({ kept });
      const warning = `The configured CA is no longer trusted, since it is gone: ${reasonOf(error)}`;
      return { ca, sources, warnings: [warning, ...leftOut(warnings)] };
    }
    return { ...trust, warnings: [`Keeping the trusted CAs as they were: ${reasonOf(error)}`] };
  }

  async function saveFile(): Promise<void> {
    const path = await keepTrustFile(stateFolder, trust.ca);
    file = path === undefined ? undefined : { path, stamp: await stampOf(path) };
  }
}

/** Logs each fault of the CAs once, although every pass reads them. */
function createTeller(log: Log): (trust: Trust) => void {
  let logged: readonly string[] = [];
  return ({ warnings }) => {
    for (const warning of warnings) if (!logged.includes(warning)) log.warn(warning);
    logged = warnings;
  };
}

interface Adoption {
  readonly published: Published;
  /** The same trust, with the CAs that are adopted and not in a file. */
  with(trust: Trust): Trust;
}

/** `take` trusts a CA from now on. */
function createAdoption({
  loaded,
  log,
  inTurn,
  take,
}: Pick<TrustDeps, "loaded" | "log"> & {
  readonly inTurn: ReturnType<typeof createSerial>;
  readonly take: (pem: string) => void;
}): Adoption {
  /** CAs that are not kept (yet); they are trusted while this daemon runs. */
  const unkept = new Set<string>();
  let published = { fingerprints: fingerprintsOf(loaded().config.server), adopt };

  /** Dials that fail together may all call it. */
  function adopt(pem: string): void {
    const { subject, fingerprint256 } = new X509Certificate(pem);
    const kept = keptCa(loaded().config.server);
    if (unkept.has(pem) || !kept.fingerprints.includes(fingerprint256)) return;
    unkept.add(pem);
    log.info(
      `The ingress has shown the CA of ${quote(distinguishedName(subject))}, whose SHA-256 ` +
        `${fingerprint256} is a published one: it is trusted from now on`,
      { path: kept.path },
    );
    void inTurn(async () => {
      try {
        await keepCa(kept, pem);
        unkept.delete(pem);
      } catch (error) {
        log.warn(`The CA of the ingress is trusted until this daemon ends: ${reasonOf(error)}`);
      }
    });
    take(pem);
  }

  return {
    get published() {
      return published;
    },
    with(trust) {
      const fingerprints = fingerprintsOf(loaded().config.server);
      if (!isDeepStrictEqual(fingerprints, published.fingerprints))
        published = { fingerprints, adopt };
      const still = [...unkept].filter((pem) =>
        fingerprints.includes(new X509Certificate(pem).fingerprint256),
      );
      return { ...trust, ca: [...new Set([...trust.ca, ...still])] };
    },
  };
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

async function read({ config }: Loaded): Promise<Trust> {
  const { ingress_ca: extra } = config.server;
  const kept = keptCa(config.server);
  const found = await loadTrust(extra === "" ? { kept } : { kept, extra });
  return { ...found, warnings: leftOut(found.warnings) };
}

const leftOut = (warnings: readonly string[]): string[] =>
  warnings.map((warning) => `A CA file is left out: ${warning}`);
