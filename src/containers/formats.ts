import type { ContainerNetwork, ContainerWay, HostLine } from "./containers.ts";

export const formats = ["docker", "compose", "podman", "devcontainer", "wsl"] as const;
export type Format = (typeof formats)[number];

/** Pure: the lines that make the names work in a container. */
export function formatted(
  format: Format,
  way: Pick<ContainerWay, "hosts" | "dns">,
  network: ContainerNetwork["kind"],
): string {
  const flags = flagsFor(way, network);
  switch (format) {
    case "docker":
    case "podman":
      return [`${format} run`, ...flags, "IMAGE"].join(" \\\n  ");
    case "compose":
      return composeText(way, network);
    case "devcontainer":
      return JSON.stringify({ runArgs: flags }, undefined, 2);
    case "wsl":
      return way.hosts.map(({ host, at }) => `${at}\t${host}`).join("\n");
  }
}

/** Docker's and Podman's. A name server that knows all names needs no lines. */
function flagsFor({ hosts, dns }: Pick<ContainerWay, "hosts" | "dns">, network: string): string[] {
  const host = network === "host" ? ["--network=host"] : [];
  if (dns !== undefined) return [...host, `--dns=${dns}`];
  return [...host, ...hosts.map((line) => `--add-host=${pairOf(line)}`)];
}

function composeText({ hosts, dns }: Pick<ContainerWay, "hosts" | "dns">, network: string): string {
  const lines =
    dns === undefined
      ? ["extra_hosts:", ...hosts.map((line) => `  - "${pairOf(line)}"`)]
      : ["dns:", `  - ${dns}`];
  const mode = network === "host" ? ["network_mode: host"] : [];
  const service = [...mode, ...lines].map((line) => `    ${line}`);
  return ["services:", "  app: # the name of your service", ...service].join("\n");
}

const pairOf = ({ host, at }: HostLine): string => `${host}:${at}`;
