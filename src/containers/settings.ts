import type { ContainerFacts, Lack } from "./containers.ts";

/** What to tell about endpoints that do not work. */
export interface Advice {
  /** A sentence. */
  readonly reason: string;
  readonly endpoints: readonly string[];
}

/** Pure: why endpoints do not work in a container, in sentences. */
export const advised = (lacks: readonly Lack[], facts: ContainerFacts): Advice[] =>
  lacks.map((lack) => ({ reason: reasonFor(lack, facts), endpoints: lack.endpoints }));

function reasonFor({ kind, rule = 0 }: Lack, facts: ContainerFacts): string {
  const { network, wantsInterface } = facts;
  const from = network.kind === "bridge" ? network.subnets.join(", ") : "";
  switch (kind) {
    case "loopback":
      return (
        "a container has a loopback of its own, so it cannot reach a loopback address of this machine" +
        (wantsInterface ? "; `ngrokd status` says why there is no virtual interface" : "")
      );
    case "no-rule":
      return "no rule of access.rules lets another machine in, and a container is one";
    case "rule":
      return `rule ${rule} of access.rules does not let ${from} in; add it to the rule's \`from\``;
    case "dns":
      return "names below a wildcard need a name server that containers may ask";
  }
}

/** That of the first subnet of `auto`. */
const usualAddress = "10.107.0.1";

/**
 * Pure: lines of the configuration with which the rest works, too; empty if no
 * further lines are needed. A rule at the end leaves the users of this machine
 * as they are.
 */
export function settingsFor(lacks: readonly Lack[], facts: ContainerFacts): string {
  const { network, rules, dns, ownAddress = usualAddress } = facts;
  if (network.kind === "host") return "";
  const has = (...kinds: readonly Lack["kind"][]): boolean =>
    lacks.some(({ kind }) => kinds.includes(kind));
  const list = `[${network.subnets.join(", ")}]`;
  const isOpen = rules.some(({ endpoint }) => endpoint === "*");
  const subnet = has("loopback") && !facts.wantsInterface ? ["net:", "  subnet: auto"] : [];
  const needsRule = has("no-rule") || (has("loopback") && !isOpen);
  const before = rules.length === 0 ? [] : ["    # …the rules of before, and then:"];
  const rule = ["access:", "  rules:", ...before, '    - endpoint: "*"', `      from: ${list}`];
  const server = [
    "dns:",
    "  enabled: true",
    `  listen: ${ownAddress}:53 # the virtual interface`,
    `  clients: ${list}`,
    ...(dns?.hasUpstream === true ? [] : ["  upstream: [1.1.1.1] # for all other names"]),
  ];
  return [...subnet, ...(needsRule ? rule : []), ...(has("dns") ? server : [])].join("\n");
}
