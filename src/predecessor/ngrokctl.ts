import * as z from "zod/mini";
import { findSocketPath } from "../config/paths.ts";
import { askDaemon } from "../control/client.ts";
import { healthSchema, type ListItem, listSchema, statusSchema } from "../desk/reply-schemas.ts";
import { hintOf, isNgrokdError, NgrokdError, reasonOf } from "../model/error.ts";
import { readable } from "../model/parsed.ts";
import type { Net } from "../net/types.ts";

export interface NgrokctlIo {
  readonly net: Net;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly print: (text: string) => void;
}

/**
 * Runs a command of the Go program's client, for scripts that parse its output:
 * with its labels, all on stdout, and exit code 1 for every failure. Undefined
 * if that client has no such command line, which is then ngrokd's own. Never
 * rejects.
 */
export async function runNgrokctl(
  argv: readonly string[],
  io: NgrokctlIo,
): Promise<number | undefined> {
  const [command = "help", ...args] = argv;
  if (args.some((word) => word.startsWith("-"))) return undefined;
  try {
    if (command === "set-api-key") io.print(await setApiKey(args, io));
    else if (args.length > 0) return undefined;
    else if (command === "status") io.print(await status(io));
    else if (command === "list") io.print(await list(io));
    else if (command === "health") io.print(await health(io));
    else if (argv.length === 0) io.print(usage);
    else return undefined;
    return argv.length === 0 ? 1 : 0;
  } catch (error) {
    const hint = hintOf(error);
    const running = isNgrokdError(error, "not-running") ? "\nIs ngrokd running?" : "";
    io.print(`Error: ${reasonOf(error)}${running}${hint === "" ? "" : `\n${hint}`}`);
    return 1;
  }
}

const usage = `ngrokctl: ngrokd, as its older client was called

Usage:
  ngrokctl <command>

Commands:
  status              Show the daemon's status
  list                List the endpoints
  health              Show the daemon's health as JSON
  set-api-key <KEY>   Set the API key
  config edit         Edit the configuration

Every other command is ngrokd's: see \`ngrokd --help\`.`;

async function ask<T extends z.ZodMiniType>(
  { net, env }: NgrokctlIo,
  reply: T,
  command: string,
  ...args: string[]
): Promise<z.infer<T>> {
  const path = await findSocketPath({ env });
  const request = { command, ...(args.length > 0 && { args }) };
  const answer = reply.safeParse(await askDaemon(net, path, request));
  if (answer.success) return answer.data;
  throw new NgrokdError("protocol", `Cannot understand the daemon's answer to "${command}"`);
}

async function status(io: NgrokctlIo): Promise<string> {
  const found = await ask(io, statusSchema, "status");
  return [
    "ngrokd Daemon Status",
    "",
    ...(found.registered
      ? ["  ✓ Registered:        Yes", `  Operator ID:         ${found.operator_id}`]
      : [
          `  ⚠ Registered:        No (${found.reason === "" ? "waiting for API key" : readable(found.reason)})`,
        ]),
    `  Endpoints:           ${found.endpoint_count}`,
    `  Ingress:             ${readable(found.ingress_endpoint)}`,
    "",
  ].join("\n");
}

async function list(io: NgrokctlIo): Promise<string> {
  const items = await ask(io, listSchema, "list");
  if (items.length === 0) return "Discovered Bound Endpoints\n\n  No endpoints discovered.\n";
  const rows = [["URL", "LISTEN ADDRESS", "MODE", "STATUS"], ...items.map(row)];
  const widths = [0, 1, 2].map((i) => Math.max(...rows.map((cells) => (cells[i] ?? "").length)));
  return [
    "Discovered Bound Endpoints",
    "",
    ...rows.map((cells) => `  ${cells.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join("  ")}`),
    "",
    `  Total: ${items.length} endpoint(s)`,
    "",
  ].join("\n");
}

const row = (item: ListItem): string[] => [
  readable(item.url),
  `${item.ip}:${item.port}`,
  item.listen_interface,
  item.local_listener ? "✓" : "❌",
];

async function health(io: NgrokctlIo): Promise<string> {
  const { address } = await ask(io, healthSchema, "health");
  if (!URL.canParse(address))
    throw new NgrokdError("network", `Failed to connect to health endpoint: ${address}`);
  const answer = await fetch(`${address}/status`, { signal: AbortSignal.timeout(10_000) });
  return `Daemon Health\n\n${JSON.stringify(await answer.json(), null, 2)}\n`;
}

async function setApiKey([key, ...more]: readonly string[], io: NgrokctlIo): Promise<string> {
  if (key === undefined || more.length > 0)
    throw new NgrokdError("usage", "API key required", {
      hint: "Usage: ngrokctl set-api-key <KEY>",
    });
  await ask(io, z.unknown(), "set-api-key", key);
  return "✓ API key set successfully\n\nRun 'ngrokctl status' to check registration status";
}
