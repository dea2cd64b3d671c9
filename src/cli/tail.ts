import { connectionLine } from "../terminal/history-text.ts";
import { command } from "./command.ts";
import { daemonAt } from "./daemon-socket.ts";
import { followExchanges } from "./exchanges.ts";
import { follow } from "./follow.ts";

export default command({
  name: "tail",
  description: "Show a line for each connection as it ends, until Ctrl-C",
  args: {
    host: {
      type: "positional",
      required: false,
      valueHint: "host",
      description: "Only this endpoint: its host name, or host:port",
    },
    http: {
      type: "boolean",
      description: "Show HTTP exchanges of inspected endpoints instead",
    },
  },
  examples: ["ngrokd tail", "ngrokd tail hello.demo --json"],
  async run({ host, http, ...args }, io) {
    if (http === true) {
      await followExchanges(host, args, io);
      return 0;
    }
    const kinds = "connection.ended";
    const { next } = await daemonAt(args, io)("events", { limit: 1 });
    await follow({ host, kinds, after: next }, args, io, (event) => {
      if (event.kind === "gap") io.say.warn("some connections are not shown: this was too slow");
      if (event.kind !== kinds) return;
      const { connection } = event;
      io.say.item(connection, () => connectionLine(connection, io.say.paint));
    });
    return 0;
  },
});
