import { writeSync } from "node:fs";
import process from "node:process";
import { type Key, keysIn } from "./keys.ts";

/**
 * The whole terminal for a command with keys. Whatever ends the program, except
 * SIGKILL, the terminal is as before. It is given back while the program is
 * stopped (Ctrl-Z, SIGTSTP).
 */
export interface FullScreen {
  /** Whether keys arrive: stdin is a terminal, too. */
  readonly hasKeys: boolean;
  size(): { readonly columns: number; readonly rows: number };
  /** Shows the lines. Only those that have changed are written, all at once. */
  draw(lines: readonly string[]): void;
  /** The next drawing writes every line. */
  forget(): void;
  /** Gives the terminal to the shell until the program goes on. */
  suspend(): void;
  end(): void;
}

export interface Surface {
  readonly feed: (text: string) => void;
  /** The line with no other effect than colours. */
  readonly clean: (line: string) => string;
  readonly columns: number | undefined;
  readonly rows?: number | undefined;
}

export interface FullScreenOptions {
  readonly onKey: (key: Key) => void;
  /** Draw again: the size has changed, or the program goes on. */
  readonly onChange: () => void;
}

/**
 * Pure: the text that turns the lines `before` into `after`; empty if they are
 * the same.
 */
export function changesOf(before: readonly string[], after: readonly string[]): string {
  const lines = Array.from({ length: Math.max(before.length, after.length) }, (_, i) => {
    const line = after[i] ?? "";
    // Erased before the line is written: after a line of the full width the
    // cursor still is on its last character.
    return line === (before[i] ?? "") ? "" : `\u001b[${i + 1};1H\u001b[K${line}`;
  });
  return lines.join("");
}

// As in list --watch: the alternate screen, no cursor, no automatic wrap.
const enter = "\u001b[?1049h\u001b[?25l\u001b[?7l\u001b[2J";
/** Emptied first: some terminals keep a part of it after a change of size. */
const leave = "\u001b[2J\u001b[H\u001b[?7h\u001b[?25h\u001b[?1049l";

export function openFullScreen(
  surface: Surface,
  { onKey, onChange }: FullScreenOptions,
): FullScreen {
  const { stdin, stdout } = process;
  const hasKeys = stdin.isTTY === true;
  let state: "shown" | "stopped" | "ended" = "stopped";
  let drawn: readonly string[] | undefined;

  const onInput = (bytes: Uint8Array): void => {
    for (const key of keysIn(new TextDecoder().decode(bytes))) if (state === "shown") onKey(key);
  };
  const show = (): void => {
    if (state !== "stopped") return;
    state = "shown";
    drawn = undefined;
    if (hasKeys) stdin.setRawMode(true);
    surface.feed(enter);
  };
  /** In one call, since nothing that waits is written after an exit. */
  const hide = (next: "stopped" | "ended"): void => {
    if (state === "shown") {
      if (hasKeys) stdin.setRawMode(false);
      atOnce(leave);
    }
    state = next;
  };
  const onExit = (): void => hide("ended");
  const onStop = (): void => {
    hide("stopped");
    process.kill(process.pid, "SIGSTOP");
  };
  const onContinue = (): void => {
    show();
    onChange();
  };
  const onResize = (): void => {
    drawn = undefined;
    onChange();
  };

  process.on("exit", onExit);
  process.on("SIGTSTP", onStop);
  process.on("SIGCONT", onContinue);
  stdout.on("resize", onResize);
  if (hasKeys) {
    stdin.on("data", onInput);
    stdin.resume();
  }
  show();
  return {
    hasKeys,
    size: () => ({ columns: surface.columns ?? 80, rows: surface.rows ?? 24 }),
    draw(given) {
      if (state !== "shown") return;
      const lines = given.map(surface.clean);
      const changes =
        drawn === undefined ? `\u001b[2J${changesOf([], lines)}` : changesOf(drawn, lines);
      if (changes !== "") surface.feed(changes);
      drawn = lines;
    },
    forget() {
      drawn = undefined;
    },
    // To the whole group, as the terminal does it: also to sudo.
    suspend: () => void process.kill(0, "SIGTSTP"),
    end() {
      hide("ended");
      process.off("exit", onExit);
      process.off("SIGTSTP", onStop);
      process.off("SIGCONT", onContinue);
      stdout.off("resize", onResize);
      stdin.off("data", onInput);
      if (hasKeys) stdin.pause();
    },
  };
}

/** A terminal that is gone needs nothing. */
function atOnce(text: string): void {
  try {
    writeSync(1, text);
  } catch {
    // It has no reader.
  }
}
