import { fstatSync, statSync } from "node:fs";
import { devNull } from "node:os";

/**
 * Whether the descriptor is a terminal; not if it is closed. node:tty loads the
 * runtime's sockets, a fifth of the time of a short command. So it is loaded
 * only for a device other than /dev/null.
 */
export const isTerminal = (fd: number): boolean =>
  mayBeTerminal(fd) && process.getBuiltinModule("node:tty").isatty(fd);

function mayBeTerminal(fd: number): boolean {
  try {
    const file = fstatSync(fd);
    return file.isCharacterDevice() && file.rdev !== statSync(devNull).rdev;
  } catch {
    return false;
  }
}
