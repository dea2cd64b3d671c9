import { summaries } from "../desk/summaries.ts";
import { listText } from "../terminal/list-text.ts";
import { command, profileArg } from "./command.ts";
import { daemonAt } from "./daemon-socket.ts";
import { watch } from "./list-watch.ts";

export default command({
  name: "list",
  description: summaries.list,
  args: {
    ...profileArg,
    watch: {
      type: "boolean",
      alias: "w",
      description: "Show the list and its rates every second, until Ctrl-C",
    },
  },
  examples: ["ngrokd list", "ngrokd list --watch", "ngrokd list --json"],
  async run(args, io) {
    const { say } = io;
    if (args.watch === true) {
      await watch(args, io);
      return undefined;
    }
    const callDaemon = daemonAt(args, io);
    const input = { profile: args.profile };
    const [items, status] = await Promise.all([
      callDaemon("list", input),
      callDaemon("status", input),
    ]);
    if (status.insecure_skip_verify) {
      say.warn(
        "the ingress's certificate is NOT verified (server.insecure_skip_verify): " +
          "anyone on the network path can read and change the traffic",
      );
    }
    say.result(items, () =>
      items.length === 0
        ? emptyText(status.reason, status.hint)
        : listText(items, say.paint, say.width),
    );
    return undefined;
  },
});

function emptyText(reason: string, hint: string): string {
  const advice = hint === "" ? "" : `\nhint: ${hint}`;
  if (reason !== "") return `No endpoints. The daemon is not serving: ${reason}${advice}`;
  return [
    "No endpoints. The account has no endpoint with a Kubernetes binding.",
    "Make one in ngrok's dashboard, or with " +
      "`ngrok http 8080 --url http://hello.example --binding kubernetes`.",
  ].join("\n");
}
