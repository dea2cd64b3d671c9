/**
 * terminal/ puts text on a terminal: results, errors and hints, colour, tables
 * of the right width, and the live view of `list --watch`.
 */
import { isNgrokdError, NgrokdError, reasonOf } from "../model/error.ts";
import { printable } from "../model/parsed.ts";
import type { Surface } from "./full-screen.ts";
import type { Output } from "./output.ts";
import { createProgress } from "./progress.ts";

export type { Output };

/**
 * The output of all commands. Results go to stdout and everything else to
 * stderr, so that a pipe has results alone. With --json a command prints
 * exactly one JSON value on stdout, errors included (`{"error": {…}}`). There
 * is colour only on a terminal, and never with NO_COLOR.
 */
export interface Say {
  readonly json: boolean;
  readonly debug: boolean;
  /** Columns of the terminal; 80 if there is none, and at least 60. */
  readonly width: number;
  readonly paint: Paint;
  /** Prints the command's result: `value` for programs, `text` for people. */
  result(value: unknown, text: string | (() => string)): void;
  /** The same for a command that goes on: `value` is on one line. */
  ready(value: unknown, text: string | (() => string)): void;
  /** The same for one of many values of a command that may go on. */
  item(value: unknown, text: () => string): void;
  /** For a command that prints its result again and again. */
  live(): Live;
  /** The whole terminal; undefined if there is none that can be drawn on. */
  screen(): Surface | undefined;
  /**
   * Does the work. If it takes over a second, a terminal shows what is awaited,
   * and for how long, until it ends.
   */
  awaiting<T>(what: string, work: () => Promise<T>): Promise<T>;
  /** Prints a line for people on stderr. */
  note(text: string): void;
  warn(text: string): void;
  error(error: unknown): void;
}

/**
 * A result that is printed again and again: in the same place on a terminal,
 * one block after another elsewhere, one JSON value a line with --json.
 */
export interface Live {
  /** Whether a result replaces the previous one. */
  readonly inPlace: boolean;
  show(value: unknown, text: (size: Size) => string): void;
  /** Restores the terminal. */
  end(): void;
}

/** The room for a text; `rows` is Infinity if it is not shown in place. */
export interface Size {
  readonly columns: number;
  readonly rows: number;
}

export interface Paint {
  readonly bold: (text: string) => string;
  readonly dim: (text: string) => string;
  readonly good: (text: string) => string;
  readonly bad: (text: string) => string;
  readonly careful: (text: string) => string;
  readonly name: (text: string) => string;
}

export function createSay(options: {
  json: boolean;
  debug: boolean;
  out: Output;
  err: Output;
  env: Readonly<Record<string, string | undefined>>;
}): Say {
  const { json, debug, env } = options;
  const colourful = (env.NO_COLOR ?? "") === "" && env.TERM !== "dumb";
  const paintFor = ({ isTerminal }: Output): Paint => (colourful && isTerminal ? painted : plain);
  const [paint, paintErr] = [paintFor(options.out), paintFor(options.err)];
  const drawable = ({ isTerminal }: Output): boolean => isTerminal && env.TERM !== "dumb";
  const shown = drawable(options.err) && !json;
  const progress = createProgress(shown ? options.err : undefined, paintErr.dim);
  const [out, err] = [options.out, options.err].map((output, i) =>
    plainly(progress.before(output), i === 0 ? paint : paintErr),
  ) as [Plainly, Plainly];
  const print = (value: unknown, text: string | (() => string), indent: number): void => {
    if (json) out.write(`${JSON.stringify(value, null, indent)}\n`);
    else out.write(`${typeof text === "string" ? text : text()}\n`);
  };
  return {
    json,
    debug,
    width: columnsOf(out),
    paint,
    result: (value, text) => print(value, text, 2),
    ready: (value, text) => print(value, text, 0),
    item: (value, text) =>
      out.feed(json ? printable(`${JSON.stringify(value)}\n`) : visible(`${text()}\n`, paint)),
    live() {
      progress.end();
      return liveOn(out, paint, json, drawable(out));
    },
    awaiting: progress.awaiting,
    screen() {
      if (!drawable(out) || json) return undefined;
      progress.end();
      return surfaceOn(out, paint);
    },
    note: (text) => err.write(`${text}\n`),
    warn: (text) => err.write(`${paintErr.careful("warning:")} ${text}\n`),
    error(error) {
      // If results cannot be written, errors cannot either.
      const full = isNgrokdError(error, "output");
      if (
        !json ||
        full ||
        !wrote(out, `${JSON.stringify({ error: errorValue(error) }, null, 2)}\n`)
      )
        err.write(errorText(error, paintErr));
      if (debug && error instanceof Error) err.write(`${stackOf(error)}\n`);
    },
  };
}

type Plainly = Output & { feed(text: string): void };

/** Whatever a text holds, it has no other effect than our colours. */
function plainly(output: Output, paint: Paint): Plainly {
  const { write, feed = write } = output;
  return {
    write: (text) => write.call(output, visible(text, paint)),
    feed: (text) => feed.call(output, text),
    isTerminal: output.isTerminal,
    get columns() {
      return output.columns;
    },
    get rows() {
      return output.rows;
    },
  };
}

function wrote(out: Output, text: string): boolean {
  try {
    out.write(text);
    return true;
  } catch {
    return false;
  }
}

