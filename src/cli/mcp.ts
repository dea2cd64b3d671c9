import process from "node:process";
import { setImmediate } from "node:timers/promises";
// @ts-types="../../node_modules/@modelcontextprotocol/sdk/dist/esm/server/mcp.d.ts"
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
// @ts-types="../../node_modules/@modelcontextprotocol/sdk/dist/esm/server/stdio.d.ts"
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js";
// @ts-types="../../node_modules/@modelcontextprotocol/sdk/dist/esm/types.d.ts"
import type { CallToolResult } from "@modelcontextprotocol/sdk/types.js";
import { type Operation, operationNames, operations } from "../desk/operations.ts";
import { hintOf, isNgrokdError, reasonOf } from "../model/error.ts";
import { version } from "../version.ts";
import { aborted, command } from "./command.ts";
import { type Call, daemonAt } from "./daemon-socket.ts";

export default command({
  name: "mcp",
  description: "Let an assistant ask the daemon, by MCP on stdin and stdout",
  examples: ["ngrokd mcp"],
  async run(args, io) {
    const stopped = aborted(io.stop);
    const pending = new Set<Promise<unknown>>();
    const server = serverFor(daemonAt(args, io), pending);
    const left = new Promise<void>((resolve) => process.stdin.once("end", resolve));
    await server.connect(new StdioServerTransport());
    await Promise.race([left, stopped]);
    // The last questions before the end get their answers too.
    await setImmediate();
    await Promise.race([Promise.all(pending), stopped]);
    await setImmediate();
    await server.close();
    return 0;
  },
});

/** Has a tool for each operation that only reads, and no content. */
function serverFor(callDaemon: Call, pending: Set<Promise<unknown>>): McpServer {
  const server = new McpServer(
    { name: "ngrokd", version },
    {
      instructions:
        "ngrokd makes ngrok's Kubernetes-bound endpoints reachable on this machine. These tools " +
        "read its state: endpoints, connections, traffic and events. They change nothing.",
    },
  );
  for (const name of operationNames) {
    const { kind, isContent, summary, input, help }: Operation = operations[name];
    if (kind !== "read" || isContent === true) continue;
    const explained = Object.entries(help).map(([argument, text]) => `${argument}: ${text}.`);
    const config = {
      description: [`${summary}.`, ...explained].join("\n"),
      inputSchema: input,
      annotations: { readOnlyHint: true, openWorldHint: false },
    };
    server.registerTool(name, config, async (given) => {
      const question = callDaemon(name as "status", given as object);
      const answer = question.then((reply) => said(JSON.stringify(reply)), failed);
      pending.add(answer);
      return await answer.finally(() => pending.delete(answer));
    });
  }
  return server;
}

const said = (text: string): CallToolResult => ({ content: [{ type: "text", text }] });

function failed(error: unknown): CallToolResult {
  if (!isNgrokdError(error)) throw error;
  const hint = hintOf(error);
  const text = hint === "" ? reasonOf(error) : `${reasonOf(error)}\nhint: ${hint}`;
  return { ...said(text), isError: true };
}
