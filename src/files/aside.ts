import { lstat, rename } from "node:fs/promises";
import { errnoOf } from "../model/errno.ts";
import { reasonOf } from "../model/error.ts";

/**
 * Moves a state file that cannot be understood to `<path>.damaged-<time>`, so
 * that the next save does not lose it. Returns where it is, as a part of a
 * sentence. Never rejects.
 */
export async function moveAside(path: string, now: Date): Promise<string> {
  try {
    const aside = await nameAside(path, now);
    await rename(path, aside);
    return `it was moved aside to "${aside}"`;
  } catch (error) {
    return `it could not be moved aside (${reasonOf(error)})`;
  }
}

/**
 * A free name for a damaged file. rename() would replace another file silently.
 * Only one daemon works in the folder, so the name stays free.
 */
export async function nameAside(path: string, now: Date): Promise<string> {
  const wish = `${path}.damaged-${now.toISOString().replaceAll(/[-:]|\.\d+/g, "")}`;
  for (let n = 1; ; n++) {
    const name = n === 1 ? wish : `${wish}-${n}`;
    try {
      await lstat(name);
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return name;
      throw error;
    }
  }
}
