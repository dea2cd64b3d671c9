import { examine } from "../doctor/doctor.ts";
import { examineEarlyData } from "../doctor/early-data.ts";
import { type Finding, type Level, worst } from "../doctor/finding.ts";
import { parseQuestion } from "../doctor/question.ts";
import { NgrokdError } from "../model/error.ts";
import type { Paint } from "../terminal/say.ts";
import { command, profileArg } from "./command.ts";
import { exitCodes } from "./exit-codes.ts";
import { findingsText } from "./findings-text.ts";

export default command({
  name: "doctor",
  description: "Check everything, and show how to fix each problem",
  args: {
    ...profileArg,
    all: {
      type: "boolean",
      description: "Try every name and endpoint without a time limit, and show each",
    },
    "early-data": {
      type: "string",
      valueHint: "HOST",
      description:
        "Only try whether forward.early_data works, with HEAD requests to an HTTP endpoint",
    },
  },
  examples: [
    "ngrokd doctor",
    "ngrokd doctor --all",
    "ngrokd doctor --json",
    "ngrokd doctor --early-data hello.demo",
  ],
  async run({ all, config, socket, profile, "early-data": host }, { net, env, say }) {
    const place = { net, env, config, socket, profile };
    const findings = await say.awaiting("Checking", async () =>
      host === undefined
        ? await examine({ ...place, all: all === true })
        : [await examineEarlyData(targetOf(host), place)],
    );
    const level = worst(findings);
    say.result(
      { ok: level !== "failure", worst: level, counts: countsOf(findings), findings },
      () =>
        [findingsText(findings, say.paint, say.width), "", verdict(findings, say.paint)].join("\n"),
    );
    return level === "failure" ? exitCodes.failure : exitCodes.ok;
  },
});

function targetOf(text: string): { host: string; port: number } {
  const target = parseQuestion(text);
  if (target.ok) return { host: target.value.host, port: target.value.port ?? 80 };
  throw new NgrokdError("usage", `Cannot try early data: ${target.reason}`, {
    hint: "name an HTTP endpoint: `ngrokd list` shows them",
  });
}

function countsOf(findings: readonly Finding[]): Record<Level, number> {
  const count = (level: Level): number =>
    findings.filter((finding) => finding.level === level).length;
  return { ok: count("ok"), warning: count("warning"), failure: count("failure") };
}

/** Pure: the last line. */
export function verdict(findings: readonly Finding[], paint: Paint): string {
  const { ok, warning, failure } = countsOf(findings);
  if (failure + warning === 0) return paint.good("Everything is well.");
  const parts = [
    ...(failure > 0 ? [paint.bad(failure === 1 ? "1 failure" : `${failure} failures`)] : []),
    ...(warning > 0 ? [paint.careful(warning === 1 ? "1 warning" : `${warning} warnings`)] : []),
    `${ok} ok`,
  ];
  return `${parts.join(", ")}. Begin at the top: the first problem may cause the others.`;
}
