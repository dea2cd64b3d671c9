import { createHash } from "node:crypto";
import { readdir, readFile, unlink } from "node:fs/promises";
import { join } from "node:path";
import { writeFileAtomic } from "../files/atomic.ts";

/**
 * Keeps the trusted CAs in one file of `folder`, which must be the daemon's
 * alone, for dials that would otherwise parse hundreds of roots each. Its name
 * depends on its content, since a runtime may cache the file by name. Files of
 * earlier content are removed. Returns the path, or undefined if the file
 * cannot be kept, which only costs time.
 */
export async function keepTrustFile(
  folder: string,
  ca: readonly string[],
): Promise<string | undefined> {
  const text = ca.map((pem) => `${pem.trimEnd()}\n`).join("");
  if (text === "") return undefined;
  const name = `trusted-${createHash("sha256").update(text).digest("hex")}.pem`;
  const path = join(folder, name);
  try {
    // A changed file would be trusted.
    const found = await readFile(path, "utf8").catch(() => undefined);
    if (found !== text) await writeFileAtomic(path, text, { mode: 0o644 });
    const others = (await readdir(folder)).filter((other) => pattern.test(other) && other !== name);
    for (const other of others) await unlink(join(folder, other));
    return path;
  } catch {
    return undefined;
  }
}

const pattern = /^trusted-[0-9a-f]{64}\.pem$/;
