import { type DnsServer, startDns } from "../dns/dns.ts";
import type { HostPort } from "../model/host-port.ts";
import type { Ip } from "../model/ip.ts";
import type { Net } from "../net/types.ts";
import type { ExecPlan } from "./exec-plan.ts";

/** The name server of a program's own network: the address that it asks. */
export const nameServer: HostPort = { host: "127.0.0.1", port: 53 };

/** Names below wildcards, each with a spare address from its first question. */
export interface ExecNames {
  /** The name that has a spare address; undefined before any. */
  nameOf(ip: string): string | undefined;
  /** Serves on sockets from inside. */
  serve(net: Net, sockets: { readonly udp: number; readonly tcp: number }): Promise<DnsServer>;
}

export function createExecNames({ names, spares, zones }: ExecPlan): ExecNames {
  const left = [...spares];
  const addresses = new Map<string, readonly Ip[]>(names.map(({ host, ip }) => [host, [ip]]));
  const byAddress = new Map<string, string>();
  return {
    nameOf: (ip) => byAddress.get(ip),
    serve: (net, { udp, tcp }) =>
      startDns(nameServer, {
        net: {
          udp: (_, onDatagram) => net.adoptUdp(udp, onDatagram),
          listen: (_, onConn) => net.adopt(tcp, onConn),
          dial: net.dial,
        },
        zones: () => ({
          names: addresses,
          wildcards: zones,
          pointers: byAddress,
          ranges: [],
          ipv6: false,
        }),
        async fresh(host) {
          const ip = left.shift();
          if (ip === undefined) return "busy";
          addresses.set(host, [ip]);
          byAddress.set(ip, host);
          return [ip];
        },
        upstream: () => [],
        // Nobody else is in that network.
        mayAsk: () => true,
        isOwn: () => true,
      }),
  };
}
