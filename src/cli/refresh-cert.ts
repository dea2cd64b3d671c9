import { operations } from "../desk/operations.ts";
import { command, profileArg } from "./command.ts";
import { daemonAt } from "./daemon-socket.ts";

const { summary, help } = operations["refresh-cert"];

export default command({
  name: "refresh-cert",
  description: summary,
  args: { ...profileArg, force: { type: "boolean", description: help.force } },
  examples: ["ngrokd refresh-cert", "ngrokd refresh-cert --force"],
  async run({ socket, config, force, profile }, io) {
    const reply = await daemonAt({ socket, config }, io)("refresh-cert", {
      json: true,
      force,
      profile,
    });
    if (typeof reply === "string") io.say.result({ message: reply }, reply);
    else io.say.result(reply, reply.message);
    return undefined;
  },
});
