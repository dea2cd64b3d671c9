import { isLoopbackSubnet, loopback, parseSubnet, type Subnet } from "../model/ip.ts";

/**
 * The range that addresses come from; in this version loopback, whatever the
 * configuration says: then with a warning.
 */
export function addressRange(text: string): { readonly range: Subnet; readonly warning?: string } {
  const subnet = parseSubnet(text);
  if (subnet.ok && isLoopbackSubnet(subnet.value)) return { range: subnet.value };
  return {
    range: loopback,
    warning: `net.subnet is "${text}", and this version serves loopback addresses only: 127.0.0.0/8 is used`,
  };
}