function liveOn(
  out: ReturnType<typeof plainly>,
  paint: Paint,
  json: boolean,
  terminal: boolean,
): Live {
  const inPlace = terminal && !json;
  const { feed } = out;
  let entered = false;
  const size = (): Size => ({
    columns: columnsOf(out),
    rows: inPlace ? (out.rows ?? 24) - 1 : Number.POSITIVE_INFINITY,
  });
  return {
    inPlace,
    show(value, text) {
      if (json) return feed(printable(`${JSON.stringify(value)}\n`));
      if (!inPlace) return feed(visible(`${text(size())}\n\n`, paint));
      // Erased before the line is written: after a line of the full width the
      // cursor still is on its last character.
      const lines = visible(text(size()), paint)
        .split("\n")
        .map((line) => eraseRestOfLine + line);
      feed(`${entered ? home : enterScreen}${lines.join("\n")}${eraseBelow}`);
      entered = true;
    },
    end() {
      if (entered) feed(leaveScreen);
      entered = false;
    },
  };
}

const surfaceOn = (out: ReturnType<typeof plainly>, paint: Paint): Surface => ({
  feed: out.feed,
  clean: (line) => visible(line.replaceAll(/[\n\t]/g, " "), paint),
  get columns() {
    return out.columns;
  },
  get rows() {
    return out.rows;
  },
});

// The control sequences of all terminals since the VT100 and xterm: the
// alternate screen, no cursor, no automatic wrap.
const home = "\u001b[H";
const enterScreen = `\u001b[?1049h\u001b[?25l\u001b[?7l${home}`;
const leaveScreen = "\u001b[?7h\u001b[?25h\u001b[?1049l";
const eraseRestOfLine = "\u001b[K";
/**
 * Erases from the next line on. That line must exist, so one of the rows stays
 * free for it.
 */
const eraseBelow = "\n\u001b[J";

const columnsOf = ({ columns = 80 }: Output): number => Math.max(60, columns);

/** `key: value` lines with the values in one column. */
export function facts(rows: readonly (readonly [string, string])[], paint: Paint): string {
  const width = Math.max(...rows.map(([key]) => key.length)) + 2;
  return rows
    .map(([key, value]) => `${paint.dim(`${key}:`.padEnd(width))} ${value.replaceAll("\n", " ")}`)
    .join("\n");
}

/** The two largest units of a duration: `3 d 4 h`, `12 s`. */
export function durationText(ms: number): string {
  const units: [string, number][] = [
    ["d", 86_400_000],
    ["h", 3_600_000],
    ["min", 60_000],
    ["s", 1000],
  ];
  const first = units.findIndex(([, size]) => ms >= size);
  if (first === -1) return `${Math.max(0, Math.round(ms))} ms`;
  let rest = ms;
  return units
    .slice(first, first + 2)
    .map(([unit, size]) => {
      const n = Math.floor(rest / size);
      rest -= n * size;
      return n === 0 ? "" : `${n} ${unit}`;
    })
    .filter((part) => part !== "")
    .join(" ");
}

/** `512 B`, `1.2 MiB`: at most 8 characters up to the PiB. */
export function bytesText(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let size = bytes;
  let unit = 0;
  for (; size >= 1023.5 && unit < units.length - 1; unit += 1) size /= 1024;
  return bytes < 0.5 ? "0" : `${size.toFixed(unit === 0 || size >= 99.95 ? 0 : 1)} ${units[unit]}`;
}

export function errorValue(error: unknown): Record<string, unknown> {
  if (!(error instanceof NgrokdError)) return { code: "internal", message: reasonOf(error) };
  return {
    code: error.code,
    message: error.message,
    ...(error.hint === undefined ? {} : { hint: error.hint }),
    ...error.details,
  };
}

function errorText(error: unknown, paint: Paint): string {
  const hint = error instanceof NgrokdError ? error.hint : undefined;
  const message = error instanceof NgrokdError ? error.message : reasonOf(error);
  const lines = [`${paint.bad("error:")} ${message}`];
  if (hint !== undefined)
    lines.push(...hint.split("\n").map((line) => `${paint.name("hint:")}  ${line}`));
  return `${lines.join("\n")}\n`;
}

function stackOf(error: Error): string {
  const cause = error.cause instanceof Error ? `\ncaused by ${stackOf(error.cause)}` : "";
  return `${error.stack ?? error.message}${cause}`;
}

const same = (text: string): string => text;
/** No colours. */
export const plain: Paint = {
  bold: same,
  dim: same,
  good: same,
  bad: same,
  careful: same,
  name: same,
};
// createSay has decided about colours. Without this option the runtime would
// decide again, by stdout alone. node:util is loaded late, since `serve` starts
// twice and its first process prints nothing.
const style =
  (format: "bold" | "dim" | "green" | "red" | "yellow" | "cyan") =>
  (text: string): string =>
    process.getBuiltinModule("node:util").styleText(format, text, { validateStream: false });
const painted: Paint = {
  bold: style("bold"),
  dim: style("dim"),
  good: style("green"),
  bad: style("red"),
  careful: style("yellow"),
  name: style("cyan"),
};

/** Pure: the text with no other effect than that of `paint`. */
const visible = (text: string, paint: Paint): string =>
  paint === painted
    ? text
        .split(/(\x1b\[(?:1|2|22|3[1236]|39)m)/)
        .map((part, i) => (i % 2 === 1 ? part : printable(part)))
        .join("")
    : printable(text);
