import { loadConfig } from "../config/load.ts";
import { bridgedBy, containerNetwork } from "../containers/bridges.ts";
import {
  type ContainerFacts,
  type ContainerNetwork,
  containerWay,
} from "../containers/containers.ts";
import { type Format, formats, formatted } from "../containers/formats.ts";
import { advised, settingsFor } from "../containers/settings.ts";
import type { ListItem, Status } from "../desk/reply-schemas.ts";
import { NgrokdError } from "../model/error.ts";
import { ipFromNumber, isLoopbackSubnet, parseSubnet, subnetText } from "../model/ip.ts";
import { quote } from "../model/parsed.ts";
import { command, type ExitCode, type Io, profileArg } from "./command.ts";
import { daemonAt } from "./daemon-socket.ts";
import { exitCodes } from "./exit-codes.ts";

export default command({
  name: "containers",
  description:
    "Print options with which a container reaches the served names; exit code 1 and advice if there are none",
  args: {
    ...profileArg,
    format: {
      type: "string",
      default: "docker",
      valueHint: formats.join("|"),
      description: "The program that the lines are for",
    },
    network: {
      type: "string",
      valueHint: "host|subnet",
      description:
        "The container's network: host for this machine's, or a subnet; else the bridges of Docker and others",
    },
  },
  examples: [
    "ngrokd containers --network host",
    "ngrokd containers --network host --format compose",
    "ngrokd containers --format wsl --json",
  ],
  async run(args, io) {
    const format = parseFormat(args.format);
    // All distributions of WSL share one network.
    const network = format === "wsl" ? { kind: "host" as const } : parseNetwork(args.network);
    const callDaemon = daemonAt(args, io);
    const input = { profile: args.profile };
    const [items, status] = await Promise.all([
      callDaemon("list", input),
      callDaemon("status", input),
    ]);
    const { config } = await loadConfig({ file: args.config ?? status.config_path, env: io.env });
    return report(format, factsOf(items, status, config, network), io);
  },
});

function parseFormat(text: string): Format {
  const format = formats.find((one) => one === text);
  if (format !== undefined) return format;
  throw new NgrokdError("usage", `Unknown format ${quote(text)}`, {
    hint: `it is one of: ${formats.join(", ")}`,
  });
}

function parseNetwork(text: string | undefined): ContainerNetwork {
  if (text === undefined) return containerNetwork();
  if (text === "host") return { kind: "host" };
  const subnet = parseSubnet(text);
  if (subnet.ok) return bridgedBy(subnetText(subnet.value));
  throw new NgrokdError("usage", `Cannot use the network ${quote(text)}: ${subnet.reason}`, {
    hint: "`docker network inspect bridge` shows the subnet; `host` is this machine's network",
  });
}

function factsOf(
  items: readonly ListItem[],
  { dns, network: { kind, subnet } }: Status,
  config: Awaited<ReturnType<typeof loadConfig>>["config"],
  network: ContainerNetwork,
): ContainerFacts {
  const { clients, upstream } = config.dns;
  const listening = dns?.listening ?? "";
  return {
    endpoints: items.filter(({ state }) => state === "listening"),
    zones: items.filter(({ wildcard }) => wildcard).map((one) => one.wildcard_suffix),
    dns: listening === "" ? undefined : { listening, clients, hasUpstream: upstream.length > 0 },
    rules: config.access.rules,
    wantsInterface: needsDevice(config.net.subnet),
    ownAddress: kind === "virtual" ? interfaceAddress(subnet) : undefined,
    network,
  };
}

function needsDevice(text: string): boolean {
  const subnet = parseSubnet(text);
  return !subnet.ok || !isLoopbackSubnet(subnet.value);
}

/** The interface has the first address behind that of its subnet. */
function interfaceAddress(text: string): string | undefined {
  const subnet = parseSubnet(text);
  return subnet.ok ? ipFromNumber(subnet.value.first + 1) : undefined;
}

function report(format: Format, facts: ContainerFacts, { say }: Io): ExitCode {
  const way = containerWay(facts);
  const { hosts, dns, moved, lacks } = way;
  const works = hosts.length > 0;
  const text = works ? formatted(format, way, facts.network.kind) : "";
  const settings = settingsFor(lacks, facts);
  const advice = advised(lacks, facts);
  if (facts.endpoints.length === 0) say.warn("no endpoint listens; `ngrokd list` shows why");
  for (const { endpoints, reason } of advice) say.warn(`${someOf(endpoints)}: ${reason}`);
  for (const { endpoint, port } of moved) say.note(`${endpoint} has the port ${port} there.`);
  if (settings !== "") say.note(`These settings would change that:\n\n${indented(settings)}\n`);
  if (lacks.some(({ kind }) => kind === "loopback"))
    say.note("Or give the container this machine's network: `ngrokd containers --network host`.");
  const value = {
    works: works && lacks.length === 0,
    format,
    network: facts.network.kind === "host" ? ["host"] : facts.network.subnets,
    hosts: Object.fromEntries(hosts.map(({ host, at }) => [host, at])),
    dns: dns ?? "",
    ports: Object.fromEntries(moved.map(({ endpoint, port }) => [endpoint, port])),
    lacks: advice,
    settings,
    text,
  };
  if (works || say.json) say.result(value, text);
  return works ? exitCodes.ok : exitCodes.failure;
}

const someOf = ([first = "", ...more]: readonly string[]): string =>
  more.length === 0 ? first : `${first} and ${more.length} more`;

const indented = (text: string): string => text.replaceAll(/^/gm, "  ");
