import { resolve } from "node:path";
import { parseHostPort } from "../model/host-port.ts";
import { isIpv6, parseIp } from "../model/ip.ts";
import { defaultConfig, type SettingKey } from "./schema.ts";
import { dnsAddress } from "./values.ts";

/**
 * Replacements for values that the Go program accepts and ngrokd cannot use.
 * Undefined if that program would not start either. The daemon starts with a
 * warning, so that a machine keeps its endpoints when it moves.
 */
export const insteads: Partial<Record<SettingKey, (value: unknown) => unknown>> = {
  "bound_endpoints.poll_interval": (value) => seconds(value, 86_400, usual.poll),
  "server.cert_refresh_interval": (value) => seconds(value, 604_800, usual.look),
  "net.start_port": (value) => (Number.isInteger(value) ? usual.port : undefined),
  "net.subnet": (value) => (isSomeSubnet(value) ? usual.subnet : undefined),
  "net.interface_name": (value) => (isSomeName(value) ? usual.name : undefined),
  "net.listen_interface": (value) => (isSomeName(value) ? usual.listen : undefined),
  "dns.listen": (value) => (isSomeAddress(value) ? usual.dns : undefined),
  "dns.upstream": (value) =>
    Array.isArray(value) && value.every(isSomeAddress)
      ? value.filter((item) => dnsAddress(item) !== undefined)
      : undefined,
  "server.client_cert": absolute,
  "server.client_key": absolute,
  "server.socket_path": absolute,
  // No key: the daemon waits for one.
  "api.key": (value) => (typeof value === "string" && /^[!-~]{1,7}$/.test(value) ? "" : undefined),
};

const { poll_interval: poll } = defaultConfig.bound_endpoints;
const { cert_refresh_interval: look } = defaultConfig.server;
const { start_port: port, subnet, interface_name: name, listen_interface } = defaultConfig.net;
const usual = {
  poll,
  look,
  port,
  subnet,
  name,
  listen: listen_interface,
  dns: defaultConfig.dns.listen,
};

function seconds(value: unknown, most: number, usually: number): number | undefined {
  if (!Number.isInteger(value)) return undefined;
  return Number(value) > 0 ? Math.min(Number(value), most) : usually;
}

function isSomeSubnet(value: unknown): boolean {
  const [, address = "", bits = "0"] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(String(value)) ?? [];
  return (parseIp(address).ok && Number(bits) <= 32) || (isIpv6(address) && Number(bits) <= 128);
}

const isSomeName = (value: unknown): boolean => /^[\w.@-]{1,255}$/.test(String(value));

/** With or without a host name, and with or without a port. */
const isSomeAddress = (value: unknown): boolean =>
  /^:\d{1,5}$/.test(String(value)) || parseHostPort(String(value), 53).ok || isIpv6(String(value));

/** Relative to the working folder, as in the Go program. */
function absolute(value: unknown): string | undefined {
  return typeof value === "string" ? resolve(value) : undefined;
}
