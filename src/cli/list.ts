import { type ListItem, listSchema, statusSchema } from "../control/protocol.ts";
import { command } from "./command.ts";
import { ask } from "./daemon-socket.ts";
import { type Paint, table } from "./say.ts";

export default command({
  name: "list",
  description: "The endpoints with their addresses and states",
  examples: ["ngrokd list", "ngrokd list --json"],
  async run(args, io) {
    const { say } = io;
    const items = listSchema.parse(await ask(args, io, { command: "list" }));
    if (say.json) {
      say.result(items, "");
      return undefined;
    }
    const status = statusSchema.parse(await ask(args, io, { command: "status" }));
    if (status.insecure_skip_verify) {
      say.warn(
        "the ingress's certificate is NOT verified (server.insecure_skip_verify): anybody on the way can read and change the traffic",
      );
    }
    say.result(items, items.length === 0 ? emptyText(status.reason, status.hint) : listText(items, say.paint, say.width));
    return undefined;
  },
});

/** Pure: the text of `ngrokd list`. */
export function listText(items: readonly ListItem[], paint: Paint, width: number): string {
  const rows = items.map((item) => [
    item.url,
    item.ip === "" ? "-" : `${item.ip}:${item.port}`,
    stateText(item, paint),
    connectionsText(item),
  ]);
  return table(["URL", "ADDRESS", "STATE", "CONNECTIONS"], rows, { width, wrap: 2, paint });
}

function stateText({ state, reason, warning }: ListItem, paint: Paint): string {
  const colour = state === "listening" ? paint.good : state === "failed" ? paint.bad : paint.careful;
  const remark = reason === "" ? warning : reason;
  return remark === "" ? colour(state) : `${colour(state)}: ${remark}`;
}

function connectionsText({ connections, ip }: ListItem): string {
  if (ip === "") return "-";
  const { active, total, errors, refused } = connections;
  return `${active} open, ${total} total${errors + refused > 0 ? `, ${errors + refused} failed` : ""}`;
}

function emptyText(reason: string, hint: string): string {
  const why = reason === "" ? "The account has no endpoint with a Kubernetes binding." : `The daemon is not serving: ${reason}`;
  const next =
    hint === "" ? "Make one in ngrok's dashboard, or with `ngrok http 8080 --url http://hello.example --binding kubernetes`." : hint;
  return `No endpoints. ${why}\n${next}`;
}
