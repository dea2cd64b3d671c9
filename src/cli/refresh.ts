import { refreshSchema } from "../control/protocol.ts";
import { NgrokdError } from "../model/error.ts";
import { command } from "./command.ts";
import { askFor } from "./daemon-socket.ts";

export default command({
  name: "refresh",
  description: "Poll ngrok now, and wait for the result",
  examples: ["ngrokd refresh"],
  async run(args, io) {
    // A pass may wait for a slow API on several calls; the daemon itself bounds
    // each of them.
    const pass = await askFor(refreshSchema, args, io, { command: "refresh" }, 150_000);
    if (!io.say.json && !pass.ok) {
      throw new NgrokdError(
        "refused",
        `The poll failed: ${pass.reason}`,
        pass.hint === "" ? {} : { hint: pass.hint },
      );
    }
    io.say.result(
      pass,
      `Polled ngrok in ${pass.took_ms} ms: ${pass.endpoint_count} ${pass.endpoint_count === 1 ? "endpoint" : "endpoints"}.`,
    );
    return pass.ok ? 0 : 1;
  },
});
