import { z } from "zod";
import { command } from "./command.ts";
import { ask } from "./daemon-socket.ts";

const refreshed = z.object({ ok: z.boolean(), reason: z.string(), hint: z.string(), took_ms: z.number(), endpoint_count: z.number() });

export default command({
  name: "refresh",
  description: "Poll ngrok now, and wait for the result",
  examples: ["ngrokd refresh"],
  async run(args, io) {
    // A pass may wait for a slow API on several calls; the daemon itself bounds each of them.
    const pass = refreshed.parse(await ask(args, io, { command: "refresh" }, 150_000));
    if (!io.say.json && !pass.ok) {
      io.say.note(`${io.say.paint.bad("error:")} The poll failed: ${pass.reason}`);
      if (pass.hint !== "") io.say.note(`${io.say.paint.name("hint:")}  ${pass.hint}`);
      return 1;
    }
    io.say.result(
      pass,
      `Polled ngrok in ${pass.took_ms} ms: ${pass.endpoint_count} ${pass.endpoint_count === 1 ? "endpoint" : "endpoints"}.`,
    );
    return pass.ok ? 0 : 1;
  },
});
