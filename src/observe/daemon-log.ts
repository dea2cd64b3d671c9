// What an administrator sees of a daemon: the log, health checks and metrics.

import { styleText } from "node:util";
import { createConsola, type LogObject, type LogType } from "consola";
import { oneLine } from "../model/error.ts";
import type { Log, LogFields } from "../model/log.ts";
import { leftToRight } from "../model/parsed.ts";
import { createLogBudget } from "./log-budget.ts";

export type LogLevel = "debug" | "info" | "warn" | "error";

export interface LogOptions {
  readonly level: LogLevel;
  /** `auto`: text on a terminal, one JSON object a line otherwise. */
  readonly format: "auto" | "text" | "json";
  readonly isTerminal: boolean;
  readonly write: (line: string) => void;
  /** Lines begin with their priority, as systemd's journal reads it. */
  readonly toJournal?: boolean;
  /**
   * Strings that must never be written, such as the API key. Called for every
   * line.
   */
  readonly secrets: () => readonly string[];
  /**
   * Within this time an equal message is only counted, and a kind of message
   * has a few lines only; see {@link createLogBudget}. Milliseconds; default 60
   * s.
   */
  readonly repeatWindowMs?: number;
}

export interface DaemonLog extends Log {
  setLevel(level: LogLevel): void;
  setFormat(format: LogOptions["format"]): void;
  /**
   * Logs the counts of repeats that are still held back. Call it before the
   * process ends.
   */
  flush(): void;
}

export function createLog(options: LogOptions): DaemonLog {
  const { isTerminal, write, secrets } = options;
  const textual = textLine(isTerminal && (process.env.NO_COLOR ?? "") === "");
  const printFor = (format: LogOptions["format"]) =>
    format === "json" || (format === "auto" && !isTerminal) ? jsonLine : textual;
  let print = printFor(options.format);
  const consola = createConsola({
    level: consolaLevel[options.level],
    throttle: 0,
    reporters: [
      {
        log: (entry) => {
          const text = leftToRight(redact(print(entry), secrets()));
          const mark = options.toJournal === true ? (priorities[entry.type] ?? "") : "";
          write(`${text.replaceAll(/^/gm, mark)}\n`);
        },
      },
    ],
  });
  const windowMs = options.repeatWindowMs ?? 60_000;
  const trouble = createLogBudget({ windowMs, ofKind: 20, inAll: 200 });
  const changes = createLogBudget({ windowMs, ofKind: 100, inAll: 400 });
  const say =
    (type: LogLevel) =>
    (message: string, fields: LogFields = {}) => {
      if (consolaLevel[type] > consola.level) return;
      const emit = (remark: string): void =>
        consola[type]({ args: [`${message}${remark}`, fields] });
      // A reader of debug lines wants them all. An info line reports a change,
      // and each change is news. Only trouble repeats.
      if (type === "debug") return emit("");
      if (type === "info") return changes.pass(`info ${message}`, false, emit);
      trouble.pass(`${type} ${message}`, true, emit);
    };
  return {
    debug: say("debug"),
    info: say("info"),
    warn: say("warn"),
    error: say("error"),
    setLevel: (level) => {
      consola.level = consolaLevel[level];
    },
    setFormat(format) {
      print = printFor(format);
    },
    flush() {
      trouble.flush();
      changes.flush();
    },
  };
}

/** Replaces every secret of 4 characters or more, also in its JSON spelling. */
export function redact(text: string, secrets: readonly string[]): string {
  const spellings = secrets
    .filter((secret) => secret.length >= 4)
    .flatMap((secret) => [secret, JSON.stringify(secret).slice(1, -1)]);
  // The longest first: if a secret begins with a shorter one, its rest must not
  // stay.
  return spellings
    .sort((a, b) => b.length - a.length)
    .reduce((clean, spelling) => clean.replaceAll(spelling, "[redacted]"), text);
}

const consolaLevel: Readonly<Record<LogLevel, number>> = { error: 0, warn: 1, info: 3, debug: 4 };

function partsOf(entry: LogObject): { message: string; fields: LogFields } {
  const [message, fields] = entry.args as [string, LogFields];
  return { message, fields };
}

function jsonLine(entry: LogObject): string {
  const { message, fields } = partsOf(entry);
  return JSON.stringify({ time: entry.date.toISOString(), level: entry.type, message, ...fields });
}

/** sd-daemon(3) */
const priorities: { readonly [type in LogType]?: string } = {
  error: "<3>",
  warn: "<4>",
  info: "<6>",
  debug: "<7>",
};

const tints: { readonly [type in LogType]?: "red" | "yellow" | "gray" } = {
  error: "red",
  warn: "yellow",
  debug: "gray",
};

function textLine(colourful: boolean): (entry: LogObject) => string {
  const tint = (type: LogType, text: string): string =>
    colourful ? styleText(tints[type] ?? "cyan", text, { validateStream: false }) : text;
  return (entry) => {
    const { message, fields } = partsOf(entry);
    const time = entry.date.toTimeString().slice(0, 8);
    // Text from outside must not begin a new line of the log.
    const hint =
      fields.hint === undefined
        ? ""
        : `\n         ${tint("info", "hint:")} ${oneLine(String(fields.hint))}`;
    return `${time} ${tint(entry.type, entry.type.padEnd(5))} ${oneLine(message)}${hint}`;
  };
}
