import { isLoopbackSubnet, loopback, parseSubnet, type Subnet } from "../model/ip.ts";

/**
 * The range of the addresses. This version uses loopback only: for another
 * configured range it returns loopback and a warning.
 */
export function addressRange(text: string): { readonly range: Subnet; readonly warning?: string } {
  const subnet = parseSubnet(text);
  if (subnet.ok && isLoopbackSubnet(subnet.value)) return { range: subnet.value };
  return {
    range: loopback,
    warning: `net.subnet is "${text}", and this version serves loopback addresses only: 127.0.0.0/8 is used`,
  };
}
