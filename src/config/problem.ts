import { isNgrokdError, NgrokdError } from "../model/error.ts";
import { defaultConfigPath } from "./paths.ts";

/** A fault in the configuration. Its message never contains a secret. */
export interface Problem {
  /**
   * - `syntax`, `wrong-value`: no command can use the configuration.
   * - `unknown-key`: the daemon only warns, since a newer version may know the
   *   key, but `config check` fails.
   * - `other-value`: the same, since the Go program starts with this value.
   *   Another value is used.
   * - `open-mode`: other users can read a secret.
   */
  readonly kind: "syntax" | "wrong-value" | "unknown-key" | "other-value" | "open-mode";
  /** The file's path, `environment NGROK_API_KEY` or `flag`. */
  readonly source: string;
  /** Line and column count from 1; set only for files. */
  readonly line?: number;
  readonly column?: number;
  /** The dotted name of the setting, if the problem concerns one. */
  readonly key?: string;
  readonly message: string;
}

interface Place {
  readonly line: number | undefined;
  readonly column: number | undefined;
}

/** `/etc/ngrokd/config.yml:3:8: …` */
export function problemText({
  source,
  line,
  column,
  message,
}: Pick<Problem, "source" | "message"> & Partial<Place>): string {
  return `${source}${line === undefined ? "" : `:${line}:${column}`}: ${message}`;
}

/** All problems as one error; also in `details.problems`, for programs. */
export function configError(path: string, problems: readonly Problem[]): NgrokdError {
  const shown = problems.slice(0, 20).map((problem) => `\n  ${problemText(problem)}`);
  const rest =
    problems.length > shown.length ? `\n  and ${problems.length - shown.length} more` : "";
  return new NgrokdError(
    "config",
    `Cannot use the configuration "${path}":${shown.join("")}${rest}`,
    {
      hint: hintFor(path, problems),
      details: { problems },
    },
  );
}

/**
 * Throws `error` again, with a hint if it is a `permission` error without one.
 */
export function needsRoot(error: unknown): never {
  const hint = "run this as root (sudo), or name a file of your own with --config";
  const isBare = isNgrokdError(error, "permission") && error.hint === undefined;
  throw isBare ? withHint(error, hint) : error;
}

/** The same NgrokdError with one more hint; other values are unchanged. */
export function withHint(error: unknown, hint: string): unknown {
  if (!isNgrokdError(error)) return error;
  const { code, message, cause, details, hint: first } = error;
  return new NgrokdError(code, message, {
    cause,
    details: { ...details },
    hint: first === undefined ? hint : `${first}\n${hint}`,
  });
}

function hintFor(path: string, problems: readonly Problem[]): string {
  if (!problems.some(({ source }) => source === path)) return "correct or remove the values above";
  const flag = path === defaultConfigPath ? "" : ` --config ${path}`;
  return `correct it with \`ngrokd config edit${flag}\`, then run \`ngrokd config check${flag}\``;
}
