/** The files of the daemon's state folder: identity, addresses, leftovers. */

import { readdir, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { type CertificateFacts, inspectCertificate, renewalDue } from "../cloud/certificate.ts";
import { identityPaths, type LoadedIdentity, loadIdentity } from "../cloud/registration.ts";
import { fileError, readFileIfThere } from "../files/atomic.ts";
import { stateFiles, stateFolderOf } from "../files/state-folder.ts";
import { absent } from "../files/sweep.ts";
import { type AssignmentReading, readAssignment } from "../machine/assignment-file.ts";
import { errnoOf } from "../model/errno.ts";
import { lifeText } from "../model/life.ts";
import type { Parsed } from "../model/parsed.ts";
import { type Finding, failure, ok, warning } from "./finding.ts";

export interface FileFacts {
  readonly path: string;
  /** Permission bits. */
  readonly mode: number;
  readonly uid: number;
}

/** The files beside the daemon's certificate. */
export interface StateFacts {
  readonly folder: FileFacts | undefined;
  readonly key: FileFacts | undefined;
  readonly identity: LoadedIdentity;
  /** Undefined without a certificate. */
  readonly certificate: Parsed<CertificateFacts> | undefined;
  /** The content of ip_mappings.json; undefined without the file. */
  readonly assignment: AssignmentReading;
  readonly assignmentPath: string;
}

/**
 * Reads the state files. Rejects with NgrokdError `permission` or `state` if an
 * existing file cannot be read.
 */
export async function lookAtState(server: {
  readonly client_cert: string;
  readonly client_key: string;
}): Promise<StateFacts> {
  const paths = identityPaths(server);
  const stateFolder = stateFolderOf(server);
  const assignmentPath = stateFiles(stateFolder).assignment;
  const [folder, key, identity, certificate, assignment] = await Promise.all([
    factsOf(stateFolder),
    factsOf(paths.key),
    loadIdentity(paths),
    readFileIfThere(paths.cert),
    readAssignment(assignmentPath),
  ]);
  return {
    folder,
    key,
    identity,
    certificate: certificate === undefined ? undefined : inspectCertificate(certificate),
    assignment,
    assignmentPath,
  };
}

async function factsOf(path: string): Promise<FileFacts | undefined> {
  try {
    const { mode, uid } = await stat(path);
    return { path, mode: mode & 0o7777, uid };
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw fileError(`Cannot read "${path}"`, error);
  }
}

/**
 * Pure: modes, owners and contents of the state files. `owners`: the user ids
 * that may own the key; undefined if the system has no user ids.
 */
export function judgeState(facts: StateFacts, owners: readonly number[] | undefined): Finding[] {
  const { folder, key, identity, assignment, assignmentPath } = facts;
  const findings: Finding[] = [];
  if (key !== undefined && owners !== undefined) {
    if ((key.mode & 0o077) !== 0) {
      const mode = key.mode.toString(8).padStart(4, "0");
      findings.push(
        failure(
          "state",
          `other users may use the private key "${key.path}" (its mode is ${mode})`,
          `run \`chmod 600 ${key.path}\``,
        ),
      );
    }
    if (!owners.includes(key.uid)) {
      findings.push(
        failure(
          "state",
          `"${key.path}" belongs to the user with ID ${key.uid}`,
          `run \`chown ${owners[0] ?? 0} ${key.path}\``,
        ),
      );
    }
  }
  if (identity.kind === "unusable") {
    findings.push(
      failure(
        "state",
        identity.reason,
        "the daemon registers this machine again by itself; `ngrokd refresh` asks it to, now",
      ),
    );
  }
  if (identity.kind === "none") {
    findings.push(
      warning(
        "state",
        "this machine is not registered yet",
        "the daemon registers it once it runs and has an API key",
      ),
    );
  }
  if (assignment !== undefined && !assignment.ok) {
    const fix = "the daemon moves it aside when it starts, and the names get new addresses";
    findings.push(
      failure("state", `"${assignmentPath}" cannot be understood, since ${assignment.reason}`, fix),
    );
  }
  if (assignment?.ok && assignment.value.skipped.length > 0) {
    findings.push(
      warning(
        "state",
        `entries of "${assignmentPath}" do not count: ${assignment.value.skipped.slice(0, 3).join("; ")}`,
      ),
    );
  }
  if (findings.length > 0) return findings;
  return [
    ok(
      "state",
      `in "${folder?.path ?? ""}": key (${modeText(key)}), certificate and operator ID fit each other`,
    ),
  ];
}

const modeText = (file: FileFacts | undefined): string =>
  (file?.mode ?? 0).toString(8).padStart(4, "0");

/**
 * Pure: the rest of the certificate's lifetime. `trouble`: the reason of a
 * failed renewal, or empty.
 */
export function judgeCertificate(
  certificate: StateFacts["certificate"],
  now: Date,
  trouble: string,
): Finding[] {
  if (!certificate?.ok) return []; // The finding about the state files reports it.
  const { notBefore, notAfter } = certificate.value;
  const until = notAfter.toISOString().slice(0, 16).replace("T", " ");
  const byDaemon =
    trouble === ""
      ? "a running daemon renews it by itself; `ngrokd refresh-cert` asks it to, now"
      : `the daemon could not renew it: ${trouble}`;
  if (notAfter <= now) return [failure("certificate", `it expired on ${until} UTC`, byDaemon)];
  if (notBefore > now) {
    const from = notBefore.toISOString().slice(0, 16).replace("T", " ");
    return [
      failure(
        "certificate",
        `it is not valid before ${from} UTC`,
        "is the clock of this machine right?",
      ),
    ];
  }
  const text = `valid for ${lifeText(notAfter.getTime() - now.getTime())}, until ${until} UTC`;
  return renewalDue(certificate.value, now)
    ? [warning("certificate", `${text}; less than a third of its life`, byDaemon)]
    : [ok("certificate", text)];
}

export interface LeftoverFacts {
  /** Temporary files that are too old for a write in progress. */
  readonly temporary: readonly string[];
  /** A write of the hosts file was interrupted. */
  readonly interrupted: boolean;
  /** Folders that could not be read. */
  readonly unread: readonly string[];
}

/** A younger temporary file may belong to a write in progress. */
const writingMs = 60_000;

/** Finds the traces of interrupted writes in folders. Never rejects. */
export async function lookForLeftovers(
  folders: Iterable<string>,
  stateFolder: string,
  now: Date,
): Promise<LeftoverFacts> {
  const temporary: string[] = [];
  const unread: string[] = [];
  let interrupted = false;
  const { hostsBefore, hostsAfter } = stateFiles(stateFolder);
  for (const folder of new Set(folders)) {
    try {
      const names = await readdir(folder);
      interrupted ||=
        folder === stateFolder &&
        names.includes(basename(hostsBefore)) &&
        names.includes(basename(hostsAfter));
      for (const name of names.filter((one) => /^\.[0-9a-f]{12}\.ngrokd\.tmp$/.test(one))) {
        const path = join(folder, name);
        // A file that has vanished meanwhile is not a leftover.
        const found = await stat(path).catch(absent);
        if (found !== undefined && now.getTime() - found.mtimeMs > writingMs) temporary.push(path);
      }
    } catch (error) {
      if (errnoOf(error) !== "ENOENT") unread.push(folder);
    }
  }
  return { temporary, interrupted, unread };
}

/**
 * Pure: leftovers of a crash. `stale`: the number of names in ngrokd's section
 * of the hosts file while no daemon runs. `settings`: the places of other
 * settings that a daemon has left.
 */
export function judgeLeftovers(
  { temporary, interrupted, unread }: LeftoverFacts,
  stale: number,
  hostsPath: string,
  settings: readonly string[] = [],
): Finding[] {
  const findings: Finding[] = [];
  const fix = "start the daemon, which cleans up first, or remove them with `sudo ngrokd undo`";
  if (settings.length > 0)
    findings.push(
      warning(
        "leftovers",
        `a daemon that did not stop properly has left its settings in ${settings.join(" and ")}`,
        fix,
      ),
    );
  if (stale > 0) {
    const what = stale === 1 ? "a name that leads" : `${stale} names that lead`;
    findings.push(
      warning(
        "leftovers",
        `"${hostsPath}" has ${what} nowhere, left by a daemon that did not stop properly`,
        fix,
      ),
    );
  }
  if (interrupted) {
    findings.push(
      warning(
        "leftovers",
        `a write of "${hostsPath}" was cut off`,
        "start the daemon: it finishes or undoes the write",
      ),
    );
  }
  if (temporary.length > 0) {
    const shown = temporary.slice(0, 3).join(" ") + (temporary.length > 3 ? " …" : "");
    findings.push(
      warning(
        "leftovers",
        `unfinished files of a write that was cut off: ${shown}`,
        "the daemon removes them when it starts; they are not needed",
      ),
    );
  }
  if (findings.length > 0) return findings;
  return unread.length > 0
    ? [
        warning(
          "leftovers",
          `not checked in ${unread.map((path) => `"${path}"`).join(", ")}: permission denied`,
          "run this command with sudo",
        ),
      ]
    : [ok("leftovers", "none: no unfinished files, no names or settings of a dead daemon")];
}
