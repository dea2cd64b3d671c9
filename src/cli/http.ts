import { open } from "node:fs/promises";
import { summaries } from "../desk/summaries.ts";
import { fileError } from "../files/atomic.ts";
import { harOf } from "../inspect/har.ts";
import { NgrokdError } from "../model/error.ts";
import { quote } from "../model/parsed.ts";
import { exchangeLine } from "../terminal/exchange-text.ts";
import { type Args, command, type Io } from "./command.ts";
import { daemonAt } from "./daemon-socket.ts";
import { allExchanges, followExchanges, replayText, warnIfNothing } from "./exchanges.ts";
import { usageError } from "./flags.ts";

const own = {
  host: {
    type: "positional",
    required: false,
    valueHint: "host",
    description: "Only this endpoint: its host name, or host:port; or `replay`",
  },
  id: {
    type: "positional",
    required: false,
    valueHint: "number",
    description: "After `replay`: the number of the request to send again",
  },
  follow: {
    type: "boolean",
    alias: "f",
    description: "Show each exchange as it ends, until Ctrl-C",
  },
  har: {
    type: "string",
    valueHint: "file",
    description: "Write all that are kept to a new file, as HAR 1.2",
  },
} as const;

export default command({
  name: "http",
  description: summaries.exchanges,
  args: own,
  examples: ["ngrokd http", "ngrokd http hello.demo --json"],
  async run(args, io) {
    const { host, id } = args;
    if (host === "replay") return await replay(args, io);
    if (id !== undefined)
      throw usageError(`Unexpected argument ${quote(id)}`, ["http"], "ngrokd http replay NUMBER");
    if (args.har !== undefined) return await exportHar(args.har, args, io);
    if (args.follow === true) {
      await followExchanges(host, args, io);
      return 0;
    }
    const found = await daemonAt(args, io)("exchanges", { host });
    warnIfNothing(found, io);
    io.say.result(found.exchanges, () =>
      found.exchanges.length === 0
        ? "No HTTP request has been read."
        : found.exchanges.map((one) => exchangeLine(one, io.say.paint)).join("\n"),
    );
    return 0;
  },
});

async function replay({ id, follow, har, ...args }: Args<typeof own>, io: Io): Promise<number> {
  if (follow === true || har !== undefined)
    throw usageError("`replay` takes neither --follow nor --har", ["http"]);
  if (id === undefined)
    throw usageError("Missing the number of a request; `ngrokd http` lists them", ["http"]);
  if (!/^[1-9]\d{0,14}$/.test(id))
    throw usageError(`${quote(id)} is not the number of a request`, ["http"]);
  const report = await daemonAt(args, io)("replay", { id: Number(id) });
  io.say.result(report, () => replayText(report));
  return 0;
}

async function exportHar(path: string, args: Args<typeof own>, io: Io): Promise<number> {
  const found = await allExchanges(args.host, args, io);
  warnIfNothing(found, io);
  const har = harOf(found.exchanges);
  await writeNew(path, `${JSON.stringify(har, null, 2)}\n`);
  const count = found.exchanges.filter(({ method }) => method !== "").length;
  io.say.result({ path, exchanges: count }, () => `Wrote ${count} exchanges to "${path}".`);
  return 0;
}

/**
 * Never over a file that is there, and through no link: another user may have
 * made it, in a folder such as /tmp, to read what is written.
 */
async function writeNew(path: string, text: string): Promise<void> {
  const file = await open(path, "wx", 0o600).catch((error: unknown) => {
    if ((error as { code?: string }).code !== "EEXIST")
      throw fileError(`Cannot write "${path}"`, error);
    throw new NgrokdError(
      "refused",
      `Cannot write the archive to "${path}": there is such a file`,
      {
        hint: "choose another name, or remove the file first",
      },
    );
  });
  try {
    await file.writeFile(text);
  } finally {
    await file.close();
  }
}
