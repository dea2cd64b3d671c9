import process from "node:process";
import type { Findings } from "../desk/finding-schemas.ts";
import type { Finding } from "../doctor/finding.ts";
import { NgrokdError } from "../model/error.ts";
import type { Parts } from "./parts.ts";

/**
 * The doctor inside the daemon: it has the daemon's rights, and uses the
 * daemon's socket. The code is loaded at the first question. There is one
 * examination at a time, and a second question for the same name gets the same
 * result.
 */
export function examinationOf({ options: { net }, settings }: Pick<Parts, "options" | "settings">) {
  const running = new Map<string, Promise<Findings>>();
  let last: Promise<unknown> = Promise.resolve();
  const examined = async (name: string): Promise<Findings> => {
    const [doctor, why, { checks }, { parseQuestion }] = await Promise.all([
      import("../doctor/doctor.ts"),
      import("../doctor/why.ts"),
      import("../doctor/finding.ts"),
      import("../doctor/question.ts"),
    ]);
    const shown = ({ check, level, text, fix }: Finding, subject: string) => ({
      ...{ check, title: checks[check], level, text, fix, subject },
    });
    const { socket_path: socket } = settings.current.config.server;
    const place = { net, env: process.env, config: undefined, socket };
    if (name === "") {
      const findings = await doctor.examine({ ...place, all: false });
      return { findings: findings.map((one) => shown(one, "")) };
    }
    const question = parseQuestion(name);
    if (!question.ok)
      throw new NgrokdError("usage", `Cannot follow this name: ${question.reason}`, {
        hint: "`ngrokd list` shows the names",
      });
    const ways = await why.explain(question.value, place);
    return { findings: ways.flatMap(({ subject, steps }) => steps.map((s) => shown(s, subject))) };
  };
  return (name: string): Promise<Findings> => {
    const known = running.get(name);
    if (known !== undefined) return known;
    const result = last.then(() => examined(name)).finally(() => running.delete(name));
    running.set(name, result);
    last = result.catch(() => undefined);
    return result;
  };
}
