import { examine } from "../doctor/doctor.ts";
import { type Finding, type Level, worst } from "../doctor/finding.ts";
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
  },
  examples: ["ngrokd doctor", "ngrokd doctor --all", "ngrokd doctor --json"],
  async run({ all, config, socket, profile }, { net, env, say }) {
    const findings = await examine({ net, env, config, socket, profile, all: all === true });
    const level = worst(findings);
    say.result(
      { ok: level !== "failure", worst: level, counts: countsOf(findings), findings },
      () =>
        [findingsText(findings, say.paint, say.width), "", verdict(findings, say.paint)].join("\n"),
    );
    return level === "failure" ? exitCodes.failure : exitCodes.ok;
  },
});

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
