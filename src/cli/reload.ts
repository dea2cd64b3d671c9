import { problemText } from "../config/problem.ts";
import type { ReloadReport } from "../desk/reply-schemas.ts";
import { summaries } from "../desk/summaries.ts";
import { NgrokdError } from "../model/error.ts";
import type { Paint } from "../terminal/say.ts";
import { table } from "../terminal/table.ts";
import { command } from "./command.ts";
import { daemonAt } from "./daemon-socket.ts";

export default command({
  name: "reload",
  description: summaries.reload,
  examples: ["ngrokd reload", "ngrokd reload --json"],
  async run(args, io) {
    const report = await daemonAt(args, io)("reload");
    if (!io.say.json) for (const warning of report.warnings) io.say.warn(problemText(warning));
    if (!io.say.json && !report.ok) throw refusal(report);
    io.say.result(report, () => reloadText(report, io.say.paint));
    return report.ok ? 0 : 1;
  },
});

type Change = ReloadReport["changes"][number];

/** Pure: the text of `ngrokd reload` after a reload without problems. */
export function reloadText({ config_path, changes }: ReloadReport, paint: Paint): string {
  if (changes.length === 0) return `Nothing has changed in "${config_path}".`;
  const rows = changes.map(({ key, counts, from, to }) => [
    key,
    valueText(from),
    valueText(to),
    countsText(counts, paint),
  ]);
  return table(["Setting", "Was", "Is", "Counts"], rows, paint);
}

function countsText(counts: Change["counts"], { good, careful }: Paint): string {
  switch (counts) {
    case "now":
      return good("now");
    case "restart":
      return careful("after a restart of the daemon");
  }
}

function refusal({ config_path, problems }: ReloadReport): NgrokdError {
  const lines = problems.map((problem) => `\n  ${problemText(problem)}`).join("");
  return new NgrokdError(
    "refused",
    `The configuration "${config_path}" was not applied, and nothing has changed:${lines}`,
    {
      hint:
        "correct it, for example with `ngrokd config edit`: " +
        "the daemon then applies it by itself",
    },
  );
}

/**
 * The value as one line of JSON, which is also YAML. A single word has no
 * quotes.
 */
const valueText = (value: unknown): string =>
  typeof value === "string" && /^\S+$/.test(value) ? value : JSON.stringify(value);
