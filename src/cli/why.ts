import { checks } from "../doctor/finding.ts";
import { parseQuestion } from "../doctor/question.ts";
import { explain, type Way } from "../doctor/why.ts";
import { NgrokdError } from "../model/error.ts";
import type { Paint } from "../terminal/say.ts";
import { command, profileArg } from "./command.ts";
import { exitCodes } from "./exit-codes.ts";
import { findingsText } from "./findings-text.ts";

export default command({
  name: "why",
  description: "Follow one name to ngrok, and show which step fails",
  args: {
    ...profileArg,
    name: { type: "positional", required: true, description: "A host name, host:port or URL" },
  },
  examples: ["ngrokd why hello.demo", "ngrokd why http://hello.demo/ --json"],
  async run({ name, config, socket, profile }, { net, env, say }) {
    const question = parseQuestion(name);
    if (!question.ok) {
      throw new NgrokdError("usage", `Cannot follow this name: ${question.reason}`, {
        hint: "`ngrokd list` shows the names",
      });
    }
    const place = { net, env, config, socket, profile };
    const ways = await say.awaiting(`Following ${name}`, () => explain(question.value, place));
    const works = ways.every((way) => breakOf(way) === undefined);
    say.result(
      {
        works,
        ways: ways.map((way) => ({
          ...way,
          works: breakOf(way) === undefined,
          breaks_at: breakOf(way)?.check ?? "",
        })),
      },
      () => ways.map((way) => wayText(way, say.paint, say.width)).join("\n\n"),
    );
    return works ? exitCodes.ok : exitCodes.failure;
  },
});

const breakOf = ({ steps }: Way) => steps.find(({ level }) => level === "failure");

/** Pure: the checks of one endpoint's way, and the conclusion. */
export function wayText(way: Way, paint: Paint, width: number): string {
  return [findingsText(way.steps, paint, width), "", conclusion(way, paint)].join("\n");
}

function conclusion(way: Way, paint: Paint): string {
  const { subject, steps } = way;
  const broken = breakOf(way);
  if (broken !== undefined)
    return `${subject} ${paint.bad("does not work")}: it fails at "${checks[broken.check]}".`;
  const unsure = steps.filter(({ level }) => level === "warning").length;
  if (unsure > 0) return `${subject}: ${paint.careful("no check has failed")}; see the warnings.`;
  return `${subject} ${paint.good("works")}, from its name to the service behind ngrok.`;
}
