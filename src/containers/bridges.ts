import { networkInterfaces } from "node:os";
import { parseSubnet, subnetText } from "../model/ip.ts";
import { type ContainerNetwork, hostGateway } from "./containers.ts";

/** The bridges of Docker, Podman, nerdctl, LXC and Incus, by their names. */
const ofContainers =
  /^(?:docker\d+|br-[\da-f]+|podman\d+|cni-podman\d+|nerdctl\d+|lxcbr\d+|lxdbr\d+|incusbr\d+)$/;

/** Docker's own, unless it was told another one. */
const usual = "172.17.0.0/16";

/**
 * The networks of the containers on this machine. A bridge without a running
 * container has no carrier, and is not listed; then Docker's usual one counts.
 */
export function containerNetwork(
  interfaces = networkInterfaces(),
): Extract<ContainerNetwork, { kind: "bridge" }> {
  const found = Object.entries(interfaces).flatMap(([name, addresses = []]) =>
    ofContainers.test(name)
      ? addresses.flatMap(({ address, cidr }) => {
          const subnet = parseSubnet(cidr ?? "");
          return subnet.ok ? [{ address, subnet: subnetText(subnet.value) }] : [];
        })
      : [],
  );
  const [first] = found;
  if (first === undefined) return bridgedBy(usual);
  const subnets = [...new Set(found.map(({ subnet }) => subnet))];
  return { kind: "bridge", subnets, gateway: first.address };
}

/** A network that the user names; this machine's address there is unknown. */
export const bridgedBy = (subnet: string): Extract<ContainerNetwork, { kind: "bridge" }> => ({
  kind: "bridge",
  subnets: [subnet],
  gateway: hostGateway,
});
