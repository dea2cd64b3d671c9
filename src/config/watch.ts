import { stat } from "node:fs/promises";
import { clearTimeout, setTimeout } from "node:timers";
import { errnoOf } from "../files/atomic.ts";

export interface FileWatch {
  close(): void;
}

export interface FileWatchOptions {
  /** Between two looks. Milliseconds. */
  readonly everyMs?: number;
  /** How long a file that has changed must lie still before it counts: an editor may be in the middle of its work. Milliseconds. */
  readonly settleMs?: number;
}

/**
 * Calls `changed` when the file at `path` is another than before: written in place, replaced, reached by another link, made, gone. What
 * it asks is what an open() would find, so every way of saving shows, on every file system and without a folder being watched; a look
 * is one stat. The first look counts as a change, for what happened before there was a watch. Anything but a file (a pipe, which can be
 * read once) is left alone. `changed` must not reject; there is no look while it works.
 */
export function watchFile(path: string, changed: () => Promise<void>, options: FileWatchOptions = {}): FileWatch {
  const { everyMs = 1000, settleMs = 300 } = options;
  let known = "";
  let seen = "";
  let timer: ReturnType<typeof setTimeout>;
  let closed = false;
  lookIn(everyMs);

  return {
    close() {
      closed = true;
      clearTimeout(timer);
    },
  };

  function lookIn(ms: number): void {
    if (closed) return;
    timer = setTimeout(look, ms);
    timer.unref();
  }

  async function look(): Promise<void> {
    const now = (await signatureOf(path)) ?? known;
    const still = now === seen;
    seen = now;
    if (now !== known && still && !closed) {
      known = now;
      await changed();
    }
    lookIn(now === known ? everyMs : settleMs);
  }
}

/** Differs where the content may; undefined where there is something that is no file. */
async function signatureOf(path: string): Promise<string | undefined> {
  try {
    const found = await stat(path, { bigint: true });
    const { dev, ino, size, mtimeNs, ctimeNs } = found;
    return found.isFile() ? [dev, ino, size, mtimeNs, ctimeNs].join(" ") : undefined;
  } catch (error) {
    return errnoOf(error) ?? String(error);
  }
}
