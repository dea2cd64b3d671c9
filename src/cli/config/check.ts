import { type Inspection, inspectConfig } from "../../config/load.ts";
import { problemText } from "../../config/problem.ts";
import type { Paint } from "../../terminal/say.ts";
import { command } from "../command.ts";

export default command({
  name: "config check",
  description: "List all problems of the configuration, with line and column",
  args: {
    file: {
      type: "positional",
      required: false,
      description: "Check only this file (default: the file in use and the environment)",
    },
  },
  examples: ["ngrokd config check", "ngrokd config check --json"],
  async run({ file, config }, { env, say }) {
    const inspection = await inspectConfig(
      file === undefined ? { file: config, env } : { file, env: {} },
    );
    const { path, exists, problems, warnings, loaded } = inspection;
    const ok = loaded !== undefined && warnings.every(({ kind }) => kind === "open-mode");
    say.result({ path, exists, ok, problems, warnings }, () => report(inspection, ok, say.paint));
    return ok ? 0 : 2;
  },
});

function report(
  { path, exists, problems, warnings }: Inspection,
  ok: boolean,
  paint: Paint,
): string {
  // In the order of the file. Problems outside the file have no line and come
  // first.
  const inOrder = [...problems, ...warnings].sort(
    (a, b) => (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0),
  );
  const lines = inOrder.map((problem) => `${mark(problem.kind, paint)} ${problemText(problem)}`);
  if (!ok) lines.push(`"${path}" is ${paint.bad("not valid")}`);
  else if (exists) lines.push(`"${path}" is ${paint.good("valid")}`);
  else lines.push(`There is no "${path}": every setting has its default`);
  return lines.join("\n");
}

const mark = (kind: string, paint: Paint): string =>
  kind === "open-mode" ? paint.careful("warning:") : paint.bad("wrong:");
