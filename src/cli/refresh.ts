import { summaries } from "../desk/summaries.ts";
import { NgrokdError } from "../model/error.ts";
import { command, profileArg } from "./command.ts";
import { daemonAt } from "./daemon-socket.ts";

export default command({
  name: "refresh",
  description: summaries.refresh,
  args: profileArg,
  examples: ["ngrokd refresh"],
  async run(args, io) {
    const pass = await daemonAt(args, io)("refresh", { profile: args.profile });
    if (!io.say.json && !pass.ok) {
      throw new NgrokdError(
        "refused",
        `The poll failed: ${pass.reason}`,
        pass.hint === "" ? {} : { hint: pass.hint },
      );
    }
    const { took_ms: ms, endpoint_count: n } = pass;
    io.say.result(pass, `Polled ngrok in ${ms} ms: ${n} ${n === 1 ? "endpoint" : "endpoints"}.`);
    return pass.ok ? 0 : 1;
  },
});
