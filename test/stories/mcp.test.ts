import { expect, test } from "bun:test";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { registered } from "../support/cloud.ts";
import { binary, ngrokd } from "../support/ngrokd.ts";
import { atEnd, stories } from "../support/story.ts";
import { page } from "../support/web.ts";

const ask = (id: number, method: string, params: object): string =>
  `${JSON.stringify({ jsonrpc: "2.0", id, method, params })}\n`;
const clientInfo = { name: "story", version: "1" };
const hello = ask(1, "initialize", { protocolVersion: "2025-06-18", capabilities: {}, clientInfo });

stories("`ngrokd mcp`", () => {
  test("lets an assistant read the state, and change nothing", async () => {
    const { cloud, daemon } = await registered();
    await cloud.add("http://hello.demo", page("hello").address);
    await daemon.becomes("hello.demo", "listening");
    const client = new Client(clientInfo);
    await client.connect(new StdioClientTransport({ command: binary(), args: ["mcp"] }));
    atEnd(() => client.close());
    const { tools } = await client.listTools();
    expect(tools.map(({ name }) => name)).toEqual([
      "status",
      "list",
      "health",
      "connections",
      "traffic",
      "events",
      "doctor",
    ]);
    const call = async (name: string, given = {}) => {
      const { content, isError } = await client.callTool({ name, arguments: given });
      const [{ text = "" } = {}] = content as { text?: string }[];
      return { text, isError: isError === true };
    };
    const list = await call("list");
    expect(JSON.parse(list.text)).toMatchObject([{ hostname: "hello.demo", state: "listening" }]);
    const events = JSON.parse((await call("events", { kinds: "endpoint", limit: 5 })).text);
    expect(events.events).toMatchObject([{ kind: "endpoint.raised", url: "http://hello.demo" }]);
    expect(JSON.parse((await call("traffic", { step: 60 })).text)).toMatchObject({ slots: 15 });
    expect((await call("refresh")).isError).toBe(true);
    expect((await call("events", { kinds: "pol" })).text).toContain("no events of the kind");
    expect(await daemon.stop()).toBe(0);
    const gone = await call("status");
    expect(gone).toEqual({ text: expect.stringContaining("No daemon answers"), isError: true });
    await client.close();
  });

  test("answers the last question of a program that closes its input at once", async () => {
    const call = ask(2, "tools/call", { name: "status", arguments: {} });
    const { code, out } = await ngrokd("mcp", { stdin: hello + call });
    const replies = out.split("\n").filter((line) => line !== "");
    expect({ code, ids: replies.map((line) => JSON.parse(line).id) }).toEqual({
      code: 0,
      ids: [1, 2],
    });
  });
});
