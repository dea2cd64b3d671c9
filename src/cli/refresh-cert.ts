import * as z from "zod/mini";
import { type CertificateReport, certificateReportSchema } from "../control/protocol.ts";
import { command } from "./command.ts";
import { askFor } from "./daemon-socket.ts";

/** The Go program's daemon answers with a sentence. */
const answerSchema = z.union([certificateReportSchema, z.string()]);

export default command({
  name: "refresh-cert",
  description: "Renew the client certificate where that is due",
  args: { force: { type: "boolean", description: "Renew it also where it is not due yet" } },
  examples: ["ngrokd refresh-cert", "ngrokd refresh-cert --force"],
  async run(args, io) {
    const flags = ["--json", ...(args.force === true ? ["--force"] : [])];
    // One call of the API, which has a deadline of its own, perhaps behind a
    // poll's.
    const answer = await askFor<CertificateReport | string>(
      answerSchema,
      args,
      io,
      { command: "refresh-cert", args: flags },
      150_000,
    );
    if (typeof answer === "string") io.say.result({ message: answer }, answer);
    else io.say.result(answer, answer.message);
    return undefined;
  },
});
