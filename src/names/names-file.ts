import { z } from "zod/mini";
import type { Subject } from "../exposure/verdict.ts";
import { moveAside } from "../files/aside.ts";
import { readFileIfThere, writeFileAtomic } from "../files/atomic.ts";
import { reasonOf } from "../model/error.ts";

/** What the daemon knows about names beyond their addresses. */
export interface KnownNames {
  /** Names that `ngrokd pause` has taken away. */
  readonly paused: readonly Subject[];
  /** Names that the name servers lead elsewhere, with the addresses. */
  readonly elsewhere: Readonly<Record<Subject, readonly string[]>>;
  /** Served names about which the name servers have said nothing yet. */
  readonly open: readonly Subject[];
  /** Zones of wildcards that mean nothing else. */
  readonly free: readonly Subject[];
  /** Whether the names of an earlier version were looked up and reported. */
  readonly reported: boolean;
}

export const nothingKnown: KnownNames = {
  paused: [],
  elsewhere: {},
  open: [],
  free: [],
  reported: false,
};

const subject = z.string().check(z.regex(/^(?:\*\.)?[a-z0-9_.-]{1,253}$/));
const schema = z.object({
  paused: z.array(subject),
  elsewhere: z.record(subject, z.array(z.string().check(z.regex(/^[0-9a-f.:]{2,45}$/)))),
  open: z.array(subject),
  free: z.array(subject),
  reported: z.boolean(),
});

/**
 * Reads the file; undefined if there is none. A file that cannot be used counts
 * as one without names, and `warning` says why. If its content is the reason,
 * it is moved aside, but only if the caller `keeps` the file. Never rejects.
 */
export async function readKnownNames(
  path: string,
  keeps: boolean,
): Promise<{ readonly known: KnownNames | undefined; readonly warning?: string }> {
  const unusable = (reason: string) => ({
    known: nothingKnown,
    warning: `"${path}" cannot be used (${reason}); no name is paused, and names are looked up again`,
  });
  let text: string | undefined;
  try {
    text = await readFileIfThere(path);
  } catch (error) {
    return unusable(reasonOf(error));
  }
  try {
    return { known: text === undefined ? undefined : schema.parse(JSON.parse(text)) };
  } catch (error) {
    const reason = reasonOf(error).split("\n", 1)[0] ?? "";
    return unusable(keeps ? `${reason}; ${await moveAside(path, new Date())}` : reason);
  }
}

/** Rejects with NgrokdError `permission` or `state`. */
export async function writeKnownNames(path: string, known: KnownNames): Promise<void> {
  await writeFileAtomic(path, `${JSON.stringify(known, undefined, 2)}\n`, { mode: 0o644 });
}
