import { fstatSync } from "node:fs";

/**
 * Whether a descriptor leads to systemd's journal. JOURNAL_STREAM has the
 * device and the inode of the unit's stream (systemd.exec(5)). A child with
 * another stderr inherits the variable too.
 */
export function isJournal(stream: string | undefined, fd: number): boolean {
  try {
    const { dev, ino } = fstatSync(fd);
    return stream === `${dev}:${ino}`;
  } catch {
    return false;
  }
}
