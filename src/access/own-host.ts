import { matchesGlob } from "../model/glob.ts";
import { parseHostPort } from "../model/host-port.ts";
import { isIpv6, parseIp } from "../model/ip.ts";

/**
 * Pure: whether the Host header of a request is for an endpoint with these
 * names, and not for a name that a web page has made lead here (DNS rebinding).
 * `allowed` has more names, in which `*` stands for any characters
 * (`access.hosts`). An address is right, since it belongs to no page. A missing
 * header is not.
 */
export function isOwnHost(
  header: string | undefined,
  names: readonly string[],
  allowed: readonly string[],
): boolean {
  const text = (header ?? "").trim().replace(/\.(?=:\d+$|$)/, "");
  const place = parseHostPort(isIpv6(text) ? `[${text}]` : text, 1);
  if (!place.ok) return false;
  const { host } = place.value;
  if (parseIp(host).ok || isIpv6(host)) return true;
  return names.includes(host) || allowed.some((pattern) => matchesGlob(pattern, host));
}
