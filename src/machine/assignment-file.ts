import { link, readFile, stat } from "node:fs/promises";
import type { Assignment } from "../exposure/allocate.ts";
import { moveAside, nameAside } from "../files/aside.ts";
import { fileError, readFileIfThere, writeFileAtomic } from "../files/atomic.ts";
import { errnoOf } from "../model/errno.ts";
import { reasonOf } from "../model/error.ts";
import { type Hostname, parseHostname } from "../model/hostname.ts";
import { type Ip, parseIp } from "../model/ip.ts";
import { type Parsed, parsed, quote, unparsed } from "../model/parsed.ts";

/** 64 MiB: more than the longest file that saveAssignment can write. */
const sizeLimit = 64 * 1024 * 1024;

/** What the file has. */
export interface SavedNames {
  readonly assignment: Assignment;
  /**
   * Those of the names that were asked for below a wildcard, in the order of
   * the file.
   */
  readonly asked: ReadonlySet<Hostname>;
}

/**
 * Loads the assignment from its file. The format is that of the Go program,
 * `{"host": "127.0.0.2"}`, and the order of the names counts (see Assignment).
 * A name below a wildcard has the key `wildcard:<name>`; the Go program has the
 * wildcard's zone there, which is below no wildcard and does no harm. A missing
 * file is an empty assignment.
 *
 * A file that cannot be understood is moved aside to `<path>.damaged-<time>`
 * and counts as empty. So is a file with `"version": <number>`, which this
 * format does not have. A single bad entry is left out, and a copy of the file
 * is kept under such a name too. `warning` describes this in one sentence.
 * Rejects with NgrokdError `permission` or `state` if the file cannot be read.
 */
export async function loadAssignment(
  path: string,
  now = new Date(),
): Promise<SavedNames & { warning?: string }> {
  const content = await readAssignment(path);
  if (content === undefined) return nothing;
  if (!content.ok) {
    const found = `"${path}" cannot be understood, since ${content.reason}`;
    const aside = await moveAside(path, now);
    return { ...nothing, warning: `${found}; ${aside}, and the names get new addresses` };
  }
  const { skipped, ...saved } = content.value;
  if (skipped.length === 0) return saved;
  const some = skipped.slice(0, 3).join("; ") + (skipped.length > 3 ? "; …" : "");
  const leftOut = `Left out ${skipped.length} of the entries of "${path}"`;
  return { ...saved, warning: `${leftOut} (${await keepCopy(path, now)}): ${some}` };
}

const nothing: SavedNames = { assignment: new Map(), asked: new Set() };
const askedPrefix = "wildcard:";

/**
 * The content of such a file, with a sentence for each entry that is left out.
 * Undefined if there is no file.
 */
export type AssignmentReading =
  | Parsed<SavedNames & { readonly skipped: readonly string[] }>
  | undefined;

/**
 * Reads the file and leaves it as it is. Rejects with NgrokdError `permission`
 * or `state` if it cannot be read.
 */
export async function readAssignment(path: string): Promise<AssignmentReading> {
  const text = await readText(path);
  return text?.ok === true ? parseAssignment(text.value) : text;
}

/**
 * Writes the assignment atomically (0644) if the file differs. `asked` are the
 * names below wildcards. Returns whether it was written. Rejects with
 * NgrokdError `permission` or `state`.
 */
export async function saveAssignment(
  path: string,
  assignment: Assignment,
  asked: ReadonlySet<Hostname> = new Set(),
): Promise<boolean> {
  // An object keeps its keys in order unless one is a whole number, and no
  // Hostname is.
  const keyOf = (name: Hostname): string => (asked.has(name) ? `${askedPrefix}${name}` : name);
  const entries = [...assignment].map(([name, ip]) => [keyOf(name), ip]);
  const text = `${JSON.stringify(Object.fromEntries(entries), undefined, 2)}\n`;
  if ((await readFileIfThere(path)) === text) return false;
  await writeFileAtomic(path, text, { mode: 0o644 });
  return true;
}

async function readText(path: string): Promise<Parsed<string> | undefined> {
  try {
    const info = await stat(path);
    if (!info.isFile()) return unparsed("it is not a regular file");
    if (info.size > sizeLimit) return unparsed(`it is ${info.size} bytes long`);
    return parsed(new TextDecoder().decode(await readFile(path)));
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw fileError(`Cannot read "${path}"`, error);
  }
}

function parseAssignment(text: string): NonNullable<AssignmentReading> {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch (error) {
    return unparsed(`it is not JSON (${quote(reasonOf(error))})`);
  }
  if (typeof content !== "object" || content === null || Array.isArray(content))
    return unparsed("it is not a JSON object");
  if ("version" in content && typeof content.version === "number")
    return unparsed(
      `its format has the version ${content.version}, which this ngrokd does not know`,
    );
  const assignment = new Map<Hostname, Ip>();
  const asked = new Set<Hostname>();
  const skipped: string[] = [];
  for (const [key, value] of Object.entries(content)) {
    const isAsked = key.startsWith(askedPrefix);
    const name = parseHostname(isAsked ? key.slice(askedPrefix.length) : key);
    const ip =
      typeof value === "string"
        ? parseIp(value)
        : unparsed(`the address of ${quote(key)} is not a string`);
    if (!name.ok) skipped.push(name.reason);
    else if (!ip.ok) skipped.push(ip.reason);
    else if (assignment.has(name.value)) skipped.push(`${quote(key)} is there twice`);
    else {
      assignment.set(name.value, ip.value);
      if (isAsked) asked.add(name.value);
    }
  }
  return parsed({ assignment, asked, skipped });
}

/**
 * Gives the file a second name, so that the next save does not lose it. A file
 * that has a second name already needs no other.
 */
async function keepCopy(path: string, now: Date): Promise<string> {
  try {
    if ((await stat(path)).nlink > 1) return "kept as it was";
    const aside = await nameAside(path, now);
    await link(path, aside);
    return `kept as it was in "${aside}"`;
  } catch (error) {
    return `no copy of it could be kept: ${reasonOf(error)}`;
  }
}
