import { createHash } from "node:crypto";
import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Api } from "../cloud/api.ts";
import { isUnknownToNgrok } from "../cloud/refusal.ts";
import { deleteTwins, identityPaths, savedOperatorId } from "../cloud/registration.ts";
import type { Loaded } from "../config/loaded.ts";
import { isAlive } from "../control/alive.ts";
import { fileError, readFileIfThere, writeFileAtomic } from "../files/atomic.ts";
import { reasonOf } from "../model/error.ts";
import type { Log } from "../model/log.ts";
import { randomHex } from "../model/random.ts";
import type { Net } from "../net/types.ts";
import { identitySettings } from "./place.ts";

/** A folder for the identity of one run. */
export interface Ephemeral {
  readonly folder: string;
  /** The folder is no longer marked as in use. */
  close(): void;
  /**
   * The same after a failure. A folder without an account is removed, since no
   * later run can use it.
   */
  abandon(): Promise<void>;
}

const folderOf = (home: string): string => join(home, "runs");
const aliveSocket = (folder: string): string => join(folder, "alive.sock");
const accountFile = (folder: string): string => join(folder, "account");

/**
 * Makes the folder of this run. A socket in it listens as long as this process
 * lives: so a later run recognises what a killed one has left. Rejects with
 * NgrokdError `permission` or `state`.
 */
export async function createEphemeral(net: Net, home: string): Promise<Ephemeral> {
  const folder = join(folderOf(home), randomHex(4));
  await mkdir(folder, { recursive: true, mode: 0o700 }).catch((error: unknown) => {
    throw fileError(`Cannot make the folder "${folder}"`, error);
  });
  const listener = await net.listen({ path: aliveSocket(folder) }, (conn) => conn.close());
  return {
    folder,
    close: () => listener.close(),
    async abandon() {
      const mark = await readFileIfThere(accountFile(folder)).catch(() => "");
      listener.close();
      if (mark === undefined) await rm(folder, { recursive: true, force: true });
    },
  };
}

/**
 * Marks the account of a run, before it asks ngrok for anything. The key of
 * another account cannot delete the operator, and must not forget it.
 */
export async function markAccount(folder: string, { config }: Loaded): Promise<void> {
  await writeFileAtomic(accountFile(folder), accountMark(config.api), { mode: 0o600 });
}

/** The key itself is not kept. */
const accountMark = ({ url, key }: Loaded["config"]["api"]): string =>
  createHash("sha256").update(`${url}\n${key}`).digest("hex");

/**
 * Deletes the operators that killed runs of this account have left, and their
 * folders. Never rejects: the next run tries again.
 */
export async function sweepEphemeral(
  net: Net,
  home: string,
  { api, loaded, log }: { api: Api; loaded: Loaded; log: Log },
): Promise<void> {
  const names = await readdir(folderOf(home)).catch(() => []);
  for (const name of names) {
    const folder = join(folderOf(home), name);
    if (await isAlive(net, aliveSocket(folder))) continue;
    const mark = await readFileIfThere(accountFile(folder)).catch(() => undefined);
    // Without a mark, a run may be about to begin there.
    if (mark === accountMark(loaded.config.api)) await deleteForGood(api, folder, log);
  }
}

/**
 * Deletes the operator of a run, and then its folder. Never rejects: if ngrok
 * cannot be asked, the folder stays for the next run.
 */
export async function deleteForGood(api: Api | undefined, folder: string, log: Log): Promise<void> {
  const paths = identityPaths(identitySettings(folder));
  try {
    const signal = AbortSignal.timeout(deleteMs);
    const id = await savedOperatorId(paths);
    const keyPem = await readFileIfThere(paths.key);
    if (api === undefined && keyPem !== undefined) throw new Error("there is no API key");
    if (api !== undefined && id !== undefined)
      await api.deleteOperator(id, signal).catch((error: unknown) => {
        if (!isUnknownToNgrok(error)) throw error;
      });
    // The run may have ended before the operator's id was saved.
    else if (api !== undefined && keyPem !== undefined)
      await deleteTwins(api, { ...nobody, keyPem }, log, signal);
    await rm(folder, { recursive: true, force: true });
    if (id !== undefined) log.info(`Deleted the operator ${id}, which was for one run`);
  } catch (error) {
    log.warn(`The operator of this run is not deleted: ${reasonOf(error)}`, {
      hint: "the next `ngrokd connect` with this key deletes it",
    });
  }
}

const nobody = { operatorId: "", certPem: "", ingressEndpoint: undefined };
/** Nobody waits for long at the end of a command. */
const deleteMs = 10_000;
