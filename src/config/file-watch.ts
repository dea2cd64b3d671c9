import { statSync } from "node:fs";
import { clearTimeout, setTimeout } from "node:timers";
import { stampIn } from "../files/stamp.ts";
import { errnoOf } from "../model/errno.ts";

export interface FileWatch {
  /**
   * Compares the file with the last check; costs one stat. The owner of a timer
   * calls it.
   */
  check(): void;
  close(): void;
}

/**
 * Calls `changed` after the file at `path` was written, replaced, created,
 * removed, or reached through another link. Each check stats the file that an
 * open() would find. So it detects every way to save a file, on every file
 * system, without watching a folder.
 *
 * A changed file must rest for `settleMs` before it counts, since an editor may
 * still be writing. The first check counts as a change, to cover the time
 * before the watch. Only regular files are watched: a pipe, for example, can be
 * read only once. `changed` must not reject. No check runs while it works.
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
    check() {
      if (timer !== undefined || working || closed) return;
      const seen = stampOrErrno(path);
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
      const now = stampOrErrno(path) ?? known;
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
 * A text that changes if the content may have changed. Undefined if `path`
 * leads to something other than a regular file.
 */
function stampOrErrno(path: string): string | undefined {
  try {
    const found = statSync(path, { bigint: true });
    return found.isFile() ? stampIn(found) : undefined;
  } catch (error) {
    return errnoOf(error) ?? String(error);
  }
}
