import { networkInterfaces } from "node:os";
import type { AddressesOf } from "../exposure/reach.ts";
import { type AnyIp, parseIp, parseIp6 } from "../model/ip.ts";

/**
 * The addresses that each interface has now. Those of a link alone (`fe80::`,
 * 169.254.0.0/16) are left out, since other machines use others.
 */
export function interfaceAddresses(interfaces = networkInterfaces()): AddressesOf {
  return (name) =>
    (interfaces[name] ?? []).flatMap(({ address }): AnyIp[] => {
      if (/^169\.254\.|^fe[89ab]/i.test(address)) return [];
      const [v4, v6] = [parseIp(address), parseIp6(address)];
      return v4.ok ? [v4.value] : v6.ok ? [v6.value] : [];
    });
}
