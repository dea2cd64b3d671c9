/**
 * A key of a terminal: its name, such as `up`, or the character that it types.
 */
export type Key = string;

/** What terminals send, those of xterm, Linux and the VT220 included. */
const sequences: Readonly<Record<string, Key>> = {
  "\u001b[A": "up",
  "\u001bOA": "up",
  "\u001b[B": "down",
  "\u001bOB": "down",
  "\u001b[C": "right",
  "\u001bOC": "right",
  "\u001b[D": "left",
  "\u001bOD": "left",
  "\u001b[5~": "pageup",
  "\u001b[6~": "pagedown",
  "\u001b[H": "home",
  "\u001bOH": "home",
  "\u001b[1~": "home",
  "\u001b[7~": "home",
  "\u001b[F": "end",
  "\u001bOF": "end",
  "\u001b[4~": "end",
  "\u001b[8~": "end",
  "\u001bOP": "f1",
  "\u001b[11~": "f1",
  "\u001b[[A": "f1",
  "\u001b": "escape",
  "\r": "enter",
  "\n": "enter",
  "\t": "tab",
  "\u007f": "backspace",
  "\b": "backspace",
  "\u0002": "pageup",
  "\u0003": "ctrl-c",
  "\u0006": "pagedown",
  "\u000c": "ctrl-l",
  "\u0015": "ctrl-u",
  "\u001a": "ctrl-z",
};

/** One key, or a sequence that is none of ours. */
const oneKey = /\x1bO[A-Z]|\x1b\[\[[A-E]|\x1b\[[\d;?<>=]*[ -/]*[@-~]|[\s\S]/gu;

/** Pure: the keys of a chunk of input. Other control sequences are left out. */
export function keysIn(text: string): Key[] {
  return [...text.matchAll(oneKey)].flatMap(([sequence]) => {
    const known = sequences[sequence];
    if (known !== undefined) return [known];
    return /^[^\p{Cc}\p{Cf}]$/u.test(sequence) ? [sequence] : [];
  });
}
