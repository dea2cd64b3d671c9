import {
  appendFileSync,
  lstatSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { beginLine, endLine } from "../../src/machine/hosts/text.ts";

/**
 * The other programs that write a hosts file: scripts that append, editors that
 * save, configuration management that replaces the whole file, and programs
 * that know nothing of sections. They check their own lines every time.
 */
export interface OtherPrograms {
  readonly edits: number;
  /** The edits that damaged ngrokd's section. */
  readonly damages: number;
  /** The file as it would be without ngrokd. */
  readonly text: string;
  /**
   * Makes one edit. With `hurt` it damages ngrokd's section if that is there
   * and complete. Returns whether it did. Rejects if one of the programs' lines
   * has changed.
   */
  edit(random: () => number, hurt: boolean): Promise<boolean>;
  /**
   * The changes in the programs' lines; empty if all are there, in order, to
   * the byte.
   */
  loss(): string;
}

/**
 * `isEntry`: whether a line is one of ngrokd's entries. No other program writes
 * those here. The file ends with a line end.
 */
export function createOtherPrograms(
  path: string,
  isEntry: (line: string) => boolean,
): OtherPrograms {
  let [edits, damages] = [0, 0];
  const isOurs = (line: string): boolean => line === beginLine || line === endLine || isEntry(line);
  const read = (): string[] => linesOf(readFileSync(path, "latin1"));
  const stamp = (): string => {
    const { ino, ctimeNs } = statSync(path, { bigint: true });
    return `${ino} ${ctimeNs}`;
  };
  const foreign = (lines: readonly string[]): string[] => lines.filter((line) => !isOurs(line));
  let expected = foreign(read());

  const loss = (): string => {
    const found = foreign(read());
    const at = Math.max(found.length, expected.length);
    const first = Array.from({ length: at }, (_, i) => i).find((i) => found[i] !== expected[i]);
    if (first === undefined) return "";
    return `line ${first + 1} of ${expected.length} that others wrote into ${path} should be ${JSON.stringify(expected[first])} and is ${JSON.stringify(found[first])}`;
  };

  return {
    get edits() {
      return edits;
    },
    get damages() {
      return damages;
    },
    get text() {
      return textOf(expected);
    },
    loss,
    async edit(random, hurt) {
      // Of two programs that write at once, one loses its change, and no way of
      // writing prevents that. The daemon compares again before it renames, and
      // this program before it writes.
      let lines: string[];
      let seen: string;
      do {
        while (isBeingWritten(path)) await Bun.sleep(1);
        seen = stamp();
        const lost = loss();
        if (lost !== "") throw new Error(lost);
        lines = read();
      } while (isBeingWritten(path) || stamp() !== seen);
      // One damage at a time: entries cut off from both markers are foreign
      // lines, by design.
      const [begin, end] = [lines.indexOf(beginLine), lines.lastIndexOf(endLine)];
      const markers = lines.filter((line) => line === beginLine || line === endLine).length;
      const whole = markers === 2 && begin < end && lines.slice(begin, end).every(isOurs);
      const line = `192.0.2.${1 + (edits % 250)}  other-${edits}.example  # the ${edits}th`;
      const hurts = hurt && whole;
      const next = hurts ? damaged(lines, line, random) : edited(lines, line, isOurs, random);
      expected = foreign(next);
      edits += 1;
      if (hurts) damages += 1;
      save(path, lines, next, random);
      return hurts;
    },
  };
}

/** Adds, removes or changes a line, never inside the section. */
function edited(
  lines: readonly string[],
  line: string,
  isOurs: (line: string) => boolean,
  random: () => number,
): string[] {
  const free = [...lines.keys()].filter((i) => !isOurs(lines[i] ?? ""));
  const at = free[Math.floor(random() * free.length)] ?? 0;
  const isOther = lines[at]?.includes("other-") ?? false;
  const kind = random();
  if (kind < 0.4) return [...lines, line];
  if (isOther && (kind < 0.6 || free.length > 40)) return lines.toSpliced(at, 1);
  if (isOther && kind < 0.8) return lines.with(at, line);
  return lines.toSpliced(at, 0, line);
}

function damaged(lines: readonly string[], line: string, random: () => number): string[] {
  const [begin, end] = [lines.indexOf(beginLine), lines.indexOf(endLine)];
  const inside = begin + 1 + Math.floor(random() * (end - begin));
  const ways = [
    () => lines.toSpliced(begin, end - begin + 1),
    () => lines.toSpliced(begin, 1),
    () => lines.toSpliced(end, 1),
    () => (inside === end ? lines.toSpliced(begin, end - begin + 1) : lines.toSpliced(inside, 1)),
    () => lines.toSpliced(inside, 0, line),
    () => [...lines, line, ...lines.slice(begin, end + 1)],
  ];
  return ways[Math.floor(random() * ways.length)]?.() ?? [...lines];
}

/**
 * Appends as `>>` does if that is enough. Else it writes in place, which
 * truncates the file first, or by rename.
 */
function save(
  path: string,
  before: readonly string[],
  after: readonly string[],
  random: () => number,
): void {
  const isLonger = after.length > before.length && before.every((line, i) => line === after[i]);
  const way = random();
  if (isLonger && way < 0.5) appendFileSync(path, textOf(after.slice(before.length)), "latin1");
  else if (way < 0.5) writeFileSync(path, textOf(after), "latin1");
  else {
    const temporary = join(dirname(path), ".hosts.other-program");
    writeFileSync(temporary, textOf(after), { encoding: "latin1", mode: 0o644 });
    renameSync(temporary, path);
  }
}

/**
 * Whether the daemon is about to rename a file over this one. The file of a
 * killed daemon soon looks older.
 */
function isBeingWritten(path: string): boolean {
  return readdirSync(dirname(path)).some((name) => {
    if (!name.endsWith(".ngrokd.tmp")) return false;
    const info = lstatSync(join(dirname(path), name), { throwIfNoEntry: false });
    return info !== undefined && Date.now() - info.mtimeMs < 500;
  });
}

function linesOf(text: string): string[] {
  return text.split("\n").slice(0, -1);
}

const textOf = (lines: readonly string[]): string => lines.map((line) => `${line}\n`).join("");
