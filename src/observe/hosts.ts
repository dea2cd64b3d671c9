import { isIP } from "node:net";
import { parseHostPort } from "../model/host-port.ts";

/**
 * Pure: whether a request with this Host header is meant for this server: an
 * address, localhost or one of `names`. A browser sends the name of a page that
 * DNS rebinding has led here. Programs without a Host header are no browsers.
 */
export function isOurs(header: string | undefined, names: readonly string[]): boolean {
  if (header === undefined || header === "") return true;
  const asked = parseHostPort(header, 80);
  if (!asked.ok) return false;
  const { host } = asked.value;
  return isIP(host) !== 0 || host === "localhost" || names.includes(host);
}
