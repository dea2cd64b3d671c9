import { statSync } from "node:fs";
import { clearTimeout, setTimeout } from "node:timers";
import { errnoOf } from "../files/atomic.ts";

export interface FileWatch {
  /**
   * Looks whether the file is another than at the last look; one stat. Whoever
   * has a timer calls it.
   */
  look(): void;
  close(): void;
}

/**
 * Calls `changed` when the file at `path` is another than before: written in
 * place, replaced, reached by another link, made, gone. What it asks is what an
 * open() would find, so every way of saving shows, on every file system and
 * without a folder being watched. A file that has changed must lie still for
 * `settleMs` before it counts: an editor may be in the middle of its work. The
 * first look counts as a change, for what happened before there was a watch.
 * Anything but a file (a pipe, which can be read once) is left alone. `changed`
 * must not reject; there is no look while it works.
 */
export function watchFile(
  path: string,
  changed: () => Promise<void>,
  { settleMs = 300 } = {},
): FileWatch {
  let known = "";
  let timer: ReturnType<typeof setTimeout> | undefined;
  let working = false;
  let closed = false;

  return {
    look() {
      if (timer !== undefined || working || closed) return;
      const seen = signatureOf(path);
      if (seen !== undefined && seen !== known) waitForRest(seen);
    },
    close() {
      closed = true;
      clearTimeout(timer);
    },
  };

  function waitForRest(seen: string): void {
    timer = setTimeout(async () => {
      timer = undefined;
      const now = signatureOf(path) ?? known;
      if (now !== seen) return now === known ? undefined : waitForRest(now);
      known = now;
      working = true;
      await changed();
      working = false;
    }, settleMs);
    timer.unref();
  }
}

/**
 * Differs where the content may; undefined where there is something that is no
 * file.
 */
function signatureOf(path: string): string | undefined {
  try {
    const found = statSync(path, { bigint: true });
    const { dev, ino, size, mtimeNs, ctimeNs } = found;
    return found.isFile() ? [dev, ino, size, mtimeNs, ctimeNs].join(" ") : undefined;
  } catch (error) {
    return errnoOf(error) ?? String(error);
  }
}
