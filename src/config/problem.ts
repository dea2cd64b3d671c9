import { isNgrokdError, NgrokdError } from "../model/error.ts";
import { defaultConfigPath } from "./paths.ts";

/**
 * Something wrong with the configuration, in words that never hold a secret.
 */
export interface Problem {
  /**
   * `syntax`, `wrong-value`: nothing can start with it. `unknown-key`: the
   * daemon warns and goes on (the key may be a newer version's), but a check
   * fails. `open-mode`: others may read the key.
   */
  readonly kind: "syntax" | "wrong-value" | "unknown-key" | "open-mode";
  /** The file's path, `environment NGROK_API_KEY` or `flag`. */
  readonly source: string;
  /** Both count from 1; only for files. */
  readonly line?: number;
  readonly column?: number;
  /** The setting's dotted name, where it is about one. */
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

/** All problems as one error; `details.problems` has them for programs. */
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
 * Throws `error` again; where rights are missing, with the hint of what would
 * help.
 */
export function needsRoot(error: unknown): never {
  const hint = "run this as root (sudo), or name a file of your own with --config";
  throw isNgrokdError(error, "permission") ? withHint(error, hint) : error;
}

/**
 * The same error with one more hint; anything but a NgrokdError comes back as
 * it is.
 */
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
  if (!problems.some(({ source }) => source === path))
    return "correct what is named above, or leave it out";
  const flag = path === defaultConfigPath ? "" : ` --config ${path}`;
  return `correct it with \`ngrokd config edit${flag}\`, then run \`ngrokd config check${flag}\``;
}
