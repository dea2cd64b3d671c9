import { NgrokdError } from "../model/error.ts";
import type { Io } from "./command.ts";

/**
 * Asks on the terminal before a change that cannot be undone. `how` is the
 * command line that makes the change without a question. Rejects with
 * `cancelled` for any answer but yes, and with `usage` if there is no terminal.
 */
export async function confirm(question: string, how: string, { say }: Io): Promise<void> {
  if (say.json || process.stdin.isTTY !== true || process.stderr.isTTY !== true) {
    throw new NgrokdError(
      "usage",
      "Nothing was done: this needs a confirmation, and there is no terminal to ask on",
      {
        hint: `\`${how}\` does it without a confirmation`,
      },
    );
  }
  const { consola } = await import("consola");
  const options = { type: "confirm", initial: false, cancel: "null" } as const;
  const answer: boolean | null = await consola.prompt(question, options);
  if (answer !== true) throw new NgrokdError("cancelled", "Nothing was done");
}
